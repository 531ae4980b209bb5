"""Spending: what is charged against a budget, counted in the store by all who pay from it.

```text
<store>/.spending/day-2026-11-21/000001.json     what the records say was spent before
<store>/.spending/day-2026-11-21/000002.json     charges, or one that is taken back
<store>/.spending/run-<hash of the scope>/…      the same of one run
```

Each entry is created exclusively under the next number and holds the running total, so of
all who add at once, on any machine, one wins, and the others read on and try again: the
total is never over the budget. Entries are never edited.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from copy import copy
from dataclasses import dataclass
from time import time
from typing import Final
from uuid import uuid4
from weakref import WeakKeyDictionary

from pydantic import BaseModel, Field

from prefect_sora.errors import BudgetExceededError, StorageError
from prefect_sora.prices import dollars
from prefect_sora.records import SCHEMA, Reserved, read_record
from prefect_sora.storage import VideoFolder

log = logging.getLogger(__name__)

_CHAINS: Final = 64
"""How many chains one event loop remembers; the oldest is read anew when needed. Ours."""

_READS_AT_ONCE: Final = 16
_ROUNDING_USD: Final = 1e-6
_SUFFIX: Final = ".json"


class Charge(BaseModel):
    """What one attempt of a render is charged.

    Attributes:
        key: The render.
        attempt: Which attempt of it; each is charged once.
        usd: What it costs; less than 0 where a charge is taken back.
    """

    key: str
    attempt: int
    usd: float


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
        before: Of the first: what it starts from.
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


@dataclass(frozen=True)
class _Asked:
    charge: Charge
    limit_usd: float
    before: Callable[[], Awaitable[Before]]
    answer: asyncio.Future[None]


class Chain:
    """The entries of one period in one store."""

    def __init__(self, store: VideoFolder, period: str) -> None:
        self.period = period
        self._store = store
        self._folder = f".spending/{period}"
        self._entries: dict[int, Entry] = {}
        self._asked: list[_Asked] = []
        self._worker: asyncio.Task[None] | None = None

    async def charge(
        self, charge: Charge, *, limit_usd: float, before: Callable[[], Awaitable[Before]]
    ) -> None:
        """Add a charge, if the total then is within the limit.

        Args:
            charge: What is charged.
            limit_usd: The budget.
            before: Reads what the records say was spent; called where no entry stands yet.

        Raises:
            BudgetExceededError: It would go over the budget; nothing is charged.
            StorageError: The store refuses, or an entry cannot be read.
        """
        answer = asyncio.get_running_loop().create_future()
        self._asked.append(_Asked(charge, limit_usd, before, answer))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._serve(), name="prefect-sora spending")
        await answer

    async def take_back(self, key: str, attempt: int) -> None:
        """Take back what was charged for an attempt, if anything was and still is.

        Raises:
            StorageError: The store refuses, or an entry cannot be read.
        """
        while newest := await self._newest():
            entries = await self._all(newest.number)
            mine = (c for e in entries for c in e.charges if (c.key, c.attempt) == (key, attempt))
            charged = round(sum(charge.usd for charge in mine), 6)
            back = Charge(key=key, attempt=attempt, usd=-charged)
            if charged <= 0 or await self._add(newest, [back]):
                return

    async def _serve(self) -> None:
        """Answer all that ask; those that ask at the same time share one entry."""
        while self._asked:
            asked, self._asked = self._asked, []
            try:
                await self._answer(asked)
            except Exception as error:
                for one in asked:  # each its own, for each is told which render it is about
                    _fail(one, copy(error))

    async def _answer(self, asked: list[_Asked]) -> None:
        newest = self._entries[max(self._entries)] if self._entries else None
        is_fresh = False
        while True:
            fitting, refused = _within(newest, asked)
            if newest is None or (refused and not is_fresh):  # some may be taken back by now
                newest, is_fresh = await self._newest(), True
                if newest is None:
                    await self._begin(await asked[0].before())
                    newest = await self._newest()
                continue
            if not fitting:
                break
            if await self._add(newest, [one.charge for one in fitting]):
                newest = self._entries[newest.number + 1]
                break
            newest, is_fresh = await self._newest(), True
        for one in fitting:
            if not one.answer.done():
                one.answer.set_result(None)
        for one in refused:
            _fail(one, _exceeded(self.period, newest.total_usd, one))

    async def _begin(self, before: Before) -> None:
        if before.unpriced:
            log.warning(
                "%d renders of before count nothing against the budget: nobody knows their price.",
                before.unpriced,
            )
        await self._create(Entry(number=1, before=before, total_usd=before.usd))

    async def _add(self, newest: Entry, charges: list[Charge]) -> bool:
        total_usd = round(newest.total_usd + sum(charge.usd for charge in charges), 6)
        return await self._create(
            Entry(number=newest.number + 1, charges=charges, total_usd=total_usd)
        )

    async def _create(self, entry: Entry) -> bool:
        data = entry.model_dump_json(indent=1).encode()
        won = await self._store.create(self._name(entry.number), data)
        if won:
            self._entries[entry.number] = entry
        return won

    async def _newest(self) -> Entry | None:
        numbers = [
            int(name.removesuffix(_SUFFIX))
            for name in await self._store.names(self._folder)
            if name.endswith(_SUFFIX) and name.removesuffix(_SUFFIX).isdigit()
        ]
        return await self._read(max(numbers)) if numbers else None

    async def _all(self, newest: int) -> list[Entry]:
        gate = asyncio.Semaphore(_READS_AT_ONCE)

        async def read(number: int) -> Entry:
            async with gate:
                return await self._read(number)

        return await asyncio.gather(*(read(number) for number in range(1, newest + 1)))

    async def _read(self, number: int) -> Entry:
        if number not in self._entries:
            name = self._name(number)
            entry = read_record(Entry, await self._store.read(name), name)
            if entry is None:
                raise StorageError(
                    f"{self._store.url(name)} cannot be read, so what was spent is not known.",
                    next_step="Nothing was sent. Where it is broken for good, delete it and run "
                    "again: what it charged is then not counted.",
                )
            self._entries[number] = entry
        return self._entries[number]

    def _name(self, number: int) -> str:
        return f"{self._folder}/{number:06d}{_SUFFIX}"


_chains: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[VideoFolder, str], Chain]] = (
    WeakKeyDictionary()
)


def chain_of(store: VideoFolder, period: str) -> Chain:
    """Return this event loop's one view of a chain: what it has read it need not read again."""
    chains = _chains.setdefault(asyncio.get_running_loop(), {})
    chain = chains.pop((store, period), None) or Chain(store, period)
    chains[store, period] = chain
    while len(chains) > _CHAINS:
        del chains[next(iter(chains))]
    return chain


