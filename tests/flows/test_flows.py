"""Flows: the whole way in Prefect, as a flow, as a subflow, retried and in a plain script."""

import asyncio
import hashlib
import io
import os
import signal
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import av
import httpx2
import pytest
from PIL import Image
from prefect import flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import State, StateType
from prefect.runtime import flow_run as running_flow
from pydantic import SecretStr

from prefect_sora import (
    InvalidRequestError,
    LocalRenderer,
    ModerationError,
    OpenAICredentials,
    RenderStalledError,
    RenderTimeoutError,
    StoredVideo,
    VideoNotFoundError,
    VideoStore,
    image_to_video,
    remix_chain,
    render_batch,
    text_to_video,
)
from prefect_sora.servers.local import find_running
from prefect_sora.servers.protocol.video_object import Video
from tests.support.prefect_server import prefect_home
from tests.support.renderer import Renderer, StartRenderer, until
from tests.support.s3 import S3

SMALL: dict[str, Any] = {
    "model": None,
    "size": "64x64",
    "seconds": 1,
    "poll_interval_seconds": 0.05,
    "timeout_seconds": 30,
}

pytestmark = pytest.mark.usefixtures("prefect")


async def test_text_becomes_a_kept_video(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    video = await text_to_video("a red kite", provider, store, **SMALL)
    assert isinstance(video, StoredVideo)
    assert (video.width, video.height) == (64, 64)
    assert await store.folder.read(f"{video.folder}/video.mp4")
    assert video.url.startswith("file:///")
    assert renderer.accepted() == 1


async def test_a_store_may_be_a_path(provider: OpenAICredentials, tmp_path: Path) -> None:
    video = await text_to_video("a red kite", provider, tmp_path / "clips", **SMALL)
    assert video.url == f"{(tmp_path / 'clips').as_uri()}/{video.folder}/video.mp4"


@pytest.mark.slow
async def test_a_provider_is_named_as_on_the_command_line(
    provider: OpenAICredentials,
    store: VideoStore,
    renderer: Renderer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await provider.asave("named-in-a-flow")
    gone = "http://127.0.0.1:9/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", gone)
    monkeypatch.setenv("PREFECT_SORA_PROFILE", "openai")
    named = ["openai", "sora-openai-credentials/named-in-a-flow"]

    video = await text_to_video("a red kite", named, store, **SMALL)
    monkeypatch.setenv("OPENAI_BASE_URL", renderer.base_url)
    other = await text_to_video("a blue kite", "openai", store, **SMALL)

    here = renderer.base_url.partition("://")[2]
    assert (video.provider, other.provider) == (here, here), "and who is not there is passed over"
    assert renderer.accepted() == 2
    with pytest.raises(InvalidRequestError, match="Prefect has no block"):
        await text_to_video("a kite", "sora-openai-credentials/nobody", store, **SMALL)
    with pytest.raises(InvalidRequestError, match="'sora' is no provider"):
        await text_to_video("a kite", "sora", store, **SMALL)


async def test_a_job_that_stalls_ends_the_flow_and_the_next_run_waits_for_it_again(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "stall"}])
    for _ in range(2):
        with pytest.raises(RenderStalledError) as caught:
            await text_to_video(
                "a red kite", provider, store, scope="kites", stall_seconds=0.3, **SMALL
            )
        command = f"`prefect-sora resume {caught.value.key} --store {store.url}`"
        assert command in str(caught.value)
    assert renderer.accepted() == 1


async def test_a_flow_that_nobody_has_cancelled_leaves_its_job_whatever_was_asked_for(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "stall"}])
    running = asyncio.create_task(
        text_to_video("a red kite", provider, store, on_cancel="delete", **SMALL)
    )
    await asyncio.to_thread(until, lambda: renderer.requests("retrieve"), "it waits")
    running.cancel()  # as a time-out, or a sibling that failed, would
    with pytest.raises(asyncio.CancelledError):
        await running
    assert renderer.requests("delete") == []


async def test_a_flow_that_a_person_cancels_deletes_its_job_though_it_is_a_subflow(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "stall"}])
    ids: list[UUID] = []

    @flow
    async def outer() -> None:
        ids.append(UUID(running_flow.id))
        await text_to_video("a red kite", provider, store, on_cancel="delete", **SMALL)

    running = asyncio.create_task(outer())
    await asyncio.to_thread(until, lambda: renderer.requests("retrieve"), "it waits")
    async with get_client() as api:
        await api.set_flow_run_state(ids[0], State(type=StateType.CANCELLING), force=True)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [r["status"] for r in renderer.requests("delete")] == [200]


async def test_a_picture_becomes_the_first_frame(
    provider: OpenAICredentials, store: VideoStore
) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (200, 100), (200, 30, 30)).save(picture, "PNG")
    video = await image_to_video("it moves", picture.getvalue(), provider, store, **SMALL)
    first = await first_frame(store, video)
    red, green, blue = first.getpixel((32, 32))  # type: ignore[misc]  # RGB has three
    assert red > 150 > 80 > max(green, blue)


