"""Worlds: whatever a server shows, nothing is taken that was not made, and none is paid twice.

`OWNERSHIP_EXAMPLES=100000 python -m pytest tests/renders/test_ownership_worlds.py --timeout 0`
takes as many worlds.
"""

import os
from dataclasses import replace
from random import Random
from typing import Final

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from prefect_sora.renders.matching.match import WORST_CLOCK_SECONDS, Clock, Doubt, is_past
from prefect_sora.renders.matching.ownership import (
    Adopt,
    Asked,
    Nothing,
    Outcome,
    are_twins,
    decide,
)
from prefect_sora.requests.video import VideoRequest
from tests.support.renders import clip
from tests.support.worlds import DAY, HOUR, NOW, Maker, Shows, World, makers, shows, worlds

EXAMPLES: Final = int(os.environ.get("OWNERSHIP_EXAMPLES", "200"))
MANY: Final = settings(
    max_examples=EXAMPLES,
    deadline=None,  # what else the machine does is no defect
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def outcome_of(world: World, mine: Asked, can_wait: bool = False) -> Outcome:
    rivals = [asked for asked in world.in_doubt if asked.key != mine.key]
    return decide(mine, rivals, world.seen(can_wait), world.server)


def shows_what_was_asked(world: World, video_id: str, request: VideoRequest) -> bool:
    """Whether another store's job shows all that it shows just as this one was asked for."""
    (job,) = (job for job in world.jobs if job.id == video_id)
    asked = {"size": request.size, "seconds": f"{request.seconds}"}
    shown = {"size": job.size, "seconds": job.seconds}
    if request.kind != "create":  # it names neither
        shown = {}
    return (
        (job.prompt or "").split() == request.prompt.split()
        and job.remixed_from_video_id in (None, request.source_video_id)
        and all(value in (None, asked[name]) for name, value in shown.items())
        and (
            None in (job.model, request.model)
            or (job.model or "").startswith(request.model or "")
            or (request.model or "").startswith(job.model or "")
        )
        and (job.model, request.model) not in (("sora-2-pro", "sora-2"), ("sora-2", "sora-2-pro"))
    )


def check(world: World, mine: Asked, outcome: Outcome) -> None:
    """Hold one outcome against the truth."""
    event(type(outcome).__name__)
    held = set(world.seen(False).holders)
    own = world.family(mine) - held
    if isinstance(outcome, Adopt):
        taken = outcome.job.id
        assert taken not in held
        if taken not in own:
            assert mine.request is not None
            assert taken.startswith("stranger"), "it is that of another request of this store"
            assert shows_what_was_asked(world, taken, mine.request)
    if isinstance(outcome, Nothing):
        assert f"video_of_{mine.key}" not in own, "its own job is there and is free"
        assert world.proves_absence
        if world.remembers_seconds is not None:
            assert mine.doubt.since >= NOW - world.remembers_seconds


@MANY
@given(worlds(), st.booleans())
def test_no_outcome_is_against_the_truth(world: World, can_wait: bool) -> None:
    for asked in world.in_doubt:
        check(world, asked, outcome_of(world, asked, can_wait))


@MANY
@given(worlds(), st.randoms(use_true_random=False))
def test_in_whatever_order_all_are_settled_none_is_paid_for_beyond_what_was_lost(
    world: World, chance: Random
) -> None:
    turns = world.in_doubt
    chance.shuffle(turns)
    paid_again: list[Asked] = []
    for mine in turns:
        outcome = outcome_of(world, mine)
        check(world, mine, outcome)
        if isinstance(outcome, Adopt):
            world = replace(world, claims={**world.claims, outcome.job.id: mine.key})
        if isinstance(outcome, Nothing):
            paid_again.append(mine)
        if isinstance(outcome, (Adopt, Nothing)):
            world = replace(world, settled=world.settled | {mine.key})
    for mine in paid_again:
        family = {a.key for a in turns if a.key == mine.key or are_twins(a, mine)}
        lost = [m for m in world.makers if m.asked.key in family and m.made_at is None]
        foreign = [v for v, k in world.claims.items() if k in family and v.startswith("stranger")]
        assert len([a for a in paid_again if a.key in family]) <= len(lost) + len(foreign)


PLAIN = st.builds(
    Shows,
    hides=st.frozensets(st.sampled_from(["model", "size", "seconds"]), max_size=3),
    clock_s=st.sampled_from([0.0, 30.0, -30.0]),
    date_s=st.sampled_from([None, 0.0]),
    units=st.sampled_from(["seconds", "milliseconds"]),
)


@MANY
@given(
    PLAIN,
    st.lists(st.tuples(st.sampled_from(["a dog", "the sea", "rain 1", "rain 2"]), st.booleans())),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_where_nothing_is_odd_nobody_has_to_decide(
    told: Shows, shots: list[tuple[str, bool]], verbatim: bool, chance: Random
) -> None:
    """Shots of other words, and takes of the same, left by a dead worker: each finds its own."""
    asked = [
        Asked(f"r{n}", clip(prompt=prompt, take=n + 1), Doubt(NOW - 60, NOW - 30))
        for n, (prompt, _) in enumerate(shots)
    ]
    made = [NOW - 50 if accepted else None for _, accepted in shots]
    makers = tuple(Maker(a, at) for a, at in zip(asked, made, strict=True))
    world = World(told, makers, verbatim=verbatim, remembers_seconds=DAY)
    chance.shuffle(asked)
    outcomes = []
    for mine in asked:
        outcome = outcome_of(world, mine)
        check(world, mine, outcome)
        outcomes.append(outcome)
        if isinstance(outcome, Adopt):
            world = replace(world, claims={**world.claims, outcome.job.id: mine.key})
        world = replace(world, settled=world.settled | {mine.key})
    assert sum(isinstance(one, Adopt) for one in outcomes) == sum(at is not None for at in made)
    assert sum(isinstance(one, Nothing) for one in outcomes) == made.count(None)


@MANY
@given(makers("mine", clip(), 20 * HOUR), shows(), st.sampled_from([-HOUR, 0.0, HOUR]))
def test_no_page_is_left_unread_that_may_hold_the_job(
    maker: Maker, told: Shows, stepped_s: float
) -> None:
    request, doubt = maker.asked.request, maker.asked.doubt
    assert request is not None
    if maker.made_at is not None:
        job = told.job("v", request, maker.made_at + stepped_s)
        clock = Clock(NOW, told.date_s)
        assert not is_past(job, doubt, clock, WORST_CLOCK_SECONDS)
