"""Decide: what one call does next about a render, from what is known; nothing is done here.

`decide` judges what the records show, `after` how an attempt ended. `pay` carries it
out, for videos and for pictures.
"""

from dataclasses import dataclass, replace
from typing import Literal

from prefect_sora.errors import (
    InvalidRequestError,
    RenderTimeoutError,
    SoraError,
    StorageError,
    UnavailableError,
)
from prefect_sora.limits import limits
from prefect_sora.renders.submit.attempt import another_worker_holds_it
from prefect_sora.store.records import RenderState

Policy = Literal["stop", "resubmit"]
"""What to do where a create may have been accepted and the server cannot tell."""


@dataclass(frozen=True)
class Call:
    """What one call may do, and what it has been through.

    Attributes:
        deadline: When it gives up, Unix seconds; even past it, it tries once.
        policy: Whether it pays again in doubt; it does so once.
        passed_on_after: It stops where the render was passed on in an attempt later than this.
        waits: How often it has waited for another worker.
        begun: How many reservations it has asked for.
        rounds: How many of its creates were shown not to have been accepted.
        busy: How many were refused for the moment.
        lapses: How many of its reservations were too old before anything was sent.
        owes: Whether it tries once more, even past the deadline, as the policy says.
        slow_s: The longest that one step at the store has taken.
        why: What its last attempt ended with.
    """

    deadline: float
    policy: Policy = "stop"
    passed_on_after: int | None = None
    waits: int = 0
    begun: int = 0
    rounds: int = 0
    busy: int = 0
    lapses: int = 0
    owes: bool = False
    slow_s: float = 0.0
    why: SoraError | None = None


@dataclass(frozen=True)
class Have:
    """The render is kept or accepted: return it."""


@dataclass(frozen=True)
class LookAgain:
    """Look again: the owner may have recorded the outcome and let go between two looks."""


@dataclass(frozen=True)
class Wait:
    """Another worker holds it: look again in a while."""

    seconds: float


@dataclass(frozen=True)
class Settle:
    """The render is in doubt, and the store alone can tell: look there, else follow the policy."""


@dataclass(frozen=True)
class Reserve:
    """Begin an attempt.

    Attributes:
        attempt: Its number.
        in_doubt: Whether the server has to be asked first what became of an earlier one.
    """

    attempt: int
    in_doubt: bool


@dataclass(frozen=True)
class PassOn:
    """Ask another server for the render."""


@dataclass(frozen=True)
class Stop:
    """End the call."""

    error: Exception


Step = Have | LookAgain | Wait | Settle | Reserve | PassOn | Stop

How = Literal["busy", "unmade", "paid again", "lapsed"]
"""How an attempt ends that is closed without a job and lets another be made: refused for the
moment; sent, and shown not to be accepted; in doubt, and the policy pays again; not sent in time.
"""


def decide(
    state: RenderState,
    call: Call,
    *,
    fingerprint: str,
    held: bool,
    seen_twice: bool,
    by_store: bool,
    now: float,
) -> Step:
    """Say what to do about a render.

    Args:
        state: Where it stands.
        call: What this call has been through.
        fingerprint: What is asked for.
        held: Whether a live worker may be between its reservation and its record.
        seen_twice: Whether the look before showed the same, and that nobody held it.
        by_store: Whether the store alone can resolve a doubt, as for pictures, which no list shows.
        now: Unix seconds.
    """
    if state.reserved and state.reserved.fingerprint != fingerprint:
        return Stop(_collision(state))
    if state.is_kept or state.is_on_its_way:
        return Have()
    if state.failed and state.failed.kind == "moderated":
        return Stop(state.failed.error())
    after_this = call.passed_on_after
    if after_this is not None and state.passed_on and state.attempt > after_this:
        return PassOn()
    in_doubt = state.name == "reserved"
    if in_doubt and held:
        if now > call.deadline:
            return Stop(another_worker_holds_it(state))
        first_s, most_s = limits().look_pause_seconds, limits().look_pause_max_seconds
        return Wait(min(first_s * 1.5 ** min(call.waits, 10), most_s))
    if now > call.deadline and (call.waits or call.begun) and not call.owes:
        return Stop(call.why or too_late())
    if in_doubt and not seen_twice:
        return LookAgain()
    if in_doubt and by_store:
        return Settle()
    return Reserve(state.next_attempt, in_doubt)


def after(
    call: Call, how: How, why: SoraError | None, *, now: float, spread: float
) -> tuple[Call, Wait | Stop]:
    """Say whether to go on after an attempt that is closed, and after what pause.

    Args:
        call: What the call has been through before it.
        how: How it ended.
        why: What the server said, or what was shown.
        now: Unix seconds.
        spread: From 0 to 1, at random, so that calls refused together do not come back together.
    """
    late = now > call.deadline
    call = replace(call, owes=False)
    if how == "lapsed":
        call = replace(call, lapses=call.lapses + 1)
        stops = late or call.lapses >= limits().submit_rounds
        return call, Stop(call.why or _lapsed(call, late)) if stops else Wait(0.0)
    call = replace(call, why=why)
    over = Stop(why or _lapsed(call, late))
    if how == "busy":
        asked_s = getattr(why, "retry_after_s", None) or 0.0
        # Even a server that says "at once" gets a pause.
        first_s, most_s = limits().retry_pause_seconds, limits().busy_pause_max_seconds
        pause_s = max(asked_s, min(first_s * 2 ** min(call.busy, 10), most_s))
        call = replace(call, busy=call.busy + 1)
        if now + pause_s > call.deadline:
            return call, over
        return call, Wait(pause_s * (1 + spread / 4))
    call = replace(call, rounds=call.rounds + 1)
    if how == "paid again":
        # Once a call, not once a round. A picture's doubt begins when its time has passed.
        return replace(call, policy="stop", owes=True), Wait(0.0)
    return call, over if late or call.rounds >= limits().submit_rounds else Wait(0.0)


def _collision(state: RenderState) -> InvalidRequestError:
    return InvalidRequestError(
        "Another request has the same key in this store, which is one chance in 10^14.",
        key=state.key,
        next_step="Set take to another number.",
    )


def too_late() -> RenderTimeoutError:
    """Say that nothing was sent in time."""
    return RenderTimeoutError(
        "The deadline passed before the create request could be sent.",
        paid="no",
        next_step="Nothing was sent this time. Run it again with the same scope, or give it "
        "more time.",
    )


def _lapsed(call: Call, late: bool) -> SoraError:
    """Say why nothing was sent: others must be able to tell when a create can still leave."""
    if call.slow_s >= limits().slow_store_seconds:
        return StorageError(
            f"The store is too slow: it took {call.slow_s:.1f} s for one step, and a create is "
            "sent only while its reservation is fresh.",
            next_step="Run it again with more time, or with a faster store.",
        )
    if late:
        return too_late()
    return UnavailableError(
        "This process was kept from sending the create request for too long.",
        next_step="Run it again, with fewer renders at a time.",
    )