async def test_a_chain_of_remixes_keeps_each_clip_and_its_parent(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    clips = await remix_chain(
        "a red kite",
        remixes=["teal and rust palette", "add snow"],
        provider=provider,
        store=store,
        **SMALL,
    )
    assert [clip.title for clip in clips] == ["a red kite", "teal and rust palette", "add snow"]
    assert [clip.parent_key for clip in clips] == [None, clips[0].key, clips[1].key]
    assert len({clip.sha256 for clip in clips}) == 3
    assert renderer.accepted() == 3


@pytest.mark.slow
async def test_a_chain_may_start_from_a_finished_video(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer, tmp_path: Path
) -> None:
    base = await text_to_video("a red kite", provider, store, **SMALL)
    elsewhere = VideoStore(url=str(tmp_path / "elsewhere"))
    clips = await remix_chain(
        remixes=["add snow"], source=base.video_id, provider=provider, store=elsewhere, **SMALL
    )
    assert [clip.sha256 == base.sha256 for clip in clips] == [True, False]
    assert clips[1].parent_key == clips[0].key
    assert clips[0].cost_usd is None
    assert renderer.accepted() == 2


@pytest.mark.slow
async def test_runs_that_name_one_scope_share_their_renders(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    first = await text_to_video("a kite", provider, store, scope="campaign-42", **SMALL)
    again = await text_to_video("a kite", provider, store, scope="campaign-42", **SMALL)
    other = await text_to_video("a kite", provider, store, scope="campaign-43", **SMALL)
    tonight = await text_to_video("a kite", provider, store, **SMALL)
    assert again == first
    assert len({first.video_id, other.video_id, tonight.video_id}) == renderer.accepted() == 3


@pytest.mark.slow
async def test_inside_another_flow_its_run_is_the_scope(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    @flow(retries=1)
    async def campaign() -> list[StoredVideo]:
        one = await text_to_video("a kite", provider, store, **SMALL)
        same = await text_to_video("a kite", provider, store, **SMALL)
        second_take = await text_to_video("a kite", provider, store, take=2, **SMALL)
        if len(attempts) < 1:
            attempts.append("failed once")
            raise ValueError("after three paid steps")
        return [one, same, second_take]

    attempts: list[str] = []
    one, same, second_take = await campaign()
    assert one == same
    assert one.video_id != second_take.video_id
    assert renderer.accepted() == 2, renderer.requests("create")


async def test_a_failed_render_is_made_anew_by_the_flows_own_retries(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "fail"}])
    retried = text_to_video.with_options(retries=1)
    video = await retried("a kite", provider, store, **SMALL)
    assert video.attempt == 2
    assert renderer.accepted() == 2


async def test_moderation_is_told_and_nothing_is_asked_again(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "moderate"}])
    retried = text_to_video.with_options(retries=2)
    with pytest.raises(ModerationError) as caught:
        await retried("a kite", provider, store, **SMALL)
    assert caught.value.video_id
    assert caught.value.key
    assert str(caught.value).startswith("Refused by moderation (moderation_blocked): Your request")
    assert renderer.accepted() == 1


async def test_a_deadline_ends_the_run_and_the_next_run_of_the_scope_brings_the_clip_home(
    start_renderer: StartRenderer, store: VideoStore
) -> None:
    renderer = start_renderer(min_render_seconds=1.5)
    slow = OpenAICredentials(base_url=renderer.base_url)
    with pytest.raises(RenderTimeoutError, match="resume"):
        await text_to_video("a kite", slow, store, scope="s", **{**SMALL, "timeout_seconds": 0.3})
    video = await text_to_video("a kite", slow, store, scope="s", **SMALL)
    assert await store.folder.read(f"{video.folder}/video.mp4")
    assert renderer.accepted() == 1


