"""Spending chain: the charges against a budget, counted in the store by all who pay from it.

```text
<store>/.spending/day-2026-11-21/000001.json     what the records say was spent before
<store>/.spending/day-2026-11-21/000002.json     charges, or one that is settled or taken back
<store>/.spending/run-<hash of the scope>/…      the same of one run
```

Each entry is created exclusively under the next number and holds the running total. So of
all who add at once, on any machine, one wins, and the others read on and try again. No charge
is added that would go over the budget. What a render really cost, once its server has said so,
takes the charge's place, up or down, once. Entries are never edited.

A process that knows an entry asks for the next ones by number; it lists a chain only where it
knows no entry of it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from prefect_sora.errors import BudgetExceededError, StorageError
from prefect_sora.limits import limits
from prefect_sora.servers.video_prices import dollars
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.records import Reserved
from prefect_sora.store.spending_entries import Before, Charge, Entries, Entry

log = logging.getLogger(__name__)

_ROUNDING_USD: Final = 1e-6


@dataclass(frozen=True)
class _Asked:
    charge: Charge
    limit_usd: float
    before: Callable[[], Awaitable[Before]]
    answer: asyncio.Future[None]


@dataclass(frozen=True)
class _Back:
    key: str
    attempt: int
    since: float
    answer: asyncio.Future[None]
    actual_usd: float | None = None


class Chain:
    """The entries of one period in one store."""

    def __init__(self, store: VideoFolder, period: str) -> None:
        self.period = period
        self._store = store
        self._entries = Entries(store, period)
        self._asked: list[_Asked | _Back] = []
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
        await self._ask(_Asked(charge, limit_usd, before, answer))

    async def take_back(self, key: str, attempt: int, *, since: float = 0.0) -> None:
        """Take back what was charged for an attempt, if anything was and still is.

        Args:
            key: The render.
            attempt: Which attempt.
            since: When it was reserved, Unix seconds: nothing was charged long before.

        Raises:
            StorageError: The store refuses, or an entry cannot be read.
        """
        await self._back(key, attempt, since, None)

    async def settle(self, key: str, attempt: int, usd: float, *, since: float = 0.0) -> bool:
        """Put what an attempt really cost in the place of its charge, once.

        Args:
            key: The render.
            attempt: Which attempt.
            usd: What it cost.
            since: As in `take_back`.

        Returns:
            Whether the attempt is, or was, charged here.

        Raises:
            StorageError: The store refuses, or an entry cannot be read.
        """
        await self._back(key, attempt, since, usd)
        return self._entries.charged(key, attempt) > 0 or self._entries.is_settled(key, attempt)

    async def _back(self, key: str, attempt: int, since: float, usd: float | None) -> None:
        answer = asyncio.get_running_loop().create_future()
        await self._ask(_Back(key, attempt, since - limits().charge_clock_seconds, answer, usd))

    async def _ask(self, one: _Asked | _Back) -> None:
        self._asked.append(one)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._serve(), name="prefect-sora spending")
        await one.answer

    async def _serve(self) -> None:
        """Answer all that ask; those that ask at the same time share one entry."""
        while self._asked:
            asked, self._asked = self._asked, []
            try:
                await self._answer(asked)
            except Exception as error:
                for one in asked:  # a copy for each: each error is told which render it is about
                    _fail(one, copy(error))

    async def _answer(self, asked: list[_Asked | _Back]) -> None:
        wanted = [one for one in asked if isinstance(one, _Asked)]
        backs = {(b.key, b.attempt): b for b in asked if isinstance(b, _Back)}
        # The known entry need not be the newest: another is added after it only if none is there.
        newest, is_fresh = self._entries.newest, False
        while True:
            if newest is None and not is_fresh:
                newest, is_fresh = await self._entries.go_on(), True
            if newest is None:
                if not wanted:
                    break
                await self._begin(await wanted[0].before())
                newest = await self._entries.go_on()
                continue
            charges = await self._taken(backs.values())
            if not is_fresh and any(not self._knows(back) for back in backs.values()):
                newest, is_fresh = await self._entries.go_on(), True  # another charged it since
                continue
            spent = newest.total_usd + sum(charge.usd for charge in charges)
            fitting, refused = _within(spent, wanted)
            if refused and not is_fresh:  # some may be taken back by now
                newest, is_fresh = await self._entries.go_on(), True
                continue
            charges += [one.charge for one in fitting]
            if not charges or await self._add(newest, charges):
                now = self._entries.newest or newest
                for want in refused:
                    _fail(want, _exceeded(self.period, now.total_usd, want))
                break
            newest, is_fresh = await self._entries.go_on(), True
        for one in asked:
            if not one.answer.done():
                one.answer.set_result(None)

    async def _taken(self, backs: Iterable[_Back]) -> list[Charge]:
        """Make the charges that take back those still standing, or settle them."""
        charges = []
        for back in backs:
            try:
                await self._entries.go_back((back.key, back.attempt), back.since)
            except StorageError as error:
                _fail(back, error)
                continue
            charged = self._entries.charged(back.key, back.attempt)
            actual_usd = back.actual_usd
            if self._entries.is_settled(back.key, back.attempt) or charged <= 0:
                continue
            off = round((actual_usd or 0.0) - charged, 6)
            if off:
                charges.append(
                    Charge(key=back.key, attempt=back.attempt, usd=off, settled_usd=actual_usd)
                )
        return charges

    def _knows(self, one: _Back) -> bool:
        return self._entries.knows(one.key, one.attempt)

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
        won = await self._store.create(self._entries.name(entry.number), data)
        if won:
            self._entries.know(entry)
        return won


_chains: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[VideoFolder, str], Chain]] = (
    WeakKeyDictionary()
)


def chain_of(store: VideoFolder, period: str) -> Chain:
    """Return this event loop's one view of a chain, which remembers what it has read."""
    chains = _chains.setdefault(asyncio.get_running_loop(), {})
    chain = chains.pop((store, period), None) or Chain(store, period)
    chains[store, period] = chain
    while len(chains) > limits().chains_remembered:
        del chains[next(iter(chains))]
    return chain


