"""Matching: whether one listed job can be that of one request, from plain values."""

from typing import Any, Final

import pytest

from prefect_sora.limits import Limits
from prefect_sora.renders.matching.match import (
    WORST_CLOCK_SECONDS,
    Clock,
    Doubt,
    are_akin,
    has_same_shape,
    is_alike,
    is_far,
    is_in_time,
    is_past,
    is_shape_shown,
    judge,
    words,
)
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.profiles import GENERIC, OPENAI, SGLANG, Profile
from prefect_sora.servers.protocol.video_object import Video, read_video
from prefect_sora.servers.server import Server
from tests.support.renders import clip

SENT: Final = 1_790_000_000.0
DOUBT: Final = Doubt(SENT, SENT + 100)
CLOCK: Final = Clock(SENT + 200)
HOUR: Final = 3600.0
SLACK_SECONDS: Final = Limits().clock_slack_seconds

KITE: Final = clip(model="sora-2", size="1280x720", seconds=4)
AS_ASKED: Final[dict[str, Any]] = {
    "prompt": "a kite",
    "model": "sora-2",
    "size": "1280x720",
    "seconds": "4",
    "created_at": SENT + 1,
}


def job(**changes: Any) -> Video:
    video = read_video({"id": "video_1", "status": "queued", **AS_ASKED, **changes})
    assert video is not None
    return video


def at(profile: Profile = GENERIC, **changes: Any) -> Server:
    return Server(base_url="http://x/v1", identity="x", label="x", profile=profile, **changes)


def edit(**fields: Any) -> VideoRequest:
    return VideoRequest.model_validate(
        {"prompt": "a kite", "kind": "edit", "source_video_id": "clip_a", **fields}
    )


@pytest.mark.parametrize(
    ("changes", "generic", "verbatim"),
    [
        ({}, "ours", "ours"),
        ({"model": None, "size": None, "seconds": None}, "ours", "ours"),
        ({"seconds": 4.0}, "ours", "ours"),
        ({"prompt": "a  kite\n"}, "ours", "ours"),
        ({"status": "completed"}, "ours", "ours"),
        ({"status": "deleted"}, "perhaps", "perhaps"),
        ({"prompt": None}, "perhaps", "perhaps"),
        ({"prompt": None, "size": "64x64"}, "perhaps", "perhaps"),
        ({"model": "sora-2-pro"}, "perhaps", "perhaps"),
        ({"size": "1280x704"}, "perhaps", "perhaps"),
        ({"seconds": "5"}, "perhaps", "perhaps"),
        ({"seconds": "soon"}, "perhaps", "perhaps"),
        ({"created_at": None}, "perhaps", "perhaps"),
        ({"created_at": SENT - 8 * HOUR}, "perhaps", "perhaps"),
        ({"created_at": SENT - 900 * HOUR}, "perhaps", "perhaps"),
        ({"prompt": "a kite, cinematic"}, "perhaps", "another"),
        ({"prompt": "a kite, cinematic", "size": "64x64"}, "perhaps", "another"),
        ({"prompt": "ein Drachen"}, "perhaps", "another"),
        ({"prompt": "ein Drachen", "model": "wan"}, "perhaps", "another"),
        ({"prompt": "ein Drachen", "size": "64x64"}, "another", "another"),
        ({"prompt": "ein Drachen", "seconds": "5"}, "another", "another"),
        ({"prompt": "ein Drachen", "created_at": SENT - 900 * HOUR}, "another", "another"),
        ({"prompt": None, "created_at": SENT - 900 * HOUR}, "another", "another"),
        ({"prompt": None, "created_at": SENT - 8 * HOUR}, "perhaps", "perhaps"),
        ({"prompt": None, "created_at": SENT + 900 * HOUR}, "perhaps", "perhaps"),
        ({"remixed_from_video_id": "clip_a"}, "another", "another"),
    ],
)
def test_a_job_is_ours_perhaps_or_anothers(
    changes: dict[str, Any], generic: str, verbatim: str
) -> None:
    said = [judge(job(**changes), KITE, at(p), DOUBT, CLOCK) for p in (GENERIC, OPENAI)]
    assert said == [generic, verbatim]


