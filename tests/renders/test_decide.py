"""Deciding: what one call does next, over all states and calls, without a server or a store."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

import pytest

from prefect_sora.errors import (
    InvalidRequestError,
    ModerationError,
    RateLimitError,
    RenderTimeoutError,
    SoraError,
    StorageError,
    UnavailableError,
    UncertainSubmitError,
)
from prefect_sora.handles import VideoJob
from prefect_sora.limits import Limits
from prefect_sora.renders.submit.decide import (
    Call,
    Have,
    How,
    LookAgain,
    PassOn,
    Reserve,
    Settle,
    Stop,
    Wait,
    after,
    decide,
)
from prefect_sora.store.identity import Owner
from prefect_sora.store.records import PASSED_ON, Accepted, Failed, RenderState, Reserved

NOW, USUAL = 1_000_000.0, Limits()
OURS = "a" * 64
OWNER = Owner(machine="m", pid=1, started=0.0, token="t")
RECORD: dict[str, Any] = {"key": "a" * 12, "attempt": 1, "at": NOW - 1}
RESERVED = Reserved(
    **RECORD,
    fingerprint=OURS,
    request_digest="d",
    request={},
    server="s",
    provider="s",
    scope="tonight",
    owner=OWNER,
)
JOB = VideoJob(
    key="a" * 12,
    attempt=1,
    folder="f",
    video_id="video_1",
    provider="s",
    title="t",
    model=None,
    take=1,
    submitted_at=NOW,
)
ENDS: dict[str, Failed | None] = {
    "open": None,
    "refused": Failed(**RECORD, kind="refused", message="no"),
    "failed": Failed(**RECORD, kind="failed", message="no", paid="unknown"),
    "moderated": Failed(**RECORD, kind="moderated", message="no"),
    "passed on": Failed(**RECORD, kind="refused", message="no", code=PASSED_ON),
}


def states() -> Iterator[RenderState]:
    """All that the records can say of a render that is not kept."""
    yield RenderState("f")
    torn_or_whole = (None, RESERVED, RESERVED.model_copy(update={"fingerprint": "b" * 64}))
    for reserved, accepted, end in itertools.product(torn_or_whole, (False, True), ENDS.values()):
        told = Accepted(**RECORD, job=JOB) if accepted else None
        yield RenderState("f", 1, reserved, told, None, end, None, 4)


def calls() -> Iterator[Call]:
    """Calls of every kind, in time and late."""
    for deadline, waits, begun, owes, passed in itertools.product(
        (NOW - 5, NOW + 5), (0, 3), (0, 3), (False, True), (None, 0, 1)
    ):
        yield Call(deadline, "stop", passed, waits=waits, begun=begun, owes=owes)


def all_cases() -> Iterator[tuple[RenderState, Call, bool, bool, bool]]:
    yield from itertools.product(states(), calls(), *[(False, True)] * 3)


def told(state: RenderState, call: Call, held: bool, seen_twice: bool, by_store: bool) -> Any:
    return decide(
        state,
        call,
        fingerprint=OURS,
        held=held,
        seen_twice=seen_twice,
        by_store=by_store,
        now=NOW,
    )


def test_nothing_is_begun_that_is_paid_for_or_refused_for_good() -> None:
    for case in all_cases():
        state, call, *_ = case
        step = told(*case)
        another = state.reserved is not None and state.reserved.fingerprint != OURS
        if another:
            assert isinstance(step, Stop), case
            assert isinstance(step.error, InvalidRequestError), case
        elif state.accepted and not state.failed:
            assert step == Have(), case
        elif state.failed and state.failed.kind == "moderated":
            assert isinstance(step, Stop), case
            assert isinstance(step.error, ModerationError), case
        elif state.passed_on and call.passed_on_after == 0:
            assert step == PassOn(), case
        else:
            assert not isinstance(step, Have), case


def test_what_is_open_is_never_sent_again_without_a_second_look_and_a_proof() -> None:
    for case in all_cases():
        state, _, held, seen_twice, by_store = case
        step = told(*case)
        if isinstance(step, Reserve) and state.name == "reserved":
            assert not held, case
            assert seen_twice, case
            assert not by_store, case
            assert step.in_doubt, case
        if isinstance(step, Reserve):
            assert step.in_doubt == (state.name == "reserved"), case
            assert step.attempt == state.next_attempt, case
        if isinstance(step, Settle):
            assert (state.name, held, seen_twice, by_store) == ("reserved", False, True, True), case
        if isinstance(step, LookAgain):
            assert (state.name, held, seen_twice) == ("reserved", False, False), case


def test_a_call_that_is_late_begins_nothing_but_what_it_has_not_tried_once() -> None:
    for case in all_cases():
        _, call, held, *_ = case
        step = told(*case)
        late = call.deadline < NOW
        tried = (call.waits or call.begun) and not call.owes
        if isinstance(step, (Reserve, Settle, LookAgain)):
            assert not (late and tried), case
        if isinstance(step, Wait):
            assert held, case
            assert not late, case
            assert 0 < step.seconds <= 2.0, case
        if isinstance(step, Stop) and isinstance(step.error, RenderTimeoutError):
            assert late, case


def test_an_attempts_number_is_one_that_nobody_has_begun() -> None:
    step = told(RenderState("f", 1, RESERVED, failed=ENDS["refused"], newest=4), Call(NOW + 1),
                False, False, False)  # fmt: skip
    assert step == Reserve(5, in_doubt=False)


def test_late_it_says_what_it_was_last_told() -> None:
    why = RateLimitError("too many")
    call = Call(NOW - 1, begun=2, why=why)
    assert told(RenderState("f"), call, False, False, False) == Stop(why)
    stop = told(RenderState("f"), replace(call, why=None), False, False, False)
    assert isinstance(stop, Stop)
    assert "Nothing was sent this time" in str(stop.error)


BUSY = RateLimitError("too many", retry_after_s=None)


def test_a_server_that_is_busy_is_left_alone_longer_and_longer_and_within_the_deadline() -> None:
    call, pauses = Call(NOW + 1e9), []
    for _ in range(2000):  # a day of refusals overflows nothing
        call, go_on = after(call, "busy", BUSY, now=NOW, spread=0.0)
        assert isinstance(go_on, Wait)
        pauses.append(go_on.seconds)
    assert pauses[:5] == [0.5, 1.0, 2.0, 4.0, USUAL.busy_pause_max_seconds]
    assert {*pauses[5:]} == {USUAL.busy_pause_max_seconds}


@pytest.mark.parametrize("asked_s", [0.0, 0.1, 3.0, 3600.0, float("inf")])
@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_what_a_server_asks_for_is_kept_and_spread_and_never_past_the_deadline(
    asked_s: float, spread: float
) -> None:
    call = Call(NOW + 60)
    why = UnavailableError("overloaded", status=503, retry_after_s=asked_s)
    call, go_on = after(call, "busy", why, now=NOW, spread=spread)
    if asked_s > 60:
        assert go_on == Stop(why)
    else:
        assert go_on == Wait(max(asked_s, 0.5) * (1 + spread / 4))
    assert call.busy == 1


@pytest.mark.parametrize("how", get_args(How))
@pytest.mark.parametrize("late", [False, True])
def test_every_way_goes_on_for_a_bounded_time(how: How, late: bool) -> None:
    call = Call(NOW - 1 if late else NOW + 100, "resubmit")
    why = UncertainSubmitError("who knows") if how == "paid again" else BUSY
    now, count = NOW, 0
    while count < 100:
        count += 1
        call, go_on = after(call, how, None if how == "lapsed" else why, now=now, spread=0.0)
        if isinstance(go_on, Stop) or call.policy == "stop":
            break
        now += go_on.seconds
    rounds = USUAL.submit_rounds
    expected = {"busy": 23, "unmade": rounds, "lapsed": rounds, "paid again": 1}
    assert count == (1 if late else expected[how])


def test_the_policy_pays_again_once_a_call_and_late_too() -> None:
    doubt = UncertainSubmitError("who knows")
    call, go_on = after(Call(NOW - 1, "resubmit", begun=1), "paid again", doubt, now=NOW,
                          spread=0.0)  # fmt: skip
    assert (call.policy, call.owes, go_on) == ("stop", True, Wait(0.0))
    assert told(RenderState("f"), call, False, False, False) == Reserve(1, in_doubt=False)
    call, _ = after(call, "lapsed", None, now=NOW, spread=0.0)
    assert not call.owes


def test_what_kept_it_from_sending_is_said() -> None:
    for slow_s, late, error in (
        (0.1, False, UnavailableError),
        (0.1, True, RenderTimeoutError),
        (6.0, False, StorageError),
        (6.0, True, StorageError),
    ):
        call = Call(NOW - 1 if late else NOW + 1, slow_s=slow_s, lapses=2)
        _, go_on = after(call, "lapsed", None, now=NOW, spread=0.0)
        assert isinstance(go_on, Stop)
        assert isinstance(go_on.error, error)
        assert go_on.error.paid == "no"
        assert "Nothing was paid" in str(go_on.error)


HELD: dict[str, bool] = {"held": True, "seen_twice": False, "by_store": False}
OPEN = RenderState("f", 1, RESERVED)


def test_a_worker_that_holds_it_is_waited_for_longer_and_longer_until_the_deadline() -> None:
    pauses = [told(OPEN, Call(NOW, waits=n), **HELD) for n in range(8)]
    grown = [0.25 * 1.5**n for n in range(6)]
    longest = USUAL.look_pause_max_seconds
    assert pauses == [Wait(s) for s in [*grown, longest, longest]]
    stop = told(OPEN, Call(NOW - 0.1), **HELD)
    assert isinstance(stop, Stop)
    assert isinstance(stop.error, RenderTimeoutError)
    assert "Another worker" in str(stop.error)


def test_the_deadline_itself_is_in_time() -> None:
    call = Call(NOW, begun=1, rounds=USUAL.submit_rounds - 2)
    assert told(RenderState("f"), call, False, False, False) == Reserve(1, in_doubt=False)
    assert after(call, "unmade", BUSY, now=NOW, spread=0.0)[1] == Wait(0.0)
    assert after(call, "lapsed", None, now=NOW, spread=0.0)[1] == Wait(0.0)
    assert after(replace(call, deadline=NOW + 0.5), "busy", BUSY, now=NOW, spread=0.0)[1] == Wait(
        0.5
    )


def test_an_attempt_that_was_passed_on_before_the_call_began_stops_it_not() -> None:
    state = RenderState("f", 2, RESERVED, failed=ENDS["passed on"], newest=2)
    steps = [told(state, Call(NOW, passed_on_after=n), False, True, False) for n in (1, 2, 3)]
    assert steps == [PassOn(), Reserve(3, in_doubt=False), Reserve(3, in_doubt=False)]


@pytest.mark.parametrize("how", ["busy", "unmade"])
def test_where_the_server_said_nothing_the_call_says_what_kept_it(how: How) -> None:
    late = Call(NOW - 1, owes=True)
    for call, error in ((late, RenderTimeoutError), (replace(late, slow_s=9.0), StorageError)):
        call, stop = after(call, how, None, now=NOW, spread=0.0)
        assert isinstance(stop, Stop)
        assert isinstance(stop.error, error)
        assert call.owes is False


def test_what_the_server_said_last_is_remembered() -> None:
    call, _ = after(Call(NOW + 9), "unmade", BUSY, now=NOW, spread=0.0)
    assert call.why is BUSY
    call = replace(call, lapses=USUAL.submit_rounds)
    call, stop = after(call, "lapsed", None, now=NOW, spread=0.0)
    assert stop == Stop(BUSY)


def test_what_ends_a_call_is_said_in_words() -> None:
    def lapsed(late: bool, slow_s: float) -> SoraError:
        call = Call(NOW - 1 if late else NOW + 1, slow_s=slow_s, lapses=USUAL.submit_rounds)
        _, stop = after(call, "lapsed", None, now=NOW, spread=0.0)
        assert isinstance(stop, Stop)
        assert isinstance(stop.error, SoraError)
        return stop.error

    collision = told(replace(OPEN, reserved=RESERVED.model_copy(update={"fingerprint": "b"})),
                     Call(NOW), **HELD)  # fmt: skip
    slow_s = USUAL.slow_store_seconds
    errors = [collision.error, lapsed(True, 0.0), lapsed(False, slow_s), lapsed(False, 0.0)]
    assert [(e.message, e.next_step, e.paid, e.key) for e in errors] == [
        (
            "Another request has the same key in this store, which is one chance in 10^14.",
            "Set take to another number.",
            "no",
            OPEN.key,
        ),
        (
            "The deadline passed before the create request could be sent.",
            "Nothing was sent this time. Run it again with the same scope, or give it more time.",
            "no",
            None,
        ),
        (
            f"The store is too slow: it took {slow_s:.1f} s for one step, and a create is "
            "sent only while its reservation is fresh.",
            "Run it again with more time, or with a faster store.",
            "no",
            None,
        ),
        (
            "This process was kept from sending the create request for too long.",
            "Run it again, with fewer renders at a time.",
            "no",
            None,
        ),
    ]
