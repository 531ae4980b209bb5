"""Rendering: the whole way, on each kind of store."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from PIL import Image

from prefect_sora.errors import (
    CorruptVideoError,
    DownloadError,
    ModerationError,
    RenderFailedError,
    UncertainSubmitError,
    VideoExpiredError,
    VideoNotFoundError,
)
from prefect_sora.renders.finish.fetch import download
from prefect_sora.renders.finish.keep import keep
from prefect_sora.renders.finish.wait import wait
from prefect_sora.renders.recovery.resume import resume
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.renders.submit.prepare import identify
from prefect_sora.renders.submit.submit import submit
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.profiles import GENERIC, LOCAL, PROFILES
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.downloads import Content
from prefect_sora.servers.server import Server, remote
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from tests.support.limits import Limit
from tests.support.renderer import Renderer, StartRenderer
from tests.support.renders import POLLING, render

KITE = VideoRequest(prompt="a red kite over a park", model=None, size="64x64", seconds=1)


async def test_a_prompt_becomes_a_kept_clip(
    client: VideoClient, ledger: Ledger, renderer: Renderer
) -> None:
    stored = await render(KITE, client, ledger, "tonight")

    data = await ledger.store.read(f"{stored.folder}/video.mp4")
    assert data is not None
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert (stored.width, stored.height, stored.size_bytes) == (64, 64, len(data))
    assert stored.duration_seconds == pytest.approx(1.0, abs=0.05)
    assert stored.folder == f"a-red-kite-over-a-park-{stored.key}"
    assert sorted(await ledger.store.names(stored.folder)) == [
        "accepted.json",
        "preview.webp",
        "reserved.json",
        "spritesheet.jpg",
        "stored.json",
        "thumbnail.webp",
        "video.mp4",
    ]
    assert renderer.accepted() == 1


async def test_a_second_run_of_the_scope_asks_the_server_nothing(
    client: VideoClient, ledger: Ledger, renderer: Renderer
) -> None:
    first = await render(KITE, client, ledger, "tonight")
    renderer.forget_requests()
    assert await render(KITE, client, ledger, "tonight") == first
    assert renderer.requests() == []


@pytest.mark.slow
async def test_many_renders_at_once_are_all_kept(
    client: VideoClient, ledger: Ledger, renderer: Renderer
) -> None:
    requests = [KITE.model_copy(update={"take": n}) for n in range(1, 9)]
    clips = await asyncio.gather(*(render(r, client, ledger, "tonight") for r in requests))
    assert len({clip.url for clip in clips}) == renderer.accepted() == 8


@pytest.mark.parametrize(
    ("folder", "trouble"),
    [
        *((kind, "cut:5000") for kind in ("disk", "memory", "s3")),
        *(("disk", other) for other in ("short:5000", "drop", "status:500", "status:404")),
        *(("disk", other) for other in ("garbage", "html")),
    ],
    indirect=["folder"],
)
async def test_a_download_that_breaks_is_made_again_and_nothing_half_is_left(
    client: VideoClient, ledger: Ledger, renderer: Renderer, trouble: str
) -> None:
    renderer.faults([{"on": "content", "do": trouble}])
    stored = await render(KITE, client, ledger, "tonight")
    data = await ledger.store.read(f"{stored.folder}/video.mp4")
    assert data is not None
    assert hashlib.sha256(data).hexdigest() == stored.sha256
    assert not [n for n in await ledger.store.names(stored.folder) if n.startswith(".")]


@pytest.mark.parametrize(
    ("trouble", "error", "said"),
    [
        ("garbage", CorruptVideoError, "resume"),
        ("cut:5000", DownloadError, "resume"),
        ("html", CorruptVideoError, "HTML"),
    ],
)
async def test_content_that_never_comes_whole_ends_in_an_error_and_can_be_fetched_later(
    client: VideoClient,
    ledger: Ledger,
    renderer: Renderer,
    limit: Limit,
    trouble: str,
    error: type[DownloadError],
    said: str,
) -> None:
    limit(download_attempts=2)
    renderer.faults([{"on": "content", "do": trouble, "times": None}])
    with pytest.raises(error, match=said) as caught:
        await render(KITE, client, ledger, "tonight")
    assert (caught.value.paid, bool(caught.value.key), bool(caught.value.video_id)) == (
        "yes",
        True,
        True,
    )
    (folder,) = await ledger.folders()
    assert sorted(await ledger.store.names(folder)) == ["accepted.json", "reserved.json"]

    renderer.clear_faults()
    await render(KITE, client, ledger, "tonight")
    assert renderer.accepted() == 1


async def until_forgotten(client: VideoClient) -> None:
    async with asyncio.timeout(10):
        while (await client.list_page()).videos:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.05)


async def test_an_expired_video_says_that_it_is_gone(
    start_renderer: StartRenderer, tmp_path: Path
) -> None:
    ledger = Ledger(VideoFolder(str(tmp_path / "store")))
    renderer = start_renderer(ttl=1)
    client = VideoClient(Server(renderer.base_url, "test", "test", profile=LOCAL))
    prepared = await identify(KITE, client, "tonight")
    job = await submit(prepared, client, ledger, RenderOptions("tonight"))
    video = await wait(job, client, ledger, POLLING)
    await until_forgotten(client)
    with pytest.raises(VideoExpiredError, match="no longer has") as caught:
        await keep(video, client, ledger)
    assert (caught.value.paid, caught.value.retryable) == ("yes", False)
    await client.close()


@pytest.mark.slow
async def test_what_the_server_forgot_is_rendered_again_only_where_that_is_asked_for(
    start_renderer: StartRenderer, tmp_path: Path
) -> None:
    ledger = Ledger(VideoFolder(str(tmp_path / "store")))
    renderer = start_renderer(ttl=1)
    client = VideoClient(Server(renderer.base_url, "test", "test", profile=LOCAL))
    job = await submit(
        await identify(KITE, client, "tonight"), client, ledger, RenderOptions("tonight")
    )
    await wait(job, client, ledger, POLLING)
    await until_forgotten(client)
    with pytest.raises(VideoNotFoundError) as caught:
        await resume(await ledger.state(job.folder), client, ledger, POLLING)
    assert (caught.value.key, renderer.accepted()) == (job.key, 1)
    stored = await resume(
        await ledger.state(job.folder),
        client,
        ledger,
        POLLING,
        resubmit=True,
    )
    assert (stored.key, stored.attempt, renderer.accepted()) == (job.key, 2, 2)
    await client.close()


async def test_asking_to_pay_again_pays_nothing_while_the_server_has_the_job(
    client: VideoClient, ledger: Ledger, renderer: Renderer
) -> None:
    job = await submit(
        await identify(KITE, client, "tonight"), client, ledger, RenderOptions("tonight")
    )
    state = await ledger.state(job.folder)
    stored = await resume(state, client, ledger, POLLING, resubmit=True)
    assert (stored.attempt, renderer.accepted()) == (1, 1)


async def test_stills_are_drawn_where_the_server_has_none(
    renderer: Renderer, ledger: Ledger
) -> None:
    client = VideoClient(remote(renderer.base_url, profile=GENERIC))
    stored = await render(KITE, client, ledger, "tonight", poll_interval_seconds=0.05)
    assert len(renderer.requests("content")) == 1
    for name, kind in (("thumbnail.webp", "WEBP"), ("spritesheet.jpg", "JPEG")):
        data = await ledger.store.read(f"{stored.folder}/{name}")
        assert data is not None
        assert Image.open(io.BytesIO(data)).format == kind
    await client.close()


async def test_a_server_that_answers_the_video_for_a_still_is_seen_through(
    renderer: Renderer, ledger: Ledger
) -> None:
    class Deaf(VideoClient):
        """It ignores the variant, as vLLM-Omni, FastVideo and LiteLLM's proxy do."""

        @asynccontextmanager
        async def content(
            self, video_id: str, variant: str | None = None, url: str | None = None
        ) -> AsyncIterator[Content]:
            async with super().content(video_id, None, url) as content:
                yield content

    client = Deaf(remote(renderer.base_url, profile=PROFILES["openai"]))
    stored = await render(KITE, client, ledger, "tonight", poll_interval_seconds=0.05)
    assert str(stored.thumbnail_url).endswith("thumbnail.webp")
    await client.close()


