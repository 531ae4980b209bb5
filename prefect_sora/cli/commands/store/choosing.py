"""Choosing: which of the things that a store holds are meant."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from prefect_sora.cli.options import STORE, Store
from prefect_sora.errors import InvalidRequestError

if TYPE_CHECKING:
    from prefect_sora.renders.inventory.entries import StoreEntry
    from prefect_sora.store.backends import VideoFolder

_SECONDS: Final = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@Parameter(name="*")
@dataclass(frozen=True)
class Choice:
    """Which of them."""

    store: Store = STORE
    since: Annotated[
        str | None,
        Parameter(
            help="Only what was begun since then: 30m, 24h, 7d or 2w ago, or a date as 2026-11-21 "
            "(UTC)."
        ),
    ] = None
    prompt: Annotated[
        str | None, Parameter(name=("--prompt", "-p"), help="Only prompts and titles with this.")
    ] = None
    scope: Annotated[str | None, Parameter(help="Only what was asked for in this scope.")] = None

    @property
    def begin(self) -> float | None:
        """From when on, Unix seconds; None: from the beginning.

        Raises:
            InvalidRequestError: `since` is no time.
        """
        return None if self.since is None else begin_of(self.since)

    async def of(self, folder: "VideoFolder") -> "AsyncIterator[StoreEntry]":
        """Go through what is meant of a store."""
        from prefect_sora.renders.inventory.inventory import iterate_store

        words = (self.prompt or "").casefold()
        async for entry in iterate_store(folder):
            if self.scope is not None and entry.scope != self.scope:
                continue
            if words in f"{entry.prompt or ''}\n{entry.title}".casefold():
                yield entry


CHOICE: Final = Choice()


def begin_of(since: str, now: float | None = None) -> float:
    """Read when something begins: an age, or a day in UTC.

    Raises:
        InvalidRequestError: It is neither.
    """
    if match := re.fullmatch(r"(\d{1,6})([mhdw])", since.strip().lower()):
        return (time() if now is None else now) - int(match[1]) * _SECONDS[match[2]]
    try:
        return datetime.fromisoformat(since.strip()).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise InvalidRequestError(
            f"--since {since!r} is no time.",
            next_step="Give an age, such as 30m, 24h, 7d or 2w, or a day, such as 2026-11-21.",
        ) from None