async def test_bad_input_pays_nothing_and_writes_nothing(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    with pytest.raises(InvalidRequestError, match="prompt is empty"):
        await text_to_video("", provider, store, **SMALL)
    with pytest.raises(InvalidRequestError, match="prompt is empty"):
        await remix_chain("a kite", remixes=["  "], provider=provider, store=store, **SMALL)
    assert renderer.requests("create") == []
    assert not Path(store.url).exists()


async def test_a_video_that_does_not_exist_is_named(
    provider: OpenAICredentials, store: VideoStore
) -> None:
    with pytest.raises(VideoNotFoundError, match="video_nobody"):
        await remix_chain(
            remixes=["add snow"], source="video_nobody", provider=provider, store=store, **SMALL
        )


async def test_it_keeps_on_s3(provider: OpenAICredentials, s3: S3) -> None:
    store = VideoStore(url=s3.folder().root, storage_options=dict(s3.folder().options))
    video = await text_to_video("a kite", provider, store, **SMALL)
    assert video.url.startswith("s3://")
    data = await store.folder.read(f"{video.folder}/video.mp4")
    assert data is not None
    assert hashlib.sha256(data).hexdigest() == video.sha256


async def test_the_local_renderer_is_started_when_it_is_named(
    store: VideoStore, tmp_path: Path
) -> None:
    renderer = LocalRenderer(folder=tmp_path / "renderer")
    try:
        video = await text_to_video("a kite", renderer, store, **SMALL)
        assert (video.provider, video.cost_usd) == ("local", 0.0)
    finally:
        address = find_running(tmp_path / "renderer")
        assert address is not None
        os.kill(address.pid, signal.SIGTERM)


async def test_the_ui_has_readable_steps_progress_and_the_clip(
    start_renderer: StartRenderer, store: VideoStore, prefect: str
) -> None:
    renderer = start_renderer(min_render_seconds=1.0)
    provider = OpenAICredentials(base_url=renderer.base_url, api_key=SecretStr("sk-of-this-run"))
    long = f"a <b>red</b> | kite {'over a park ' * 12}"
    video = await text_to_video(long, provider, store, **SMALL)

    (artifact,) = await _artifacts(prefect, key=f"video-{video.key}")
    page = artifact["data"]
    assert "](data:image/webp;base64," in page
    assert '<video controls loop muted playsinline width="640" src="data:video/mp4;base64,' in page
    assert video.sha256 in page
    assert "| Asked\N{NO-BREAK SPACE}for | 64x64, 1 s |" in page
    assert "<b>" not in page
    assert page.count("over a park") > 12, "the whole prompt stands under its first words"
    assert [a["type"] for a in await _artifacts(prefect, type="progress")]

    async with get_client() as api:
        (run,) = [
            run for run in await api.read_flow_runs() if str(run.id) == artifact["flow_run_id"]
        ]
        names = await _until_named(api, run.id, 3)
        assert run.name.startswith("text to video · a <b>red</b> | kite over")
        assert {name.partition(" · ")[0] for name in names} == {"submit", "wait", "persist"}
        assert "sk-of-this-run" not in run.model_dump_json()
        assert "sk-of-this-run" not in await _until_logged(api, run.id, "Kept")
    assert "sk-of-this-run" not in page


@pytest.mark.slow
async def test_a_flow_ends_after_its_polls_and_tells_of_progress_until_then(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    heard: list[str] = []

    async def hear(video: Video) -> None:
        heard.append(f"{video.prompt}: {video.status}")

    renderer.faults([{"on": "create", "match": "stalls", "do": "stall"}])
    polls: Any = {**SMALL, "timeout_seconds": None, "max_poll_attempts": 20, "on_progress": hear}
    with pytest.raises(RenderTimeoutError, match="Not finished within 1 s"):
        await text_to_video("it stalls", provider, store, **polls)
    waiting: Any = {"poll_interval_seconds": 0.05, "on_progress": hear}
    await text_to_video("a kite", provider, store, **{**SMALL, **waiting})
    rows: Any = [{"prompt": "a row", "model": None, "size": "64x64", "seconds": 1}]
    await render_batch(rows, provider, store, **waiting)
    assert not any(line.startswith("it stalls: completed") for line in heard)
    assert {"a kite: completed", "a row: completed"} <= {*heard}


@pytest.mark.slow
async def test_a_plain_script_runs_a_flow(renderer: Renderer, tmp_path: Path, prefect: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import asyncio\n"
        "from prefect_sora import OpenAICredentials, text_to_video\n"
        f"provider = OpenAICredentials(base_url={renderer.base_url!r})\n"
        "video = asyncio.run(text_to_video('a kite', provider, './clips', model=None,\n"
        "    size='64x64', seconds=1, poll_interval_seconds=0.05))\n"
        "print(video.url)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), cwd=tmp_path, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env=prefect_home(tmp_path / "home", prefect),
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert Path(out.decode().strip().removeprefix("file://")).is_file()


async def first_frame(store: VideoStore, video: StoredVideo) -> Image.Image:
    with (
        store.folder.open(f"{video.folder}/video.mp4") as file,
        av.open(file, "r") as container,
    ):
        frame = next(container.decode(video=0))
        return Image.fromarray(frame.to_ndarray(format="rgb24"))


async def _artifacts(api_url: str, **filters: str) -> list[dict[str, Any]]:
    async with httpx2.AsyncClient() as http:
        answer = await http.post(
            f"{api_url}/artifacts/filter",
            json={"artifacts": {name: {"any_": [value]} for name, value in filters.items()}},
        )
    found: list[dict[str, Any]] = answer.json()
    return found


async def _until_logged(api: PrefectClient, flow_run_id: UUID, said: str) -> str:
    """Logs reach the server every two seconds."""
    of_it = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
    async with asyncio.timeout(20):
        while said not in (logs := "".join(log.message for log in await api.read_logs(of_it))):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
    return logs


async def _until_named(api: PrefectClient, flow_run_id: UUID, count: int) -> list[str]:
    """Task runs reach the server as events, a moment after they ended."""
    async with asyncio.timeout(20):
        while True:
            runs = await api.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
            )
            if len(runs) >= count:
                return [run.name for run in runs]
            await asyncio.sleep(0.1)
