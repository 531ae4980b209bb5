"""Windows: how long after its reservation a create may still leave.

What bounds when the create of a worker that is gone can be accepted: others read it in the
reservation, and the worker itself sends nothing after it.
"""

from dataclasses import dataclass, field
from time import monotonic, time
from typing import Final

from prefect_sora.creates import CONNECT_TIMEOUT_SECONDS, CREATE_TIMEOUT_SECONDS
from prefect_sora.ledger import LEASE_SECONDS
from prefect_sora.matching import Doubt
from prefect_sora.profiles import Profile
from prefect_sora.records import RenderState, Reserved

SEND_SECONDS: Final = 5.0 + CONNECT_TIMEOUT_SECONDS
"""How long after its reservation a create may leave at the latest: what bounds when a dead
worker's create can be accepted. Later needs another reservation. Ours."""

MAX_SEND_SECONDS: Final = LEASE_SECONDS - CREATE_TIMEOUT_SECONDS - 30.0
"""The longest that is granted where the store is slow: a create that leaves at its end is
answered, and recorded, before others believe the reservation to be given up. Ours."""

SLOW_SECONDS: Final = 1.0
"""From how long one step at a store takes on it is granted more. Ours."""

CLOCK_STEP_SECONDS: Final = 1.0
"""How far the clock may go from steady time before a reservation's stamp is not believed. Ours."""


def send_seconds(slow_s: float) -> float | None:
    """How long a reservation's create may leave, where a step at the store takes that long.

    The time is counted from the stamp, and what can be sent is sent when the record is
    durable: so a slow store gets the time that it takes besides, twice. None: `SEND_SECONDS`.
    """
    return min(SEND_SECONDS + 2 * slow_s, MAX_SEND_SECONDS) if slow_s >= SLOW_SECONDS else None


@dataclass(frozen=True)
class Window:
    """Until when the create of a reservation may leave.

    Attributes:
        at: The reservation's stamp.
        seconds: How long after it, as others read it in the record.
        begun: When it was stamped, by a clock that nobody sets.
        has_place: Its create waits for no others of this process any more.
    """

    at: float
    seconds: float
    begun: float = field(default_factory=monotonic)
    has_place: bool = False

    @classmethod
    def of(cls, mine: Reserved, *, has_place: bool = False) -> "Window":
        """The window of a reservation that is stamped now."""
        return cls(mine.at, _seconds(mine), has_place=has_place)

    def left_s(self, now: float, steady: float) -> float:
        """Seconds until a request leaves no more, however far it has got."""
        return self.seconds - max(now - self.at, steady - self.begun)

    def is_open(self, now: float, steady: float) -> bool:
        """Whether a request that is begun now leaves in time, however long it connects.

        Args:
            now: Unix seconds. A clock that was set makes the stamp another time to others.
            steady: As `begun` is measured; it may stand still while the machine sleeps.
        """
        by_clock, by_steady = now - self.at, steady - self.begun
        latest = self.seconds - CONNECT_TIMEOUT_SECONDS
        steps = by_clock - by_steady
        return max(by_clock, by_steady) <= latest and steps >= -CLOCK_STEP_SECONDS


def doubt_of(state: RenderState, profile: Profile) -> Doubt:
    """When a reservation's worker, who is gone, may have had its create accepted."""
    if state.reserved is None:  # torn: it may be of any age, and its worker may live
        return Doubt(0.0, time() + MAX_SEND_SECONDS + profile.longest_create_s)
    sent_until = min(state.reserved.at + _seconds(state.reserved), time())
    return Doubt(state.reserved.in_doubt_since, sent_until + profile.longest_create_s)


def _seconds(mine: Reserved) -> float:
    return SEND_SECONDS if mine.send_seconds is None else mine.send_seconds
