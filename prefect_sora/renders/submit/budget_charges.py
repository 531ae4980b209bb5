"""Budget charges: each attempt is counted against its budgets before it is sent.

Spending is counted from the records, and from what every worker writes down before it sends.
A render whose price nobody knows is not sent under a budget.

An attempt that a server refused for the moment is closed; the next attempt takes its charge
over. Taking the charge back and charging anew would cost hundreds of requests to the store for
nothing. Where no attempt follows, the charge is taken back, by the next run at the latest.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial

from prefect_sora.errors import StorageError
from prefect_sora.renders.submit.attempt import Attempt
from prefect_sora.renders.submit.options import Budget
from prefect_sora.renders.submit.send import to_its_end
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.estimates import Price, price, unknown_price
from prefect_sora.store.identity import new_owner
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.payments import cost_of
from prefect_sora.store.records import RenderState, Reserved
from prefect_sora.store.spending_chain import chain_of, settle, take_back
from prefect_sora.store.spending_entries import Before, Charge

log = logging.getLogger(__name__)


class Charges:
    """The charge of one render, made by one call."""

    def __init__(self, folder: str, ledger: Ledger, budget: Budget | None) -> None:
        self.folder, self.ledger, self.budget = folder, ledger, budget
        self._standing: Reserved | None = None

    def written(self, reserved: Reserved) -> Reserved:
        """Add to a reservation what it is charged to, and whose charge it takes over.

        It takes over the charge of this call's own attempt right before it, and no other: a
        worker that begins an attempt between may have taken that charge back.
        """
        if self.budget is None:
            return reserved
        limits = self.budget.limits(reserved)
        last = self._standing
        follows = last is not None and last.attempt + 1 == reserved.attempt
        carried = last.charged_as if last and follows and {*last.charged_to} == {*limits} else None
        update = {"charged_to": (*limits,), "limits_usd": (*limits.values(),)}
        return reserved.model_copy(update={**update, "charged_attempt": carried})

    async def make(
        self, attempt: Attempt, charge: Callable[[Attempt, Budget], Awaitable[None]]
    ) -> None:
        """Charge an attempt, unless it has taken a charge over.

        Raises:
            SoraError: As `charge` says; it is not charged.
        """
        if self.budget is None:
            return
        if attempt.reserved.charged_attempt is None:
            await self.let_go()
            await charge(attempt, self.budget)
        self._standing = attempt.reserved

    def settled(self) -> None:
        """Take note that the charge is owed, or in doubt, or taken back already."""
        self._standing = None

    async def let_go(self) -> None:
        """Take back the charge of an attempt that is closed unpaid, whatever ends the caller."""
        reserved, self._standing = self._standing, None
        if reserved is not None:
            # A new token: a request of the same reservation may still be under way.
            alone = reserved.model_copy(update={"owner": new_owner()})
            await to_its_end(alone, self._taken_back(reserved))

    async def _taken_back(self, reserved: Reserved) -> None:
        try:
            closed = await self.ledger.closed(self.folder, reserved.attempt)
        except StorageError as error:
            log.warning("The charge of render %s still counts: %s", reserved.key, error)
            return
        if closed and closed.paid == "no":
            await take_back(reserved, self.ledger.store)


async def charge(request: VideoRequest, attempt: Attempt, budget: Budget) -> None:
    """Count an attempt at a video against its budgets, right before it is sent.

    Raises:
        InvalidRequestError: Its price is not known.
        BudgetExceededError: A budget does not allow it.
        ApiError: The video that it starts from, and that its price depends on, is not there.
        StorageError: The store refuses.
    """
    priced = await _price(request, attempt)
    if priced.usd is None:
        raise unknown_price(priced.why)
    await charge_usd(priced.usd, attempt, budget)


async def charge_usd(usd: float, attempt: Attempt, budget: Budget) -> None:
    """Count an attempt whose price is known against its budgets, right before it is sent."""
    ledger = attempt.ledger
    if attempt.number > 1:
        await _settle(attempt)
    before = _Before(ledger)
    for period, limit_usd in budget.limits(attempt.reserved).items():
        await chain_of(ledger.store, period).charge(
            Charge(key=attempt.key, attempt=attempt.number, usd=usd),
            limit_usd=limit_usd,
            before=partial(before.sum, period),
        )


async def _price(request: VideoRequest, attempt: Attempt) -> Price:
    client = attempt.client
    priced = price(request, client.server)
    if priced.usd is not None or request.kind == "create" or not request.source_video_id:
        return priced
    source = await client.retrieve(request.source_video_id)
    seconds = request.seconds if request.kind == "extend" else _number(source.seconds)
    model = await attempt.model_of(request, source.model)
    usd = client.server.cost_usd(model, source.size, seconds)
    why = f"video {source.id} is of {model or 'no model'}, {source.size or 'no size'}"
    return Price(usd, f"{why}, {source.seconds or 'no'} s" if usd is None else None)


async def _settle(attempt: Attempt) -> None:
    """Take back the charges of earlier attempts that have cost nothing; settle the others'."""
    ledger = attempt.ledger
    states = await ledger.attempts(attempt.folder)
    before = [state for state in states if state.attempt < attempt.number]
    owed = {
        state.reserved.charged_as for state in before if state.reserved and _owes(state, before)
    }
    for state in before:
        actual_usd = cost_of(state, states).actual_usd
        if state.reserved and state.reserved.charged_as not in owed:
            await take_back(state.reserved, ledger.store)
        elif state.reserved and actual_usd is not None and state.failed:
            await settle(state.reserved, actual_usd, ledger.store)


def _owes(state: RenderState, attempts: list[RenderState]) -> bool:
    """Whether an attempt may have cost something.

    An attempt that is neither accepted nor closed was lost on its way. It is looked for before
    another may be sent: a later one has adopted its job, or was closed in doubt, or no job exists.
    """
    if state.name != "reserved":
        return state.failed is None or state.failed.paid != "no"
    return any(_is_for_the_lost(one) for one in attempts if one.attempt > state.attempt)


def _is_for_the_lost(state: RenderState) -> bool:
    if state.accepted:
        return state.accepted.job.adopted
    in_doubt = state.reserved is not None and state.reserved.uncertain_since is not None
    return in_doubt and state.failed is not None and state.failed.paid != "no"


class _Before:
    """What was paid before anybody counted; the open renders are read once for all periods."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._open: list[RenderState] | None = None

    async def sum(self, period: str) -> Before:
        if self._open is None:
            self._open = await self._ledger.unfinished()
        costs = await self._ledger.paid(period, self._open)
        return Before(
            usd=round(sum(usd for usd in costs if usd is not None), 6),
            unpriced=sum(usd is None for usd in costs),
        )


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
