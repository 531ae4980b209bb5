"""A stranger: whatever a server is like, and whatever stands before it, nothing is paid twice.

Each test is a character, or a gateway's manners, and what must come of it: the video is kept,
or a person is asked. `tests/support/stranger` says what there is.
"""

from typing import Any

import pytest

from prefect_sora.errors import SoraError, UncertainSubmitError
from prefect_sora.handles import StoredVideo
from prefect_sora.renders.finish.options import WaitOptions
from prefect_sora.renders.images.prepare import identify
from prefect_sora.renders.images.submit import draw
from prefect_sora.renders.recovery.sweep import sweep
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.requests.image import ImageRequest
from tests.support.renderer import until
from tests.support.renders import clip, left_in_doubt
from tests.support.stranger.character import Character, Manner
from tests.support.strangers import PATIENT, QUICK, Meet, Outcome

LOST = Manner()
"""The server has accepted a create, and the gateway hangs up."""

CLIP = clip(prompt="a  kite", model="sora-2", size="1280x720", seconds=4)
"""A model that renames, a size that is rounded, blanks that are trimmed have something to do."""

WORDS: list[dict[str, Any]] = [
    {"status": 500, "body": "text"},
    {"status": 502, "body": "empty"},
    {"status": 503, "body": "page"},
    {"status": 503, "body": "json"},
]


def kept_or_asked(outcome: Outcome) -> bool:
    """Whether it ended in a video, or in the question that only a person can answer."""
    return isinstance(outcome, (StoredVideo, UncertainSubmitError))


async def test_a_polite_stranger_is_paid_once_and_its_video_kept(meet: Meet) -> None:
    met = meet()
    videos = [await met.run() for _ in range(2)]
    assert all(isinstance(video, StoredVideo) for video in videos)
    await met.holds(paid=1)


@pytest.mark.parametrize("words", WORDS, ids=lambda words: f"{words['status']} {words['body']}")
async def test_a_gateways_own_error_is_no_word_of_the_server_which_accepts_it_later(
    meet: Meet, words: dict[str, Any]
) -> None:
    met = meet(profile=PATIENT)
    met.pair.behave(Manner(forwards="late", late_s=0.7, **words))
    assert isinstance(await met.run(), StoredVideo)
    await met.holds(paid=1)


@pytest.mark.parametrize(
    ("clock", "dates"),
    [
        ({"times": "milliseconds"}, "the server's"),
        ({"times": "zero"}, "the server's"),
        ({"times": "iso"}, "no"),
        ({"times": "local"}, "the server's"),
        ({"clock_s": 3600.0}, "the server's"),
        ({"clock_s": 3600.0}, "the gateway's"),
        ({"clock_s": -3600.0}, "no"),
    ],
    ids=lambda given: given if isinstance(given, str) else str(next(iter(given.values()))),
)
async def test_whatever_its_clock_a_lost_job_is_found_or_asked_for(
    meet: Meet, clock: dict[str, Any], dates: str
) -> None:
    met = meet(Character(**clock, dates=dates != "no"))
    met.pair.behave(LOST, dates=dates == "the gateway's")
    assert kept_or_asked(await met.run())
    await met.holds(paid=1)


@pytest.mark.parametrize(
    "shows",
    [
        {"hides": ("prompt",)},
        {"hides": ("created_at", "model", "size", "seconds")},
        {"prompts": "rewritten"},
        {"prompts": "trimmed", "sizes": "rounded"},
        {"models": "vendor", "lengths": "fraction"},
        {"models": "dated", "lengths": "number"},
    ],
    ids=lambda shows: " ".join(str(value) for value in shows.values()),
)
async def test_a_list_that_shows_jobs_otherwise_than_they_were_asked_for_is_no_licence_to_pay(
    meet: Meet, shows: dict[str, Any]
) -> None:
    met = meet(Character(**shows))
    met.pair.behave(LOST)
    assert kept_or_asked(await met.run(CLIP))
    await met.holds(paid=1)


@pytest.mark.parametrize(
    ("hidden", "arrived"),
    [("seconds", (True, True)), ("size", (False, True)), ("model", (False, True))],
    ids=["seconds, both accepted", "size, one accepted", "model, one accepted"],
)
async def test_of_two_lost_renders_that_differ_in_what_is_hidden_none_takes_the_others(
    meet: Meet, hidden: str, arrived: tuple[bool, bool]
) -> None:
    met = meet(Character(hides=(hidden,)))
    one = clip(model="this")
    two = one.model_copy(update={hidden: {"seconds": 2, "size": "96x96"}.get(hidden, "other")})
    await met.dead(one, accepted=arrived[0])
    await met.dead(two, accepted=arrived[1])
    outcomes = [await met.run(one), await met.run(two), await met.run(one)]
    assert all(map(kept_or_asked, outcomes))
    await met.holds()


async def test_two_lost_prompts_that_end_alike_are_told_apart(meet: Meet) -> None:
    met = meet()
    six, sixteen = clip(prompt="6 kites over the sea"), clip(prompt="16 kites over the sea")
    await met.dead(six, accepted=True)
    await met.dead(sixteen, accepted=True)
    outcomes = [await met.run(six), await met.run(sixteen)]
    assert all(isinstance(outcome, StoredVideo) for outcome in outcomes), outcomes
    await met.holds(paid=2)