async def test_a_failed_job_closes_its_attempt_and_the_next_run_makes_another(
    client: VideoClient, ledger: Ledger, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "fail"}])
    with pytest.raises(RenderFailedError) as caught:
        await render(KITE, client, ledger, "tonight")
    assert not isinstance(caught.value, ModerationError)
    stored = await render(KITE, client, ledger, "tonight")
    assert stored.attempt == 2


@pytest.mark.parametrize("state", ["reserved", "accepted", "stored"])
async def test_resuming_brings_home_what_was_left(
    client: VideoClient, ledger: Ledger, renderer: Renderer, state: str
) -> None:
    prepared = await identify(KITE, client, "tonight")
    if state == "stored":
        await render(KITE, client, ledger, "tonight")
    elif state == "accepted":
        await submit(prepared, client, ledger, RenderOptions("tonight"))
    else:
        renderer.faults([{"on": "create", "do": "drop_after"}])
        renderer.faults([{"on": "list", "do": "status:401"}])
        with pytest.raises(UncertainSubmitError):
            await submit(prepared, client, ledger, RenderOptions("tonight"))
    stored = await resume(await ledger.state(prepared.folder), client, ledger, POLLING)
    assert stored.key == prepared.key
    assert renderer.accepted() == 1
    assert await ledger.unfinished() == []


async def test_a_file_can_be_downloaded_besides(
    client: VideoClient, renderer: Renderer, tmp_path: Path
) -> None:
    ledger = Ledger(VideoFolder(str(tmp_path / "store")))
    job = await submit(await identify(KITE, client, "x"), client, ledger, RenderOptions("x"))
    video = await wait(job, client, ledger, POLLING)
    fetched = await download(video, client, tmp_path / "mine" / "kite.mp4")
    assert (tmp_path / "mine" / "kite.mp4").stat().st_size == fetched.written.size_bytes
