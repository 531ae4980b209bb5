"""Send window: how long after its reservation a create may still leave.

The window bounds when the create of a dead worker can be accepted. Others read it in the
reservation, and the worker itself sends nothing after it.
"""

from dataclasses import dataclass, field
from time import monotonic, time

from prefect_sora.limits import limits
from prefect_sora.renders.matching.match import Doubt
from prefect_sora.servers.profiles import Profile
from prefect_sora.store.records import RenderState, Reserved


def send_seconds(slow_s: float) -> float:
    """How long after its stamp a create may leave, where a step at the store takes `slow_s`.

    The time counts from the stamp, but the create leaves only when the record is durable.
    So the time that a slow store takes is added, twice.
    """
    usual, slow = limits().send_seconds, slow_s >= limits().slow_store_seconds
    return min(usual + 2 * slow_s, limits().max_send_seconds) if slow else usual


@dataclass(frozen=True)
class Window:
    """Until when the create of a reservation may leave.

    Attributes:
        at: The reservation's stamp.
        seconds: How long after it, as others read it in the record.
        begun: When it was stamped, by a clock that nobody sets.
        has_place: Whether its create no longer waits for others of this process.
    """

    at: float
    seconds: float
    begun: float = field(default_factory=monotonic)
    has_place: bool = False

    @classmethod
    def of(cls, reserved: Reserved, *, has_place: bool = False) -> "Window":
        """The window of a reservation that is stamped now."""
        return cls(reserved.at, reserved.leaves_within_s, has_place=has_place)

    def left_s(self, now: float, steady: float) -> float:
        """Seconds until a request may no longer leave, however far it has got."""
        return self.seconds - max(now - self.at, steady - self.begun)

    def is_open(self, now: float, steady: float) -> bool:
        """Whether a request that is begun now leaves in time, however long it connects.

        Args:
            now: Unix seconds. Where the clock was set, others read the stamp as another time.
            steady: As `begun` is measured; it may stand still while the machine sleeps.
        """
        by_clock, by_steady = now - self.at, steady - self.begun
        latest = self.seconds - limits().connect_seconds
        steps = by_clock - by_steady
        return max(by_clock, by_steady) <= latest and steps >= -limits().clock_step_seconds


def doubt_of(state: RenderState, profile: Profile) -> Doubt:
    """When a reservation's worker, who is gone, may have had its create accepted."""
    if state.reserved is None:  # torn: it may be of any age, and its worker may live
        return Doubt(0.0, time() + limits().max_send_seconds + profile.longest_create_s)
    sent_until = min(state.reserved.at + state.reserved.leaves_within_s, time())
    return Doubt(state.reserved.in_doubt_since, sent_until + profile.longest_create_s)
