"""The live catalogue: what a server says of its models counts before anything is sent.

It is read with suspicion, and its absence is no failure.
"""

import asyncio
import gzip
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from threading import Event
from time import monotonic
from typing import Any

import pytest
from pydantic import SecretStr

from prefect_sora.errors import BudgetExceededError, InvalidRequestError
from prefect_sora.limits import limited
from prefect_sora.renders.batches.plan import plan
from prefect_sora.renders.submit.options import Budget, RenderOptions
from prefect_sora.renders.submit.prepare import identify
from prefect_sora.renders.submit.submit import submit
from prefect_sora.requests.table import rows_of
from prefect_sora.servers.costs.catalogue import check, known, read_catalogue, remember, wanted_of
from prefect_sora.servers.costs.pricing_keys import Wanted, usd_of
from prefect_sora.servers.estimates import price
from prefect_sora.servers.profiles import OPENROUTER
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.detect import recognised
from prefect_sora.servers.protocol.listing import learn_catalogue
from prefect_sora.servers.server import remote
from prefect_sora.store.ledger import Ledger
from tests.support.renderer import Renderer, SpeakDialect
from tests.support.renders import clip, go
from tests.support.scripted import Reply, Scripted

HD = Wanted("1280x720", 4)


@pytest.mark.parametrize(
    ("keys", "wanted", "usd"),
    [
        ({"duration_seconds": "0.08"}, HD, 0.32),
        ({"duration_seconds": "0.08", "duration_seconds_480p": "0.05"}, HD, 0.32),
        ({"duration_seconds": "0.08", "duration_seconds_720p": "0.1"}, HD, 0.4),
        ({"duration_seconds_4k": "0.6"}, Wanted("3840x2160", 5), 3.0),
        ({"cents_per_second_output": "12"}, HD, 0.48),
        ({"cents_per_video_output_second_720p": "3", "cents_per_image_input": "1"}, HD, 0.12),
        (
            {"cents_per_video_output_second_720p": "3", "cents_per_image_input": "1"},
            Wanted("1280x720", 4, pictures=1),
            0.13,
        ),
        (
            {
                "text_to_video_duration_seconds_720p": "0.1",
                "image_to_video_duration_seconds": "0.2",
            },
            Wanted("1280x720", 4, pictures=1),
            0.8,
        ),
        ({"video_tokens": "0.0000024"}, HD, 0.20736),
        ({"cents_per_second_output": "1", "minimum_cents_per_generation": "25"}, HD, 0.25),
        ({"duration_seconds": 0}, HD, 0.0),
    ],
    ids=str,
)
def test_a_clip_is_priced_by_the_keys_in_their_units(
    keys: dict[str, Any], wanted: Wanted, usd: float
) -> None:
    assert usd_of(keys, wanted) == (usd, None)


def test_sound_that_nobody_names_has_the_dearer_price() -> None:
    keys = {"duration_seconds_with_audio": "0.4", "duration_seconds_without_audio": "0.2"}
    told = {sound: usd_of(keys, Wanted("1280x720", 1, sound=sound))[0] for sound in (True, False)}
    assert told == {True: 0.4, False: 0.2}
    assert usd_of(keys, Wanted("1280x720", 1))[0] == 0.4


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"duration_seconds": "0.1", "per_megapixel": "1"}, "'per_megapixel', which is not known"),
        ({"duration_seconds_480p": "0.1"}, "no price for 1280x720"),
        ({"duration_seconds": "NaN"}, "no amount from 0 up"),
        ({"duration_seconds": "-0.1"}, "no amount from 0 up"),
        ({"duration_seconds": None}, "no amount from 0 up"),
        ({"duration_seconds": "1e400"}, "no amount from 0 up"),
        ({"duration_seconds": "4000"}, "more than any clip costs"),
        ({"duration_seconds": "0.1", "video_tokens": "0.1"}, "both by seconds and by tokens"),
    ],
    ids=str,
)
def test_what_is_not_sure_has_no_price_and_says_why(keys: dict[str, Any], why: str) -> None:
    usd, said = usd_of(keys, HD)
    assert usd is None
    assert why in str(said)


def test_what_else_it_starts_from_is_part_of_the_price() -> None:
    first = {"type": "image_url", "image_url": {"url": "https://x/1.png"}}
    video = {"type": "video_url", "video_url": {"url": "https://x/1.mp4"}}
    two = wanted_of(clip(reference=b"png", extra={"frame_images": [first]}))
    assert (two.pictures, two.more_inputs) == (2, False)
    other = wanted_of(clip(extra={"input_references": [first, video]}))
    assert usd_of({"duration_seconds": "0.1"}, other)[0] is None


@pytest.fixture
def openrouter(speak: SpeakDialect) -> Renderer:
    return speak("openrouter")


