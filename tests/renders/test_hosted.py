"""Hosted servers, each as its dialect: what is paid for is kept, and what is not said is asked."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import SecretStr

from prefect_sora.errors import (
    DownloadError,
    InvalidRequestError,
    ModerationError,
    QuotaError,
    RejectedError,
    RenderFailedError,
    UncertainSubmitError,
    VideoExpiredError,
    VideoNotFoundError,
)
from prefect_sora.handles import RenderedVideo, StoredVideo, VideoJob
from prefect_sora.limits import limits
from prefect_sora.renders.environment import named_provider
from prefect_sora.renders.finish.keep import keep
from prefect_sora.renders.finish.wait import wait
from prefect_sora.renders.submit.adopt import adopt
from prefect_sora.renders.submit.prepare import prepared_of
from prefect_sora.requests.video import VideoRequest, derived
from prefect_sora.servers.local import DialectName
from prefect_sora.servers.profiles import PROFILES
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.connections import connect
from prefect_sora.servers.server import remote
from prefect_sora.store.ledger import Ledger
from tests.media.test_mp4 import clip as drawn
from tests.support.limits import Limit
from tests.support.renderer import Renderer, SpeakDialect
from tests.support.renders import POLLING, clip, go
from tests.support.scripted import Answer, Reply, Script

KEY = "sk-hosted-canary"
MODELS: dict[DialectName, str] = {
    "openrouter": "local/kite",
    "together": "local/kite",
    "xai": "grok-imagine-video",
    "bifrost": "openai/kite",
}
SOON = {"submit_grace_s": 0.3, "longest_create_s": 0.3, "lost_after_s": 0.3}

hosted = pytest.mark.parametrize("name", MODELS)
unlisted = pytest.mark.parametrize("name", ["openrouter", "together", "xai"])


@pytest.fixture(autouse=True)
def quick(limit: Limit) -> None:
    """Pause shortly between downloads, and make three at most."""
    limit(download_pause_max_seconds=0.02, download_attempts=3, retry_pause_seconds=0.01)


def client_of(renderer: Renderer, name: str) -> VideoClient:
    """Connect as to the server that the dialect is like; its prices are known."""
    profile = PROFILES[name].model_copy(update=SOON)
    server = remote(
        renderer.base_url, api_key=SecretStr(KEY), profile=profile, prices=(("*", "*", 0.05),)
    )
    return connect(server)


def kite(name: DialectName, **fields: Any) -> VideoRequest:
    """Ask for one second, as small as the server has it."""
    size = "480x480" if name == "xai" else "64x64"
    return clip(**{"model": MODELS[name], "size": size, **fields})


async def rendered(request: VideoRequest, client: VideoClient, ledger: Ledger) -> RenderedVideo:
    """Submit a request and wait for its video."""
    return await wait(await go(client, ledger, request), client, ledger, POLLING)


async def kept(request: VideoRequest, client: VideoClient, ledger: Ledger) -> StoredVideo:
    """Render a request, and keep its video."""
    return await keep(await rendered(request, client, ledger), client, ledger)


@unlisted
async def test_a_lost_answer_is_a_doubt_that_a_person_settles_with_the_id(
    name: DialectName, speak: SpeakDialect, disk: Ledger
) -> None:
    renderer = speak(name, api_key=KEY)
    client, request = client_of(renderer, name), kite(name)
    renderer.faults([{"on": "create", "do": "drop_after"}])

    for _ in range(2):
        with pytest.raises(UncertainSubmitError) as doubt:
            await go(client, disk, request)
        assert doubt.value.paid == "unknown"
        assert " UTC, and costs $0.05." in doubt.value.message
        assert "--adopt VIDEO_ID" in doubt.value.told("terminal")
    assert renderer.accepted() == 1

    (state,) = await disk.unfinished()
    with pytest.raises(VideoNotFoundError):
        await adopt(state, client, disk, "gen-vid-00000000000000000000")
    (paid,) = (renderer.folder / "jobs").glob("*.json")
    job = await adopt(state, client, disk, paid.stem)
    stored = await keep(await wait(job, client, disk, POLLING), client, disk)

    assert (stored.video_id, stored.key) == (paid.stem, state.key)
    assert renderer.accepted() == 1
    assert (await go(client, disk, request)).stored


@hosted
async def test_no_credit_stops_at_once_and_nothing_was_paid(
    name: DialectName, speak: SpeakDialect, disk: Ledger
) -> None:
    renderer = speak(name, api_key=KEY)
    renderer.faults([{"on": "create", "do": "status:402"}])

    with pytest.raises(QuotaError, match="Add credit") as refused:
        await go(client_of(renderer, name), disk, kite(name))
    assert refused.value.paid == "no"
    assert (renderer.accepted(), len(renderer.requests("create"))) == (0, 1)


async def test_a_budget_of_what_is_under_way_is_waited_for(
    speak: SpeakDialect, disk: Ledger
) -> None:
    renderer = speak("openrouter", api_key=KEY)
    full = {"on": "create", "do": "status:402:openrouter_in_flight_budget", "times": 2}
    renderer.faults([{**full, "headers": {"Retry-After": "0"}}])

    await go(client_of(renderer, "openrouter"), disk, kite("openrouter"))

    assert (renderer.accepted(), len(renderer.requests("create"))) == (1, 3)


@hosted
@pytest.mark.parametrize("at", ["create", "job"])
async def test_moderation_is_told_at_once_or_of_the_job_and_not_asked_again(
    name: DialectName, at: str, speak: SpeakDialect, disk: Ledger
) -> None:
    renderer = speak(name, api_key=KEY)
    at_once = {"openrouter": "status:403:content_policy_violation"}
    refused = at_once.get(name, "status:400:moderation_blocked")
    renderer.faults([{"on": "create", "do": refused if at == "create" else "moderate"}])
    client = client_of(renderer, name)

    for _ in range(2):
        with pytest.raises(ModerationError):
            await rendered(kite(name), client, disk)
    assert len(renderer.requests("create")) == 1


@pytest.mark.parametrize("name", ["openrouter", "xai", "together"])
async def test_the_key_goes_to_its_own_server_alone_and_never_beside_a_signature(
    name: DialectName, speak: SpeakDialect, disk: Ledger
) -> None:
    renderer = speak(name, api_key=KEY, cloud=True)  # its files refuse a request with a key
    stored = await kept(kite(name), client_of(renderer, name), disk)

    (fetched,) = renderer.requests("content")
    assert fetched["path"] == f"/files/{stored.video_id}.mp4"
    assert fetched["status"] == 200


async def test_a_signed_address_that_is_dead_is_followed_by_the_one_behind_the_key(
    speak: SpeakDialect, disk: Ledger
) -> None:
    renderer = speak("openrouter", api_key=KEY, cloud=True)
    renderer.faults([{"on": "content", "do": "status:403"}])

    stored = await kept(kite("openrouter"), client_of(renderer, "openrouter"), disk)

    paths = [one["path"] for one in renderer.requests("content")]
    assert [path.rpartition("/")[2] for path in paths] == [f"{stored.video_id}.mp4", "content"]


@pytest.mark.parametrize("name", ["xai", "together"])
async def test_an_address_that_stays_dead_leaves_the_video_to_be_fetched(
    name: DialectName, speak: SpeakDialect, disk: Ledger
) -> None:
    renderer = speak(name, api_key=KEY)
    client = client_of(renderer, name)
    video = await rendered(kite(name), client, disk)
    renderer.faults([{"on": "content", "do": "status:403", "times": None}])

    with pytest.raises(DownloadError) as lost:
        await keep(video, client, disk)
    assert lost.value.paid == "yes"
    assert not isinstance(lost.value, VideoExpiredError)
    if name == "xai":  # which says of no job until when it keeps it
        assert video.expires_at is not None
        with pytest.raises(VideoExpiredError):
            await keep(video.model_copy(update={"expires_at": 1.0}), client, disk)

    renderer.clear_faults()
    assert (await keep(video, client, disk)).video_id == video.video_id
    assert renderer.accepted() == 1


JOB = {"request_id": "v-1", "id": "v-1"}


def finished_without_a_file(method: str, path: str, body: bytes) -> Reply:
    """A server that says of every job that it is done, and no more."""
    return 200, {}, JOB | ({"status": "completed"} if method == "GET" else {})


async def test_a_finished_job_that_names_no_file_is_paid_and_can_be_asked_for_again(
    scripted: Script, disk: Ledger
) -> None:
    profile = PROFILES["together"].model_copy(update=SOON)
    server, client = scripted(finished_without_a_file, profile)
    video = await rendered(kite("together"), client, disk)

    with pytest.raises(DownloadError, match="not where its file is") as lost:
        await keep(video, client, disk)
    assert lost.value.paid == "yes"
    assert server.posts() == 1


async def test_where_a_missing_file_means_failure_the_render_has_failed(
    scripted: Script, disk: Ledger
) -> None:
    server, client = scripted(finished_without_a_file, PROFILES["xai"].model_copy(update=SOON))

    with pytest.raises(RenderFailedError, match="names no file") as failed:
        await rendered(kite("xai"), client, disk)
    assert failed.value.paid == "unknown"
    assert server.posts() == 1


async def edited(name: DialectName, client: VideoClient, ledger: Ledger) -> StoredVideo:
    """Render a clip and edit it."""
    first = await kept(kite(name), client, ledger)
    return await kept(derived("edit", "a blue kite", first), client, ledger)


@unlisted
async def test_an_edit_starts_from_the_job_or_from_where_its_file_lies(
    name: DialectName, speak: SpeakDialect, disk: Ledger
) -> None:
    renderer = speak(name, api_key=KEY)
    stored = await edited(name, client_of(renderer, name), disk)

    assert stored.size_bytes > 0
    assert [one["operation"] for one in renderer.requests() if one["method"] == "POST"] == [
        "create",
        "edit",
    ]


async def test_where_the_sources_file_cannot_be_asked_for_nothing_is_sent(
    speak: SpeakDialect, disk: Ledger, limit: Limit
) -> None:
    limit(connect_attempts=1)
    renderer = speak("xai", api_key=KEY)
    client = client_of(renderer, "xai")
    first = await kept(kite("xai"), client, disk)
    renderer.faults([{"on": "retrieve", "do": "status:503", "times": None}])

    with pytest.raises(Exception, match="503") as refused:
        await go(client, disk, derived("edit", "a blue kite", first))
    assert getattr(refused.value, "paid", None) == "no"
    assert renderer.accepted() == 1


async def test_a_signed_address_that_the_server_repeats_is_not_repeated(
    scripted: Script, disk: Ledger
) -> None:
    signed = "https://cdn.example/source.mp4?sig=canary"

    def answer(method: str, path: str, body: bytes) -> Reply:
        if method == "POST":
            return 400, {}, {"code": "bad", "error": f"Cannot fetch {signed}"}
        return 200, {}, {"status": "done", "video": {"url": signed}}

    _, client = scripted(answer, PROFILES["xai"].model_copy(update=SOON))
    edit = VideoRequest(
        prompt="a blue kite", kind="edit", model=MODELS["xai"], source_video_id="v-1"
    )
    with pytest.raises(RejectedError, match="Cannot fetch") as refused:
        await go(client, disk, edit)

    records = [path.read_text("utf-8") for path in Path(disk.store.root).rglob("*.json")]
    assert records
    assert "canary" not in f"{refused.value!r} {records}"


async def test_an_id_with_a_colon_or_a_slash_is_one_part_of_a_path(
    scripted: Script, disk: Ledger
) -> None:
    odd = "task/7:openai"

    def answer(method: str, path: str, body: bytes) -> Reply:
        job = {"id": odd, "status": "completed" if method == "GET" else "queued"}
        return 200, {}, job

    server, client = scripted(answer, PROFILES["bifrost"].model_copy(update=SOON))
    job: VideoJob = await go(client, disk, kite("bifrost"))
    video = await wait(job, client, disk, POLLING)

    assert video.video_id == odd
    assert server.asked("GET")[-1].path == "/v1/videos/task%2F7%3Aopenai"


async def test_lists_by_provider_are_read_for_the_provider_of_the_model(
    speak: SpeakDialect, disk: Ledger
) -> None:
    renderer = speak("bifrost", api_key=KEY)
    client = client_of(renderer, "bifrost")
    renderer.faults([{"on": "create", "do": "drop_after"}])

    job = await go(client, disk, kite("bifrost", model="gemini/kite"))

    assert job.video_id.endswith(":gemini")
    assert {one["query"]["provider"] for one in renderer.requests("list")} == {"gemini"}
    assert renderer.accepted() == 1


async def test_a_reservation_outlasts_a_create_that_may_take_long(disk: Ledger) -> None:
    server = remote("https://host/v1", profile=PROFILES["openrouter"])
    longer = prepared_of(kite("openrouter"), server, "tonight", None).reservation(server, 1, None)
    usual = replace(server, profile=PROFILES["openai"])
    plain = prepared_of(clip(), usual, "tonight", None).reservation(usual, 1, None)

    assert plain.lease_seconds is None
    assert longer.lease_seconds == limits().lease_seconds + 300 - limits().create_seconds


def film_house(seen: dict[str, Any]) -> Answer:
    """A server of the kind that docs/servers describes as an example; its files refuse a key."""

    def answer(method: str, path: str, body: bytes) -> Reply:
        if path == "/reel.mp4":
            return 200, {"Content-Type": "video/mp4"}, drawn("faststart")
        if (method, path) == ("POST", "/v1/films"):
            seen.update(json.loads(body))
            return 201, {}, {"film": {"number": 7, "state": "IN THE QUEUE"}}
        assert (method, path) == ("GET", "/v1/films/7")
        reels = [{"address": f"{seen['root']}/reel.mp4"}]
        return 200, {}, {"film": {"number": 7, "state": "IN THE CAN", "reels": reels, "cents": 50}}

    return answer


async def test_a_server_of_ones_own_kind_is_described_by_data_alone(
    scripted: Script, disk: Ledger
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "servers" / "README.md").read_text("utf-8")
    (written,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    seen: dict[str, Any] = {}
    server, _ = scripted(film_house(seen))
    seen["root"] = server.root
    variables = {"PREFECT_SORA_PROFILE": written, "PREFECT_SORA_API_KEY": KEY}
    client = connect(named_provider(server.base_url, variables).server())
    picture = io.BytesIO()
    Image.new("RGB", (480, 480), "teal").save(picture, "PNG")

    stored = await kept(
        clip(model="reel", size="480x480", seconds=4, reference=picture.getvalue()), client, disk
    )

    del seen["root"]
    assert seen.pop("start")["picture"].startswith("data:image/png;base64,")
    assert seen == {
        "prompt": "a kite",
        "model": "reel",
        "resolution": "480p",
        "aspect_ratio": "1:1",
        "length": 4,
    }
    assert (stored.video_id, stored.actual_usd) == ("7", 0.5)
    keys = [one.headers.get("authorization") for one in server.seen]
    assert keys == [f"Bearer {KEY}", f"Bearer {KEY}", f"Bearer {KEY}", None]
    with pytest.raises(InvalidRequestError, match="no edit"):
        await go(client, disk, derived("edit", "a blue kite", stored))


async def test_the_address_that_is_told_of_a_jobs_end_carries_the_renders_key(
    scripted: Script, disk: Ledger
) -> None:
    profile = PROFILES["openrouter"].model_copy(update=SOON)
    server, client = scripted(lambda *_: (202, {}, {"id": "v-1", "status": "pending"}), profile)
    told = "https://me.example/renders/{key}?from=openrouter"

    job = await go(client, disk, kite("openrouter", extra={"callback_url": told}))

    sent = json.loads(server.asked("POST")[0].body)["callback_url"]
    assert sent == f"https://me.example/renders/{job.key}?from=openrouter"