@pytest.mark.parametrize(
    ("changes", "generic", "verbatim"),
    [
        ({"remixed_from_video_id": "clip_a"}, "ours", "ours"),
        ({"remixed_from_video_id": None}, "ours", "ours"),
        ({"remixed_from_video_id": "clip_b"}, "perhaps", "another"),
        ({"prompt": "ein Drachen", "size": "64x64"}, "perhaps", "another"),
    ],
)
def test_what_starts_from_a_video_has_that_ones_size_length_and_model(
    changes: dict[str, Any], generic: str, verbatim: str
) -> None:
    shown = job(**{"size": "8x8", "seconds": "99", "model": "x", **changes})
    said = [judge(shown, edit(), at(p), DOUBT, CLOCK) for p in (GENERIC, OPENAI)]
    assert said == [generic, verbatim]


@pytest.mark.parametrize(
    ("asked", "deployment", "shown", "alike"),
    [
        ("sora-2", None, "sora-2", True),
        ("sora-2", None, "sora-2-2025-10-06", True),
        ("sora-2-2025-10-06", None, "sora-2", True),
        ("sora-2-2025-10-06", None, "sora-2-2025-12-08", False),
        ("sora-2", None, "sora-2-pro", False),
        ("sora-2-pro", None, "sora-2", False),
        ("sora-2", None, "sora", False),
        ("sora-2", None, None, True),
        (None, None, "anything", True),
        ("sora-2", "my-videos", "my-videos", True),
        ("sora-2", "my-videos", "sora-2-2025-10-06", True),
        ("sora-2", "my-videos", "sora-2-pro", False),
        (None, "my-videos", "others", False),
    ],
)
def test_models_are_alike_but_for_a_date(
    asked: str | None, deployment: str | None, shown: str | None, alike: bool
) -> None:
    request = clip(model=asked, size="1280x720", seconds=4)
    server = at(deployment=deployment)
    assert is_alike(job(model=shown), request, server) is alike


def test_a_server_with_a_model_of_its_own_is_not_held_to_soras_name() -> None:
    assert is_alike(job(model="Wan-AI/Wan2.2"), KITE, at(SGLANG))
    assert not is_alike(job(model="Wan-AI/Wan2.2", size="8x8"), KITE, at(SGLANG))


def test_a_shape_is_shown_where_both_size_and_length_are() -> None:
    assert is_shape_shown(job(), KITE)
    assert not is_shape_shown(job(size=None), KITE)
    assert not is_shape_shown(job(seconds=None), KITE)
    assert not is_shape_shown(job(size="8x8"), KITE)
    assert not is_shape_shown(job(), edit())
    assert has_same_shape(job(size=None, seconds=None), KITE)


@pytest.mark.parametrize("ahead_s", [None, 0.0, 300.0, -300.0])
@pytest.mark.parametrize(
    ("off_s", "in_time"),
    [
        (-SLACK_SECONDS, True),
        (-SLACK_SECONDS - 1, False),
        (0.0, True),
        (100 + SLACK_SECONDS, True),
        (100 + SLACK_SECONDS + 1, False),
    ],
)
def test_a_time_is_read_by_the_answers_date(
    ahead_s: float | None, off_s: float, in_time: bool
) -> None:
    shown = job(created_at=SENT + off_s + (ahead_s or 0.0))
    assert is_in_time(shown, DOUBT, Clock(SENT, ahead_s)) is in_time


@pytest.mark.parametrize("years_off", [-30, 30])
def test_a_date_that_no_clock_shows_is_not_read_by(years_off: int) -> None:
    clock = Clock(SENT, years_off * 365 * 86400.0)
    assert is_in_time(job(), DOUBT, clock)
    assert clock.readings(SENT) == [SENT, SENT]


@pytest.mark.parametrize("ahead_s", [WORST_CLOCK_SECONDS, -WORST_CLOCK_SECONDS])
def test_a_date_that_some_clock_shows_is_read_by(ahead_s: float) -> None:
    shown = job(created_at=SENT + ahead_s)
    assert is_in_time(shown, DOUBT, Clock(SENT + 200, ahead_s))


