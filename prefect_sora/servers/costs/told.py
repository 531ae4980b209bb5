"""Told: what a server says that a render cost. What cannot be so is unknown, and never 0."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from prefect_sora.handles import Status
from prefect_sora.limits import limits
from prefect_sora.servers.profiles import Profile, found


@dataclass(frozen=True)
class Told:
    """What a server says of a cost.

    Attributes:
        usd: In USD; None where it says nothing, or nothing that can be believed.
        doubt: What it said, and why that is not believed.
    """

    usd: float | None = None
    doubt: str | None = None

    def beside(self, estimate_usd: float | None) -> "Told":
        """The same, unless it is so far from an estimate that its unit has to be another.

        Cents that are read as dollars are a hundred times too much. What is free is believed.

        Args:
            estimate_usd: By the prices that are known; None or 0 tells nothing.
        """
        times = limits().cost_times
        if (
            not self.usd
            or not estimate_usd
            or estimate_usd / times < self.usd < estimate_usd * times
        ):
            return self
        return Told(None, f"${self.usd:g}, where ${estimate_usd:g} was estimated: another unit?")


NOTHING: Final = Told()

_ENDED: Final[frozenset[Status]] = frozenset(
    {"completed", "failed", "cancelled", "deleted", "expired"}
)
"""Only what an ended job cost is its cost: some say 0 of one that is being rendered."""


def told_of(
    job: Mapping[str, Any], status: Status, profile: Profile, headers: Mapping[str, str] | None
) -> Told:
    """Read what a server says that a job cost, where its profile says that it does.

    Args:
        job: The job as it came.
        status: Where it stands.
        profile: Of the server.
        headers: Of the answer to a create; None for any other.
    """
    path = profile.cost_path
    if path is None:
        return NOTHING
    if profile.cost_source == "estimate_header":
        told = read_told((headers or {}).get(path), profile.cost_scale)
        return told if told.usd or told.doubt else NOTHING
    if status not in _ENDED:
        return NOTHING
    elsewhere = profile.cost_elsewhere_path
    if elsewhere and found(job, elsewhere):
        return Told(None, f"{elsewhere} is said, so another bills for it")
    return read_told(found(job, path), profile.cost_scale)


def read_told(value: object, scale: float = 1.0) -> Told:
    """Read what a server says that something cost.

    Args:
        value: A number, or one as text; None where it says nothing.
        scale: USD of one of its units.
    """
    if value is None or value == "":
        return NOTHING
    is_number = isinstance(value, (int, float, str)) and not isinstance(value, bool)
    try:
        usd = Decimal(str(value) if is_number else "") * Decimal(str(scale))
    except ArithmeticError:  # its text is not repeated: it may be anything
        return Told(None, f"something that is no amount ({type(value).__name__})")
    said = str(value)[:40]
    if not usd.is_finite() or usd < 0:
        return Told(None, f"{said} is no amount from 0 up")
    is_much = usd > Decimal(str(limits().cost_max_usd))
    if is_much or 0 < usd < Decimal("0.000001"):
        than_any = "more than any clip" if is_much else "less than any clip"
        return Told(None, f"{said} would be ${float(usd):g}, {than_any} costs: another unit?")
    return Told(round(float(usd), 6))
