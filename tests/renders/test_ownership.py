"""Ownership: whose a job is among all that may have made it, and what follows, as values."""

from dataclasses import replace
from typing import Any, Final

import pytest

from prefect_sora.renders.matching.match import Clock, Doubt
from prefect_sora.renders.matching.ownership import (
    Adopt,
    Asked,
    Nothing,
    Outcome,
    Person,
    Seen,
    Wait,
    are_twins,
    decide,
)
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.profiles import GENERIC
from prefect_sora.servers.protocol.video_object import Video, read_video
from prefect_sora.servers.server import Server
from tests.support.renders import clip

SENT: Final = 1_790_000_000.0
LATE: Final = SENT + 200
GRACE: Final = 5.0
DAY: Final = 86_400.0
SERVER: Final = Server(
    base_url="http://x/v1",
    identity="x",
    label="x",
    profile=GENERIC.model_copy(update={"submit_grace_s": GRACE}),
)
MINE: Final = Asked("mine", clip(), Doubt(SENT, SENT + 100))


def rival(key: str = "theirs", held: bool = False, **fields: Any) -> Asked:
    return Asked(key, clip(**fields), MINE.doubt, held=held)


def job(video_id: str = "v1", **changes: Any) -> Video:
    shown = {
        "id": video_id,
        "status": "queued",
        "prompt": "a kite",
        "size": "64x64",
        "seconds": "1",
        "created_at": SENT + 1,
    }
    video = read_video({**shown, **changes})
    assert video is not None
    return video


def seen(*jobs: Video, now: float = LATE, **changes: Any) -> Seen:
    known: dict[str, Any] = {"first_seen": {one.id: SENT for one in jobs}, **changes}
    return Seen(jobs=jobs, clock=Clock(now), latest=LATE, **known)


def told(*rivals: Asked, mine: Asked = MINE, **what: Any) -> Outcome:
    jobs = what.pop("jobs", ())
    return decide(mine, rivals, seen(*jobs, **what), SERVER)


def why(outcome: Outcome) -> str:
    assert isinstance(outcome, Person), outcome
    return outcome.why


def test_a_job_that_is_clearly_ours_is_adopted_however_early() -> None:
    assert told(jobs=[job()], now=SENT + 2, is_whole=False) == Adopt(job())


def test_of_two_that_are_ours_the_older_is_adopted() -> None:
    old, new = job("old"), job("new", created_at=SENT + 2)
    assert told(jobs=[new, old]) == Adopt(old)


def test_a_job_that_is_claimed_for_us_is_ours_whatever_it_shows() -> None:
    strange = job("v2", prompt="the sea", size="8x8")
    assert told(jobs=[job(), strange], holders={"v2": "mine"}) == Adopt(strange)


def test_a_job_that_another_holds_or_that_we_had_before_is_nobodys_to_take() -> None:
    assert told(jobs=[job()], holders={"v1": "theirs"}) == Nothing()
    assert told(jobs=[job()], known=frozenset({"v1"})) == Nothing()
    assert told(jobs=[job()], known=frozenset({"v1"}), holders={"v1": "mine"}) == Nothing()


def test_a_job_whose_holder_cannot_be_read_is_for_a_person() -> None:
    assert "v1" in why(told(jobs=[job()], torn=frozenset({"v1"})))


def test_nothing_on_a_whole_list_that_was_read_late_enough_was_accepted() -> None:
    assert told() == Nothing()
    assert told(now=LATE - 1) == Wait()
    assert told(jobs=[job(prompt="the sea", size="8x8")]) == Nothing()


@pytest.mark.parametrize(
    "theirs",
    [
        {"extra": {"seed": 1}},
        {"characters": ("bob",)},
        {"model": "sora-2", "allow_unlisted": True},
        {"prompt": "A KITE"},
        {"prompt": "a kite, cinematic"},
        {"prompt": "a"},
        {"size": "64x80"},
        {"seconds": 2},
    ],
)
def test_what_two_may_have_made_is_for_a_person(theirs: dict[str, Any]) -> None:
    said = why(told(rival(**theirs), jobs=[job()]))
    assert "v1" in said
    assert "render theirs" in said


@pytest.mark.parametrize("theirs", [{"prompt": "a dog"}, {"prompt": "a kite over the sea 2"}])
def test_one_with_other_words_is_no_rival(theirs: dict[str, Any]) -> None:
    beside = rival(**theirs)
    mine = replace(MINE, request=clip(prompt="a kite over the sea 1"))
    shown = job(prompt="a kite over the sea 1")
    assert told(beside, mine=mine, jobs=[shown]) == Adopt(shown)