async def test_a_lost_render_does_not_take_the_job_of_the_models_bigger_sister(meet: Meet) -> None:
    met = meet()
    pro = CLIP.model_copy(update={"model": "sora-2-pro"})
    await met.dead(pro, accepted=True)
    await met.dead(CLIP, accepted=False)
    outcomes = [await met.run(CLIP), await met.run(pro)]
    assert all(map(kept_or_asked, outcomes))
    await met.holds()


@pytest.mark.parametrize("kind", ["edit", "extend"])
async def test_of_two_lost_renders_made_from_other_videos_none_takes_the_others(
    meet: Meet, kind: str
) -> None:
    met = meet()
    sources = [await met.run(clip(prompt=f"source {n}")) for n in range(2)]
    one, two = (
        clip(prompt="it goes on", kind=kind, source_video_id=source.video_id, size=None)
        for source in sources
        if isinstance(source, StoredVideo)
    )
    await met.dead(one, accepted=False)
    await met.dead(two, accepted=True)
    outcomes = [await met.run(one), await met.run(two), await met.run(one)]
    assert all(map(kept_or_asked, outcomes))
    await met.holds()


async def test_another_accounts_list_is_no_proof_that_ours_was_not_accepted(meet: Meet) -> None:
    met = meet(Character(keys={"sk-alice": "alice", "sk-bob": "bob"}))
    alice, bob = met.client("sk-alice"), met.client("sk-bob")
    folder = await left_in_doubt(alice, met.ledger)
    met.pair.accept({"prompt": "a kite", "size": "64x64", "seconds": "1"}, "sk-alice")

    async def bobs(_: object) -> Any:
        return bob

    options = WaitOptions(timeout_seconds=5, poll_interval_seconds=0.05)
    (swept,) = await sweep(met.ledger, bobs, options)
    assert swept.outcome in ("in_doubt", "skipped")
    assert (await met.ledger.state(folder)).name == "reserved"
    assert isinstance(await met.run(key="sk-alice"), StoredVideo)
    await met.holds(paid=1)


async def test_what_a_server_may_have_forgotten_is_not_paid_again_without_a_person(
    meet: Meet,
) -> None:
    hour = 3600.0
    met = meet(Character(remembers_s=hour), QUICK.model_copy(update={"remembers_seconds": hour}))
    await met.dead(clip(), accepted=True, age_s=2 * hour)
    for _ in range(2):
        assert isinstance(await met.run(), UncertainSubmitError)
    await met.holds(paid=1)


async def test_replicas_that_do_not_know_each_others_jobs_lose_none(meet: Meet) -> None:
    met = meet(Character(replicas=3, shares_jobs=False, renders_s=0.3))
    assert isinstance(await met.run(), StoredVideo)
    await met.holds(paid=1)


async def test_replicas_that_list_only_their_own_jobs_prove_nothing(meet: Meet) -> None:
    met = meet(Character(replicas=3, shares_list=False))
    assert isinstance(await met.run(clip(prompt="a swan")), StoredVideo)
    await met.dead(clip(), accepted=True, age_s=120.0)
    assert kept_or_asked(await met.run())
    await met.holds(paid=2)


@pytest.mark.parametrize("header", ["Retry-After", "openai-poll-after-ms"])
async def test_one_poll_that_is_told_to_come_back_in_an_hour_ends_no_wait(
    meet: Meet, header: str
) -> None:
    met = meet(Character(renders_s=0.3))
    later = {header: "3600" if header == "Retry-After" else "3600000"}
    status = 429 if header == "Retry-After" else 0
    met.pair.behave(Manner(on="retrieve", status=status, headers=later))
    outcome = await met.run(timeout_seconds=2.0)
    assert isinstance(outcome, StoredVideo), outcome
    await met.holds(paid=1)


@pytest.mark.parametrize("cut", [0, 7])
async def test_a_download_that_fails_without_its_whole_reason_is_tried_again(
    meet: Meet, cut: int
) -> None:
    met = meet()
    met.pair.behave(Manner(on="content", status=503, cut=cut))
    outcome = await met.run()
    assert isinstance(outcome, StoredVideo), outcome
    await met.holds(paid=1)


async def test_a_create_that_is_told_to_come_back_in_an_hour_has_paid_nothing(meet: Meet) -> None:
    met = meet()
    met.pair.behave(Manner(forwards="never", status=429, headers={"Retry-After": "3600"}))
    outcome = await met.run(timeout_seconds=2.0)
    assert isinstance(outcome, SoraError)
    assert isinstance(await met.run(), StoredVideo)
    await met.holds(paid=1)


@pytest.mark.parametrize("words", WORDS[:2], ids=lambda w: f"{w['status']} {w['body']}")
async def test_a_picture_is_not_asked_for_again_on_a_gateways_word(
    meet: Meet, words: dict[str, Any]
) -> None:
    met = meet(profile=PATIENT)
    met.pair.behave(Manner(forwards="late", late_s=0.2, **words))
    request = ImageRequest.of(prompt="a lantern", model=None, size="64x64")
    for _ in range(2):
        client = met.client()
        prepared = await identify(request, client.server, "tonight")
        with pytest.raises(UncertainSubmitError):
            await draw(prepared, client, met.ledger, RenderOptions("tonight"))
    until(lambda: met.pair.truth(), "the gateway has passed it on")
    assert len(met.pair.paid("a lantern")) == 1
