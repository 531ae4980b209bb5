"""Budgets: what a run, and a store in a day, may cost, kept before each submission.

What was spent is counted from the records and from what every worker writes down before
it sends (`spending`): a render whose price nobody knows is not sent under a budget.
"""

import logging
import math
from dataclasses import dataclass
from functools import partial

from prefect_sora.client import VideoClient
from prefect_sora.errors import InvalidRequestError
from prefect_sora.estimates import Price, price, unknown_price
from prefect_sora.ledger import Ledger, day_of, run_of
from prefect_sora.records import RenderState, Reserved
from prefect_sora.requests import VideoRequest
from prefect_sora.spending import Before, Charge, chain_of, take_back

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Budget:
    """How much may be spent, in USD; 0 lets only through what is free.

    Attributes:
        run_usd: By all renders that share a scope: by one run, unless a scope is named.
        daily_usd: From one store in one UTC day, by all who name this budget.

    Raises:
        InvalidRequestError: An amount is negative or no number.
    """

    run_usd: float | None = None
    daily_usd: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no amount of money: a comparison with it would let all through."""
        for name, usd in (("max_cost_usd", self.run_usd), ("daily_budget_usd", self.daily_usd)):
            if usd is not None and not (math.isfinite(usd) and usd >= 0):
                raise InvalidRequestError(
                    f"{name} is {usd}, which is no amount of USD.",
                    next_step="Give an amount from 0 up; 0 lets only through what is free.",
                )

    def limits(self, reserved: Reserved) -> dict[str, float]:
        """The periods that an attempt is charged to, each with its limit."""
        limits = {}
        if self.run_usd is not None:
            limits[run_of(reserved.scope)] = self.run_usd
        if self.daily_usd is not None:
            limits[day_of(reserved.at)] = self.daily_usd
        return limits


def budget_of(reserved: Reserved, given: Budget | None = None) -> Budget | None:
    """The budget under which a render is sent again, from its records alone.

    Args:
        reserved: Its newest reservation, which says what budgets it was sent under.
        given: What is said anew; its amounts count before those.
    """
    if reserved.charged_to and not reserved.limits_usd:
        log.warning(
            "Render %s was sent under a budget whose amount its records do not hold.", reserved.key
        )
    told = (reserved.charged_to, reserved.limits_usd)
    limits = {p.partition("-")[0]: usd for p, usd in zip(*told, strict=False)}
    run_usd, daily_usd = (given.run_usd, given.daily_usd) if given else (None, None)
    run_usd = limits.get("run") if run_usd is None else run_usd
    daily_usd = limits.get("day") if daily_usd is None else daily_usd
    return None if run_usd is None and daily_usd is None else Budget(run_usd, daily_usd)


def binding(budget: Budget | None, request: VideoRequest, client: VideoClient) -> Budget | None:
    """Return the budget where the request can cost anything, and there is a limit."""
    if budget is None or (budget.run_usd is None and budget.daily_usd is None):
        return None
    return None if price(request, client.server).usd == 0 else budget


async def charge(
    request: VideoRequest,
    mine: Reserved,
    folder: str,
    client: VideoClient,
    ledger: Ledger,
    budget: Budget,
) -> None:
    """Count an attempt against its budgets, right before it is sent.

    Raises:
        InvalidRequestError: Its price is not known.
        BudgetExceededError: A budget does not allow it.
        ApiError: The video that it starts from, and that its price depends on, is not there.
        StorageError: The store refuses.
    """
    priced = await _price(request, client)
    if priced.usd is None:
        raise unknown_price(priced.why)
    await charge_usd(priced.usd, mine, folder, ledger, budget)


async def charge_usd(
    usd: float, mine: Reserved, folder: str, ledger: Ledger, budget: Budget
) -> None:
    """Count an attempt whose price is known; as `charge` says."""
    if mine.attempt > 1:
        await _settle(folder, mine.attempt, ledger)
    before = _Before(ledger)
    for period, limit_usd in budget.limits(mine).items():
        await chain_of(ledger.store, period).charge(
            Charge(key=mine.key, attempt=mine.attempt, usd=usd),
            limit_usd=limit_usd,
            before=partial(before.sum, period),
        )


async def _price(request: VideoRequest, client: VideoClient) -> Price:
    priced = price(request, client.server)
    if priced.usd is not None or request.kind == "create" or not request.source_video_id:
        return priced
    source = await client.retrieve(request.source_video_id)
    seconds = request.seconds if request.kind == "extend" else _number(source.seconds)
    model = request.model or source.model
    usd = client.server.cost_usd(model, source.size, seconds)
    why = f"video {source.id} is of {model or 'no model'}, {source.size or 'no size'}"
    return Price(usd, f"{why}, {source.seconds or 'no'} s" if usd is None else None)


async def _settle(folder: str, attempt: int, ledger: Ledger) -> None:
    """Take back what earlier attempts were charged that are known to have cost nothing."""
    before = [state for state in await ledger.attempts(folder) if state.attempt < attempt]
    owed = {
        state.reserved.charged_as for state in before if state.reserved and _owes(state, before)
    }
    for state in before:
        if state.reserved and state.reserved.charged_as not in owed:
            await take_back(state.reserved, ledger.store)


def _owes(state: RenderState, attempts: list[RenderState]) -> bool:
    """Whether an attempt may have cost something.

    One that is neither accepted nor closed was lost on its way, and looked for before another
    may be sent: a later one has adopted its job, or was closed in doubt, or there is none.
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