@pytest.fixture
async def client(openrouter: Renderer) -> AsyncIterator[VideoClient]:
    server = await recognised(remote(openrouter.base_url, profile=OPENROUTER))
    client = VideoClient(server)
    yield client
    await client.close()


LITE: dict[str, Any] = {"model": "local/kite-lite", "size": "640x360", "seconds": 2}


@pytest.mark.parametrize(
    ("fields", "said", "next_step"),
    [
        (
            {"model": "local/kite-light"},
            "has no video model 'local/kite-light'",
            "local/kite-lite?",
        ),
        ({"model": "acme/kite-lite"}, "has no video model", "Did you mean local/kite-lite?"),
        ({"model": "kite-lite"}, "no video model 'kite-lite'", "Did you mean local/kite-lite?"),
        ({"seconds": 3}, "local/kite-lite renders 2 or 4 seconds, not 3", "allow_unlisted"),
        (
            {"size": "64x64"},
            "or 720p in 16:9, 9:16, not 64x64",
            "allow_unlisted",
        ),
        ({"reference": b"png"}, "takes no picture, not first_frame", "allow_unlisted"),
        ({"extra": {"seed": 7}}, "takes no seed", "allow_unlisted"),
        ({"extra": {"generate_audio": True}}, "makes no sound", "allow_unlisted"),
    ],
    ids=str,
)
async def test_what_the_catalogue_lacks_is_refused_and_nothing_is_sent(
    client: VideoClient,
    disk: Ledger,
    openrouter: Renderer,
    fields: dict[str, Any],
    said: str,
    next_step: str,
) -> None:
    asked = clip(**{**LITE, **fields})
    with pytest.raises(InvalidRequestError) as caught:
        check(asked, client.server.label, client.server.base_url)
    assert said in caught.value.message
    assert next_step in str(caught.value.next_step)
    assert caught.value.paid == "no"
    if "reference" not in fields:
        with pytest.raises(InvalidRequestError, match=re.escape(said)):
            await go(client, disk, asked)
    unlisted = asked.model_copy(update={"allow_unlisted": True})
    check(unlisted, client.server.label, client.server.base_url)
    assert openrouter.accepted() == 0
    assert await disk.folders() == []


async def test_what_was_accepted_is_found_though_its_model_is_gone(
    client: VideoClient, disk: Ledger, openrouter: Renderer
) -> None:
    prepared, tonight = await identify(clip(**LITE), client, "tonight"), RenderOptions("tonight")
    job = await submit(prepared, client, disk, tonight)
    later = read_catalogue({"data": [{"id": "local/other"}]})
    before = known(client.server.base_url)
    assert later
    assert before
    try:
        remember(client.server.base_url, later)
        assert await submit(prepared, client, disk, tonight) == job
        with pytest.raises(InvalidRequestError, match="has no video model"):
            await submit(replace(prepared, folder=f"new-{prepared.folder}"), client, disk, tonight)
    finally:
        remember(client.server.base_url, before)
    assert openrouter.accepted() == 1


async def test_its_prices_are_the_estimate_and_hold_in_a_budget(
    client: VideoClient, disk: Ledger, openrouter: Renderer
) -> None:
    asked = clip(**LITE)
    assert price(asked, client.server).usd == 0.1
    with pytest.raises(BudgetExceededError) as caught:
        await go(client, disk, asked, budget=Budget(run_usd=0.09))
    assert caught.value.asked_usd == 0.1
    job = await go(client, disk, asked, budget=Budget(run_usd=0.1))
    assert (job.cost_usd, openrouter.accepted()) == (0.1, 1)


async def test_a_size_is_sent_as_the_model_takes_it(
    client: VideoClient, disk: Ledger, openrouter: Renderer
) -> None:
    await go(client, disk, clip(**LITE))
    await go(client, disk, clip(**{**LITE, "size": "720x1280"}))
    assert openrouter.accepted() == 2, "360p is offered as a size, 720p by resolution and ratio"


async def test_a_batch_is_checked_before_anything_is_sent(client: VideoClient) -> None:
    rows = rows_of([{"prompt": "a", **LITE}, {"prompt": "b", **LITE, "seconds": 3}])
    with pytest.raises(InvalidRequestError, match="renders 2 or 4 seconds, not 3"):
        plan(rows, client.server)
    assert plan(rows, client.server, skip_bad_rows=True).estimate.usd == 0.1


async def test_prices_of_ones_own_come_first(openrouter: Renderer) -> None:
    prices = (("local/kite-lite", "*", 0.5),)
    server = await recognised(remote(openrouter.base_url, profile=OPENROUTER, prices=prices))
    assert price(clip(**LITE), server).usd == 1.0


@pytest.fixture
def strange() -> Iterator[Scripted]:
    server = Scripted(lambda method, path, body: (404, {}, {}))
    yield server
    server.stop()


def catalogue(*models: dict[str, Any]) -> Reply:
    return 200, {}, {"data": [*models]}