def test_a_job_with_a_rivals_own_words_is_not_ours() -> None:
    shown = job(prompt="the sea")
    assert why(told(jobs=[shown])) == why(told(rival(prompt="the sky"), jobs=[shown]))
    assert told(rival(prompt="the sea"), jobs=[shown]) == Nothing()


def test_a_rivals_words_that_may_have_been_ours_are_for_a_person() -> None:
    shown = job(prompt="a kite, cinematic")
    assert "v1" in why(told(rival(prompt="a kite, cinematic"), jobs=[shown]))


def test_a_rival_whose_record_cannot_be_read_may_have_asked_for_anything_that_begins_so() -> None:
    torn = Asked("torn", None, Doubt(0.0, LATE), slug="a-kite")
    assert "render torn" in why(told(torn, jobs=[job()]))
    assert told(replace(torn, slug="the-sea"), jobs=[job()]) == Adopt(job())
    silent = job(prompt=None)
    assert "v1" in why(told(torn, jobs=[silent]))


def test_a_live_rival_is_waited_for_and_not_for_ever() -> None:
    live = rival(held=True, extra={"seed": 1})
    assert told(live, jobs=[job()]) == Wait()
    assert "render theirs" in why(told(live, jobs=[job()], can_wait=False))
    # Also where it may be about to claim what may be ours.
    assert told(live, jobs=[job(prompt=None)]) == Wait()
    assert "v1" in why(told(live, jobs=[job(prompt=None)], can_wait=False))


def test_a_live_one_that_cannot_have_made_it_is_not_waited_for() -> None:
    assert "v1" in why(told(rival(held=True, prompt="the sea"), jobs=[job(size="8x8")]))


def test_one_that_is_not_contested_is_taken_though_another_is() -> None:
    with_source = job("own", remixed_from_video_id="clip_a", created_at=SENT + 5)
    without = job("either")
    mine = replace(MINE, request=edit("clip_a"))
    theirs = Asked("theirs", edit("clip_b"), MINE.doubt)
    assert told(theirs, mine=mine, jobs=[without, with_source]) == Adopt(with_source)


def edit(source: str) -> VideoRequest:
    return VideoRequest.model_validate(
        {"prompt": "a kite", "kind": "edit", "source_video_id": source}
    )


def test_a_job_that_shows_a_rivals_source_is_not_ours() -> None:
    mine, theirs = (Asked(k, edit(f"clip_{k}"), MINE.doubt) for k in ("mine", "theirs"))
    shown = job(remixed_from_video_id="clip_theirs")
    assert told(theirs, mine=mine, jobs=[shown]) == Nothing()
    assert "v1" in why(told(mine=mine, jobs=[shown]))
    assert told(theirs, mine=mine, jobs=[job(remixed_from_video_id="clip_mine")]) == Adopt(
        job(remixed_from_video_id="clip_mine")
    )


def test_a_rival_of_another_shape_is_none_where_its_shape_is_shown_as_it_was_asked_for() -> None:
    wide = rival(size="128x64")
    its_own = job("v2", size="128x64")
    assert told(wide, jobs=[job(), its_own]) == Adopt(job())
    assert "render theirs" in why(told(wide, jobs=[job(), job("v2", size="128x48")]))
    assert "render theirs" in why(told(wide, jobs=[job(size=None), its_own]))
    improved = rival(size="128x64", prompt="a kite, cinematic")  # and none is shown with its words
    assert "render theirs" in why(told(improved, jobs=[job()]))
    of_another_prompt = job("v2", size="128x64", prompt="the sea")
    assert "render theirs" in why(told(wide, jobs=[job(), of_another_prompt]))


def test_a_rival_of_long_ago_is_none_for_what_was_made_when_ours_was_sent() -> None:
    old = replace(rival(extra={"seed": 1}), doubt=Doubt(SENT - 3 * DAY, SENT - 3 * DAY + 100))
    assert told(old, jobs=[job()]) == Adopt(job())
    yesterday = replace(old, doubt=Doubt(SENT - DAY, SENT - DAY + 100))
    assert "render theirs" in why(told(yesterday, jobs=[job()]))
    # A job of then is not ours to take, nor to pay for.
    assert "v1" in why(told(old, jobs=[job(created_at=SENT - 3 * DAY)]))


