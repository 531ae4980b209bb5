"""Spending entries: the files of a chain; a process reads each of them once."""

import asyncio
from time import time
from typing import Final
from uuid import uuid4

from pydantic import BaseModel, Field

from prefect_sora.errors import StorageError
from prefect_sora.limits import limits
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.records import SCHEMA, read_record

_SUFFIX: Final = ".json"


class Charge(BaseModel):
    """What one attempt of a render is charged.

    Attributes:
        key: The render.
        attempt: Which attempt of it; each is charged once.
        usd: What it costs; less than 0 where a charge is taken back.
        settled_usd: What is charged from here on, for good: what it really cost.
    """

    key: str
    attempt: int
    usd: float
    settled_usd: float | None = None


class Before(BaseModel):
    """What was spent in a period before anybody counted.

    Attributes:
        usd: The sum of what is known.
        unpriced: How many renders have no known price.
    """

    usd: float = 0.0
    unpriced: int = 0


class Entry(BaseModel):
    """One file of a chain.

    Attributes:
        number: Its place, from 1.
        charges: What is added, of all renders that asked at the same time.
        before: In the first entry: what it starts from.
        total_usd: All up to and with this one.
        writer: Unique to this entry, for a store whose answer gets lost.
    """

    schema_version: int = SCHEMA
    number: int
    at: float = Field(default_factory=time)
    charges: list[Charge] = []
    before: Before | None = None
    total_usd: float
    writer: str = Field(default_factory=lambda: uuid4().hex)


class Entries:
    """What is known of the entries of one chain.

    Attributes:
        newest: The newest that we know.
    """

    def __init__(self, store: VideoFolder, period: str) -> None:
        self._store = store
        self._folder = f".spending/{period}"
        self.newest: Entry | None = None
        self._oldest: Entry | None = None
        # What the entries charge, from the oldest to the newest that we know.
        self._charged: dict[tuple[str, int], float] = {}
        self._settled: set[tuple[str, int]] = set()

    def charged(self, key: str, attempt: int) -> float:
        """What the entries that we know charge for an attempt, in USD."""
        return round(self._charged.get((key, attempt), 0.0), 6)

    def knows(self, key: str, attempt: int) -> bool:
        """Whether an entry that we know is about an attempt."""
        return (key, attempt) in self._charged

    def is_settled(self, key: str, attempt: int) -> bool:
        """Whether an entry that we know says what an attempt really cost."""
        return (key, attempt) in self._settled

    async def go_on(self) -> Entry | None:
        """Read on to the newest entry; the chain is listed only where no entry of it is known."""
        if self.newest is None:
            self.know(await self._last())
        while self.newest is not None:
            number = self.newest.number + 1
            name = self.name(number)
            data = await self._store.read(name)
            if data is None:
                break
            entry = read_record(Entry, data, name)
            # A torn entry is skipped: the newest one has the total.
            self.know(entry or await self._last())
        return self.newest

    async def _last(self) -> Entry | None:
        numbers = [
            int(name.removesuffix(_SUFFIX))
            for name in await self._store.names(self._folder)
            if name.endswith(_SUFFIX) and name.removesuffix(_SUFFIX).isdigit()
        ]
        return await self._read(max(numbers)) if numbers else None

    async def go_back(self, attempt: tuple[str, int], until: float) -> None:
        """Read the entries before those that we know, as far back as one may hold this charge."""
        while (
            attempt not in self._charged
            and self._oldest is not None
            and self._oldest.number > 1
            and self._oldest.at >= until
        ):
            before = self._oldest.number
            numbers = range(max(1, before - limits().charges_at_once), before)
            read = await asyncio.gather(*map(self._read_if_whole, numbers))
            for number, entry in reversed([*zip(numbers, read, strict=True)]):
                if self._oldest.number == number + 1:  # another may have read it meanwhile
                    # Nobody knows what a broken entry charged, but the totals include it.
                    self._oldest = entry or self._oldest.model_copy(update={"number": number})
                    self._count(entry)

    def know(self, entry: Entry | None) -> None:
        """Take an entry as the newest; if the one before it was not read, forget all others."""
        if entry is None or (self.newest and entry.number <= self.newest.number):
            return
        if self.newest is None or entry.number > self.newest.number + 1:
            self._oldest = entry
            self._charged.clear()
            self._settled.clear()
        self.newest = entry
        self._count(entry)

    def _count(self, entry: Entry | None) -> None:
        for charge in entry.charges if entry else []:
            attempt = (charge.key, charge.attempt)
            self._charged[attempt] = self._charged.get(attempt, 0.0) + charge.usd
            if charge.settled_usd is not None:
                self._settled.add(attempt)

    async def _read_if_whole(self, number: int) -> Entry | None:
        name = self.name(number)
        return read_record(Entry, await self._store.read(name), name)

    async def _read(self, number: int) -> Entry:
        entry = await self._read_if_whole(number)
        if entry is None:
            raise StorageError(
                f"{self._store.url(self.name(number))} cannot be read, so what was spent is not "
                "known.",
                next_step="Where it is broken for good, delete it and run "
                "again: what it charged is then not counted.",
            )
        return entry

    def name(self, number: int) -> str:
        """Name an entry's file."""
        return f"{self._folder}/{number:06d}{_SUFFIX}"