async def test_it_is_asked_for_once_an_hour_however_many_render_and_without_the_key(
    strange: Scripted,
) -> None:
    strange.answer = lambda *_: catalogue({"id": "acme/kite"})
    server = remote(strange.base_url, profile=OPENROUTER, api_key=SecretStr("sk-mine"))
    await asyncio.gather(*(recognised(server) for _ in range(5)))
    (asked,) = strange.seen
    assert asked.path == "/v1/videos/models"
    assert "authorization" not in asked.headers
    assert "sk-mine" not in str(asked)
    with limited(catalogue_fresh_seconds=0.0):
        await recognised(server)
    assert len(strange.seen) == 2


def a_flood(*_: object) -> Reply:
    return 200, {}, b'{"data": [' + b'{"id": "acme/kite"},' * 2_600_000 + b"{}]}"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda *_: (404, {}, {"error": "no"}), "the answer was 404"),
        (lambda *_: (302, {"Location": "http://127.0.0.1:9/"}, b""), "the answer was 302"),
        (lambda *_: (200, {}, b"<html>"), "no list of models"),
        (lambda *_: (200, {}, b"[" * 100_000), "no list of models"),
        (lambda *_: catalogue(), "no list of models"),
        (lambda *_: catalogue({"id": 7}, {"name": "x"}), "no list of models"),
        (lambda *_: (200, {}, {"data": "acme/kite"}), "no list of models"),
        (a_flood, "larger than 4194304 bytes"),
        (
            lambda *_: (200, {"Content-Encoding": "gzip"}, gzip.compress(b"0" * 10_000_000)),
            "came packed",
        ),
        (lambda *_: None, "disconnected"),
    ],
    ids=[
        *("missing", "elsewhere", "a page", "a well", "empty", "nameless", "no list"),
        *("a flood", "a bomb", "hung up"),
    ],
)
async def test_a_catalogue_that_is_none_is_said_and_everything_goes_on(
    strange: Scripted, answer: Any, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    strange.answer = answer
    server = await recognised(remote(strange.base_url, profile=OPENROUTER))
    assert said in caplog.text
    assert "the server judges" in caplog.text
    check(clip(model="acme/kite", seconds=99), server.label, server.base_url)
    unknown = price(clip(model="acme/kite"), server)
    assert (unknown.usd, unknown.why) == (None, "no price of acme/kite at 64x64 is known")
    assert price(clip(model="openai/sora-2", size="1280x720"), server).usd is None
    await recognised(server)
    assert len(strange.seen) == 1, "it is not asked for again at once"


async def test_one_that_takes_too_long_is_not_waited_for(
    strange: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    let_go = Event()

    def slow(*_: object) -> Reply:
        let_go.wait(20)
        return catalogue({"id": "acme/kite"})

    strange.answer = slow
    begun = monotonic()
    with limited(catalogue_seconds=0.2):
        await recognised(remote(strange.base_url, profile=OPENROUTER))
    let_go.set()
    assert monotonic() - begun < 10
    assert "it took too long" in caplog.text


async def test_the_last_one_holds_where_it_cannot_be_read_again(
    strange: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    strange.answer = lambda *_: catalogue({"id": "acme/kite", "supported_durations": [4]})
    server = await recognised(remote(strange.base_url, profile=OPENROUTER))
    strange.answer = lambda *_: None
    with limited(catalogue_fresh_seconds=0.0):
        await learn_catalogue(server)
    assert "The one of 0 minutes ago holds." in caplog.text
    with pytest.raises(InvalidRequestError, match="renders 4 seconds, not 1"):
        check(clip(model="acme/kite"), server.label, server.base_url)


def test_what_lies_in_one_field_is_not_judged_by_it() -> None:
    odd = {
        "id": "acme/kite",
        "supported_durations": [4, "8", True],
        "supported_sizes": [],
        "supported_resolutions": [720],
        "supported_aspect_ratios": ["wide", "0:9"],
        "supported_frame_images": {"first_frame": True},
        "generate_audio": "no",
        "seed": 0,
        "pricing_skus": [["duration_seconds", "0.1"]],
        "surprise": {"deep": [1]},
    }
    never = [{"id": "a/\x1b[2Jkite"}, {"id": ""}, {"id": "k" * 201}]
    read = read_catalogue(json.loads(json.dumps({"data": [odd, None, 7, *never]})))
    assert read
    assert [*read.offers] == ["acme/kite"]
    offer = read.offers["acme/kite"]
    assert {name for name, value in offer if value is not None} == {"name", "aspect_ratios"}
    assert offer.says_size("64x64") is True


def test_a_server_without_one_is_asked_nothing(caplog: pytest.LogCaptureFixture) -> None:
    server = remote("http://127.0.0.1:9/v1")
    with caplog.at_level(logging.INFO):
        asyncio.run(learn_catalogue(server))
    assert (known(server.base_url), caplog.text) == (None, "")