def test_what_may_be_ours_is_given_time_to_be_claimed() -> None:
    shown = job(prompt=None)
    at_rest, fresh = {"v1": LATE - GRACE}, {"v1": LATE - GRACE + 0.1}
    assert "v1" in why(told(jobs=[shown], first_seen=at_rest))
    assert told(jobs=[shown], first_seen=fresh) == Wait()
    assert told(jobs=[shown], now=LATE - 1) == Wait()


def test_at_most_five_are_named() -> None:
    said = why(told(jobs=[job(f"v{n}", prompt=None, created_at=SENT + n) for n in range(6)]))
    assert "v0, v1, v2, v3, v4." in said


def test_that_nothing_is_there_is_said_after_three_late_looks() -> None:
    assert [told(late_looks=n) for n in (1, 2, 3, 4)] == [Wait(), Wait(), Nothing(), Nothing()]


def test_a_request_that_cannot_be_read_is_for_a_person() -> None:
    assert "cannot be read" in why(told(mine=replace(MINE, request=None), jobs=[job()]))


def test_what_a_person_is_told_says_why() -> None:
    old = replace(MINE, doubt=Doubt(LATE - 2 * DAY, LATE - 2 * DAY + 100))
    assert [
        why(told(rival(extra={"seed": 1}), jobs=[job()])),
        why(told(jobs=[job(prompt=None)])),
        why(told(is_whole=False, can_read_again=False)),
        why(told(missing=frozenset({"v1"}), can_read_again=False)),
        why(told(same_account=False)),
        why(told(mine=old)),
        why(told(mine=replace(MINE, request=None))),
    ] == [
        "Video v1 may be its job, or that of render theirs of this store, whose answer is missing, "
        "too: what the server shows does not tell them apart.",
        "What the server says of its jobs does not decide it; it may be one of v1.",
        "The server's list of jobs cannot be read whole.",
        "The server's list is not whole: it lacks v1, which this server has accepted. "
        "Another of its replicas, or another account, may know the job.",
        "It was sent with another key than the one that asks now, and an account's list shows no "
        "other account's jobs.",
        "It is not on the server's list, which may have forgotten it: a job is known to stay there "
        "for 24 hours, and it was sent longer ago.",
        "The record of what was asked for cannot be read.",
    ]


def test_a_list_that_is_not_whole_is_read_again_and_then_proves_nothing() -> None:
    assert told(is_whole=False) == Wait()
    assert "cannot be read whole" in why(told(is_whole=False, can_read_again=False))
    lacks = frozenset({"v4", "v3", "v2", "v1"})
    assert told(missing=lacks) == Wait()
    assert "lacks v1, v2, v3, which" in why(told(missing=lacks, can_read_again=False))


def test_another_accounts_list_proves_nothing() -> None:
    assert "another key" in why(told(same_account=False))
    assert told(same_account=True) == Nothing()
    assert told(jobs=[job()], same_account=False) == Adopt(job())


@pytest.mark.parametrize(("age_s", "forgotten"), [(DAY, False), (DAY + 1, True)])
def test_a_list_proves_nothing_of_what_it_may_have_forgotten(age_s: float, forgotten: bool) -> None:
    old = replace(MINE, doubt=Doubt(LATE - age_s, LATE - age_s + 100))
    outcome = told(mine=old)
    assert isinstance(outcome, Person) is forgotten
    if forgotten:
        assert "for 24 hours" in why(outcome)
    durable = replace(SERVER, profile=SERVER.profile.model_copy(update={"remembers_seconds": None}))
    assert decide(old, [], seen(), durable) == Nothing()


@pytest.mark.parametrize(
    ("changes", "picture", "twins"),
    [
        ({}, None, True),
        ({"take": 2, "allow_unlisted": True}, None, True),
        ({"fit": "contain"}, None, True),
        ({"fit": "contain"}, "red", False),
        ({"extra": {"seed": 1}}, None, False),
        ({"prompt": "a kite!"}, None, False),
    ],
)
def test_twins_ask_for_the_same_video(
    changes: dict[str, Any], picture: str | None, twins: bool
) -> None:
    one = replace(MINE, reference_sha256=picture)
    other = replace(one, key="theirs", request=clip(**changes))
    assert are_twins(one, other) is are_twins(other, one) is twins
    assert (told(other, mine=one, jobs=[job()]) == Adopt(job())) is twins


def test_no_picture_is_anothers_twin_and_nothing_that_cannot_be_read() -> None:
    red, blue = (replace(MINE, reference_sha256=colour) for colour in ("red", "blue"))
    assert are_twins(red, red)
    assert not are_twins(red, blue)
    assert not are_twins(red, MINE)
    assert not are_twins(replace(MINE, request=None), replace(MINE, request=None))
