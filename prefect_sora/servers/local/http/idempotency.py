"""Idempotency: a repeated `Idempotency-Key` finds what its first request has made."""

from asyncio import Lock
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.requests import Request

_Made = TypeVar("_Made")


@dataclass
class Idempotency:
    """Lets the requests of one key through one after the other.

    Attributes:
        honoured: Whether keys are looked at; else every request makes something new.
    """

    honoured: bool
    _locks: dict[str, Lock] = field(default_factory=dict)

    async def once(
        self,
        request: Request,
        known: Callable[[str], _Made | None],
        make: Callable[[str | None], Awaitable[_Made]],
    ) -> _Made:
        """What was made with the request's key, made now if nothing was.

        Args:
            request: Its headers may hold a key.
            known: Gives what an earlier request of this key has made.
            make: Makes it; told the key that it is to be found under, None where there is none.
        """
        key = request.headers.get("idempotency-key") if self.honoured else None
        if key is None:
            return await make(None)
        async with self._locks.setdefault(key, Lock()):
            return known(key) or await make(key)
