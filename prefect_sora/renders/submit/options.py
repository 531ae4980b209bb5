"""Options: how a render is shared, waited for and paid, and what may be spent, as one value."""

import logging
import math
from dataclasses import KW_ONLY, dataclass

from prefect_sora.errors import InvalidRequestError
from prefect_sora.renders.finish.options import WaitOptions
from prefect_sora.renders.submit.decide import Policy
from prefect_sora.store.payments import day_of, run_of
from prefect_sora.store.records import Reserved

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

    @property
    def has_limits(self) -> bool:
        """Whether it forbids anything."""
        return self.run_usd is not None or self.daily_usd is not None

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
        given: What is said anew; its amounts take precedence.
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
    budget = Budget(run_usd, daily_usd)
    return budget if budget.has_limits else None


@dataclass(frozen=True)
class RenderOptions(WaitOptions):
    """All that a render is told beside its request, its server and its store.

    Attributes:
        scope: Whom the render is shared with: the same request in the same scope is one render.
        in_doubt: Whether to `stop` or to `resubmit`, and pay again, where nobody can tell
            whether it was accepted.
        budget: What may be spent; None sets no limit.
    """

    scope: str
    _: KW_ONLY
    in_doubt: Policy = "stop"
    budget: Budget | None = None