async def take_back(reserved: Reserved, store: VideoFolder) -> None:
    """Take back the charge of an attempt that certainly cost nothing; as well as may be.

    Where that fails too much stays counted, until the render is submitted again.
    """
    for period in reserved.charged_to:
        try:
            await chain_of(store, period).take_back(reserved.key, reserved.charged_as)
        except StorageError as error:
            log.warning("The charge of render %s still counts: %s", reserved.key, error)


def _within(newest: Entry | None, asked: list[_Asked]) -> tuple[list[_Asked], list[_Asked]]:
    """Tell apart what fits into its budget, in the order in which it was asked for."""
    total = newest.total_usd if newest else 0.0
    fitting: list[_Asked] = []
    refused: list[_Asked] = []
    for one in asked:
        fits = total + one.charge.usd <= one.limit_usd + _ROUNDING_USD
        (fitting if fits else refused).append(one)
        total += one.charge.usd if fits else 0.0
    return fitting, refused


def _fail(one: _Asked, error: Exception) -> None:
    if not one.answer.done():
        one.answer.set_exception(error)


def _exceeded(period: str, spent: float, one: _Asked) -> BudgetExceededError:
    usd, limit_usd = one.charge.usd, one.limit_usd
    daily = period.startswith("day-")
    whose = f"the store's budget for {period.removeprefix('day-')}" if daily else "the run's budget"
    more = (
        "Raise the store's daily_budget_usd, or run the same again after midnight UTC."
        if daily
        else "Raise max_cost_usd (--max-cost) and run the same again: nothing is paid twice."
    )
    return BudgetExceededError(
        f"It would cost {dollars(usd)}, and of {whose} of {dollars(limit_usd)} "
        f"{dollars(spent)} is spent.",
        budget_usd=limit_usd,
        spent_usd=spent,
        asked_usd=usd,
        next_step=f"Nothing was sent. {more}",
    )
