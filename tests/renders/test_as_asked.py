"""As asked: a clip of another size or length is kept and told, and refused only by `strict`."""

import json
from pathlib import Path
from typing import Any

import pytest

from prefect_sora import OpenAICredentials, text_to_video
from prefect_sora.cli import exits
from prefect_sora.errors import NotAsAskedError
from prefect_sora.handles import StoredVideo
from prefect_sora.renders.batches import results
from prefect_sora.renders.contract.creating import extend
from prefect_sora.renders.contract.trial import BrokenError, CountingClient, Trial
from prefect_sora.renders.run import PlainSteps, bring_home
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.renders.submit.prepare import identify
from prefect_sora.renders.submit.submit import submit
from prefect_sora.requests.table import rows_of
from prefect_sora.requests.video import SIZES_BY_RATIO, VideoRequest, derived
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.ledger import Ledger
from tests.cli.conftest import TINY, Cli
from tests.cli.conftest import cli as cli
from tests.cli.conftest import store as store
from tests.media.test_mp4 import clip as mp4
from tests.support.renders import POLLING, clip, render
from tests.support.scripted import Jobs, Reply, Script, Scripted

CLIP = mp4("faststart")
"""Half a second of 96x64."""


class Others(Jobs):
    """A server that makes the same clip of every request."""

    def __init__(self) -> None:
        super().__init__(lose=0, echo={"status": "completed"})

    def __call__(self, method: str, path: str, body: bytes) -> Reply:
        if path.endswith("/content"):
            return 200, {"Content-Type": "video/mp4"}, CLIP
        return super().__call__(method, path, body)


async def rendered(
    client: VideoClient, ledger: Ledger, request: VideoRequest, **options: Any
) -> StoredVideo:
    return await render(request, client, ledger, "tonight", poll_interval_seconds=0.05, **options)


async def test_another_clip_is_kept_and_says_what_is_other(scripted: Script, disk: Ledger) -> None:
    _, client = scripted(Others())
    video = await rendered(client, disk, clip(size="1280x720", seconds=4))

    assert (video.width, video.height, video.asked_size, video.asked_seconds) == (
        *(96, 64),
        *("1280x720", 4.0),
    )
    assert video.differences == ("96x64 in place of 1280x720", "0.50 s in place of 4 s")
    state = await disk.state(video.folder)
    assert state.stored
    assert state.stored.video == video


async def test_what_came_as_asked_for_says_nothing(scripted: Script, disk: Ledger) -> None:
    _, client = scripted(Others())
    video = await rendered(client, disk, clip(size="96x64", seconds=1))

    assert video.differences == ()
    assert '"asked' not in video.model_dump_json()


@pytest.mark.parametrize("extra", [{"width": 96, "height": 64}, {"num_frames": 12}], ids=str)
async def test_a_field_of_the_servers_own_says_more_than_ours(
    scripted: Script, disk: Ledger, extra: dict[str, int]
) -> None:
    _, client = scripted(Others())
    video = await rendered(client, disk, clip(size="1280x720", seconds=4, extra=extra))

    assert len(video.differences) == 1


async def test_strict_fails_once_it_is_kept_and_pays_nothing_more(
    scripted: Script, disk: Ledger
) -> None:
    server, client = scripted(Others())
    for _ in range(2):
        with pytest.raises(NotAsAskedError, match="96x64 in place of 1280x720") as caught:
            await rendered(client, disk, clip(size="1280x720"), strict=True)
        assert caught.value.paid == "yes"
        assert caught.value.video.url in str(caught.value)
    assert server.posts() == 1
    assert await rendered(client, disk, clip(size="1280x720")) == caught.value.video


async def test_an_extension_that_got_no_longer_is_told(scripted: Script, disk: Ledger) -> None:
    _, client = scripted(Others())
    source = await rendered(client, disk, clip(size="96x64"))
    request = derived("extend", "it lands", source, seconds=4)
    options = RenderOptions("tonight", poll_interval_seconds=0.05)
    prepared = await identify(request, client, "tonight", parent_key=source.key)
    job = await submit(prepared, client, disk, options)
    video = await bring_home(job, PlainSteps.on(client, disk, options))

    assert video.differences == ("0.50 s in place of 4.5 s",)


async def test_the_contract_holds_an_extension_only_where_the_clip_got_longer(
    scripted: Script, disk: Ledger
) -> None:
    _, client = scripted(Others())
    counting = CountingClient(client.server)
    trial = Trial(client.server, disk, clip(size="96x64"), "trial", None, POLLING, counting)
    trial.stored = await rendered(client, disk, clip(size="96x64"))

    with pytest.raises(BrokenError, match=r"did not get longer: from 0\.5 s to 0.5 s"):
        await extend(trial)
    await counting.close()


def test_a_batch_tells_it_of_the_row(kite: StoredVideo) -> None:
    (row,) = rows_of([clip(size="1280x720", seconds=4)], None)
    result = results.kept(row, kite)

    assert result.not_as_asked == "96x64 in place of 1280x720, 0.50 s in place of 4 s"
    assert b"0.50 s in place of 4 s" in results.as_csv([result])


@pytest.fixture
def kite() -> StoredVideo:
    return StoredVideo(
        key="0123456789ab",
        folder="a-kite-0123456789ab",
        video_id="video_1",
        provider="test",
        title="a kite",
        url="file:///clips/a-kite-0123456789ab/video.mp4",
        sha256="ab",
        size_bytes=1,
        width=96,
        height=64,
        duration_seconds=0.5,
        created_at=1.0,
        asked_size="1280x720",
        asked_seconds=4,
    )


def test_a_handle_that_differs_comes_back_as_it_was(kite: StoredVideo) -> None:
    assert StoredVideo.model_validate_json(kite.model_dump_json()) == kite
    assert json.loads(kite.model_dump_json())["asked_seconds"] == 4


@pytest.mark.slow
def test_the_command_line_says_it_in_place_of_a_tick(
    cli: Cli, store: str, prefect_api: str
) -> None:
    server = Scripted(Others())
    where = {"OPENAI_BASE_URL": server.base_url, "PREFECT_API_URL": prefect_api}
    where["PREFECT_SORA_PROFILE"] = "generic"
    words = ("render", "a kite", "--store", store, *TINY, "--scope", "tonight")
    ended = cli(*words, **where)
    strict = cli(*words, "--strict", "--json", **where)
    server.stop()

    assert ended.code == exits.OK, ended.err
    assert ended.out.startswith("! ")
    assert "not as asked: 96x64 in place of 64x64" in ended.out
    assert (strict.code, strict.json["error"]["type"]) == (exits.FAILED, "NotAsAskedError")
    assert server.posts() == 1


@pytest.mark.usefixtures("prefect")
async def test_a_flow_takes_strict(tmp_path: Path) -> None:
    server = Scripted(Others())
    provider = OpenAICredentials(base_url=server.base_url, profile="generic")
    with pytest.raises(NotAsAskedError):
        await text_to_video(
            "a kite",
            provider,
            str(tmp_path),
            size="64x64",
            seconds=1,
            allow_unlisted=True,
            strict=True,
        )
    server.stop()


@pytest.mark.slow
@pytest.mark.parametrize("ratio", ["1:1", "16:10"])
async def test_the_local_renderer_draws_any_ratio_whatever_model_is_named(
    client: VideoClient, disk: Ledger, ratio: str
) -> None:
    request = VideoRequest.of(prompt="a kite", model="sora-2", aspect_ratio=ratio, seconds=1)
    video = await rendered(client, disk, request)

    assert f"{video.width}x{video.height}" == SIZES_BY_RATIO[ratio]
    assert video.differences == ()
