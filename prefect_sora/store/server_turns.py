"""Turns: which server, and which picture, a request stands for now.

```text
<store>/.written/<hash>.json      its first turn: the server that is asked, with this picture
                 <hash>-2.json    the next, after that render had certainly not been made
```

A request that several servers may render, or with a picture at a URL, has a course: all
workers follow its newest turn, in whatever order each lists the servers, whatever the URL
gives each of them. Turns are created exclusively and never edited. Before the next turn is
written, the render of the last one is closed, unsent, so that no late worker can send it.
"""

import hashlib
import json
from time import time
from typing import Any, Final
from uuid import uuid4

from pydantic import BaseModel, ConfigDict

from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import PASSED_ON, SCHEMA, Failed, Reserved, read_record

_DIGITS: Final = 32


class PassedOnError(Exception):
    """The render was passed on from this server to the next of a list, or to another picture."""


class Turn(BaseModel):
    """Which render a request stands for, and since when.

    Attributes:
        number: From 1.
        folder: The render's.
        server: Its server's identity.
        label: That server's name for people.
        inputs_sha256: Hash of its pictures; None where it has none.
        after: The newest attempt of that render when the turn was chosen; a later passing on ends
            the turn.
        at: Unix seconds.
        token: Its writer's own, for stores that lose the answer to a creation.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: int = SCHEMA
    number: int
    folder: str
    server: str
    label: str
    inputs_sha256: str | None = None
    after: int = 0
    at: float
    token: str


class Course:
    """The turns of one request in one scope."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        self._ledger = ledger
        self._name = name
        self._read: dict[int, Turn] = {}  # they never change
        self._next = 1

    @classmethod
    def of(
        cls, ledger: Ledger, canonical: dict[str, Any], scope: str, server: str | None
    ) -> "Course":
        """Name the course of a request.

        Args:
            ledger: The store's records.
            canonical: The request as plain JSON, with what was written of its pictures.
            scope: Whom it is shared with.
            server: The one server that may render it; None where there are several.
        """
        value = {"request": canonical, "scope": scope, "server": server}
        digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
        return cls(ledger, digest[:_DIGITS])

    async def newest(self) -> Turn | None:
        """Read the newest turn; None where there is none yet.

        A torn turn counts as none: its writer had not gone on from it.

        Raises:
            StorageError: The store cannot be read.
        """
        while True:
            name = self._path(self._next)
            data = await self._ledger.store.read(name)
            if data is None:
                return self._read[max(self._read)] if self._read else None
            if turn := read_record(Turn, data, name):
                self._read[turn.number] = turn
            self._next += 1

    async def turn_to(
        self, folder: str, server: str, label: str, inputs_sha256: str | None, after: int
    ) -> None:
        """Write the next turn, unless another worker has: `newest` then reads which.

        Raises:
            StorageError: The store cannot be written.
        """
        turn = Turn(
            number=self._next,
            folder=folder,
            server=server,
            label=label,
            inputs_sha256=inputs_sha256,
            after=after,
            at=time(),
            token=uuid4().hex,
        )
        data = turn.model_dump_json(indent=1).encode()
        if await self._ledger.store.create(self._path(self._next), data):
            self._read[self._next] = turn
            self._next += 1

    def _path(self, number: int) -> str:
        return f".written/{self._name}{'' if number == 1 else f'-{number}'}.json"


async def pass_on(
    folder: str,
    ledger: Ledger,
    *,
    unsent: Reserved | None = None,
    whatever_paid: bool = False,
    why: str = "It was passed on to the next provider of a list.",
) -> bool:
    """Close a render for good where it has certainly not been made.

    After that, no worker can have it accepted there.

    Args:
        folder: The render's.
        ledger: The store's records.
        unsent: A reservation of the render; with it a render that was never begun is closed, too.
        whatever_paid: A failure that may have cost something is passed on as well.
        why: For its record.

    Returns:
        False where another worker has meanwhile begun a new attempt, or the render was
        accepted, or it failed at a price.

    Raises:
        StorageError: The records cannot be read or written: then it must not be passed on.
    """
    state = await ledger.state(folder)
    if state.passed_on:
        return True
    last = unsent if state.name == "new" else state.reserved
    if state.name == "new" and last is None:
        return True
    ended = state.failed is not None and (whatever_paid or state.failed.paid == "no")
    if last is None or not (ended or state.name == "new"):
        return False
    reserved = last.again(state.next_attempt)
    if not await ledger.reserve(folder, reserved):
        return False
    try:
        record = Failed(
            key=reserved.key,
            attempt=reserved.attempt,
            at=time(),
            kind="refused",
            code=PASSED_ON,
            message=why,
        )
        await ledger.fail(folder, record)
    finally:
        ledger.release(reserved)
    return True