async def take_back(reserved: Reserved, store: VideoFolder) -> None:
    """Take back the charge of an attempt that certainly cost nothing.

    Where the store refuses, that is logged, and the charge counts until the render is submitted
    again.
    """
    for period in reserved.charged_to:
        try:
            chain = chain_of(store, period)
            await chain.take_back(reserved.key, reserved.charged_as, since=_charged_from(reserved))
        except StorageError as error:
            log.warning("The charge of render %s still counts: %s", reserved.key, error)


async def settle(
    reserved: Reserved, usd: float, store: VideoFolder, lost: Sequence[int] = ()
) -> None:
    """Put what an attempt really cost in the place of its charge, in all budgets that count it.

    The record that ends the attempt decides, so this may be done again after a crash.

    Args:
        reserved: Its reservation.
        usd: What its server says that it cost.
        store: Where its budgets are.
        lost: Earlier attempts, the newest first, whose create was lost: where this one adopted
            their job, it is one of them that is charged.

    Raises:
        StorageError: The store refuses, or an entry cannot be read.
    """
    since = min(_charged_from(reserved), reserved.in_doubt_since)
    for period in reserved.charged_to:
        for attempt in (reserved.charged_as, *lost):
            if await chain_of(store, period).settle(reserved.key, attempt, usd, since=since):
                break


def _charged_from(reserved: Reserved) -> float:
    """When its charge was made at the earliest: one that stood through refusals may be old."""
    return reserved.at if reserved.charged_as == reserved.attempt else 0.0


def _within(spent: float, wanted: list[_Asked]) -> tuple[list[_Asked], list[_Asked]]:
    """Divide the charges, in the order asked, into those that fit their budget and the others."""
    fitting: list[_Asked] = []
    refused: list[_Asked] = []
    for one in wanted:
        fits = spent + one.charge.usd <= one.limit_usd + _ROUNDING_USD
        (fitting if fits else refused).append(one)
        spent += one.charge.usd if fits else 0.0
    return fitting, refused


def _fail(one: _Asked | _Back, error: Exception) -> None:
    if not one.answer.done():
        one.answer.set_exception(error)


def _exceeded(period: str, spent: float, one: _Asked) -> BudgetExceededError:
    usd, limit_usd = one.charge.usd, one.limit_usd
    daily = period.startswith("day-")
    whose = f"the store's budget for {period.removeprefix('day-')}" if daily else "max_cost_usd"
    more = (
        "Raise the store's daily_budget_usd, or run the same again after midnight UTC."
        if daily
        else "Raise it and run the same again: nothing is paid twice."
    )
    already = f"{dollars(spent)} is spent {'today' if daily else 'in this scope'} already, "
    return BudgetExceededError(
        f"It would cost {dollars(usd)}, {already if spent else ''}and {whose} "
        f"{'is' if daily else 'allows'} {dollars(limit_usd)}.",
        budget_usd=limit_usd,
        spent_usd=spent,
        asked_usd=usd,
        next_step=more,
    )