@pytest.mark.parametrize(
    ("off_s", "far"),
    [
        (-WORST_CLOCK_SECONDS, False),
        (-WORST_CLOCK_SECONDS - 1, True),
        (100 + WORST_CLOCK_SECONDS, False),
        (100 + WORST_CLOCK_SECONDS + 1, True),
        (0.0, False),
    ],
)
def test_far_is_what_no_clock_of_the_earth_shows(off_s: float, far: bool) -> None:
    later = Clock(SENT + 10 * WORST_CLOCK_SECONDS)
    assert is_far(job(created_at=SENT + off_s), DOUBT, later) is far
    # By one of the two readings it would be near.
    a_gateways = Clock(later.now, ahead_s=-HOUR if off_s > 0 else HOUR)
    assert is_far(job(created_at=SENT + off_s), DOUBT, a_gateways) is far
    assert not is_far(job(created_at=None), DOUBT, later)


def test_a_time_that_is_still_to_come_is_none() -> None:
    soon, never = SENT + WORST_CLOCK_SECONDS, SENT + WORST_CLOCK_SECONDS + 1
    assert Clock(SENT).readings(soon) == [soon, soon]
    assert Clock(SENT).readings(never) == []
    assert Clock(SENT, ahead_s=1.0).readings(never) == [soon, never]
    assert Clock(SENT).readings(None) == []


def test_what_lies_before_the_doubt_by_every_reading_is_past() -> None:
    old = SENT - HOUR
    assert is_past(job(created_at=old - 1), DOUBT, CLOCK, HOUR)
    assert not is_past(job(created_at=old), DOUBT, CLOCK, HOUR)
    assert not is_past(job(created_at=old - 1), DOUBT, Clock(SENT, ahead_s=-2.0), HOUR)
    assert not is_past(job(created_at=old + 1), DOUBT, Clock(SENT, ahead_s=99.0), HOUR)
    assert not is_past(job(created_at=None), DOUBT, CLOCK, HOUR)
    set_back = Doubt(SENT + HOUR, SENT)  # our clock, between the reservation and now
    assert not is_past(job(created_at=old), set_back, CLOCK, HOUR)
    assert is_past(job(created_at=old - 1), set_back, CLOCK, HOUR)


@pytest.mark.parametrize(
    ("at_s", "distance_s"), [(-7.0, 7.0), (0.0, 0.0), (50.0, 0.0), (100.0, 0.0), (108.0, 8.0)]
)
def test_a_distance_is_from_the_nearer_end_also_where_a_clock_was_set_back(
    at_s: float, distance_s: float
) -> None:
    assert DOUBT.distance_s(SENT + at_s) == distance_s
    assert Doubt(DOUBT.until, DOUBT.since).distance_s(SENT + at_s) == distance_s


@pytest.mark.parametrize(
    ("one", "other", "akin"),
    [
        ("a kite", "A kite, cinematic, 8k", True),
        ("a kite", "A KITE!", True),
        ("a red kite", "the red of a kite in flight", True),
        ("red kite", "kite, red", True),
        ("a red kite", "a blue kite", False),
        ("shot 1 of a kite", "shot 2 of a kite", False),
        ("风筝", "一只红色的风筝", True),
        ("6只风筝", "16只风筝", False),
        ("6 kites", "16 kites", False),
        ("a kite", "two kites", False),
        ("kite 1", "kite 12, and another kite 1", True),
        ("the sea", "a kite", False),
        ("shot 1", "shot 12", False),
        ("a kit", "a kite", False),
        ("ite sky", "kite sky", False),
        ("风筝1", "风筝12", False),
        ("风筝1", "红风筝1号", True),
        ("!!", "a kite", True),
    ],
)
def test_prompts_are_akin_where_one_holds_all_words_of_the_other(
    one: str, other: str, akin: bool
) -> None:
    assert are_akin(one, other) is akin
    assert are_akin(other, one) is akin


def test_one_letter_written_in_two_ways_is_one_letter() -> None:
    assert (
        words("cafe\u0301  au\tlait") == words("caf\u00e9 au lait") == ("caf\u00e9", "au", "lait")
    )
