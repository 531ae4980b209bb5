"""Calling: from async code, sync flows, scripts and futures, in one scope however it is done."""

import asyncio
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task, unmapped
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.runtime import flow_run as running_flow

from prefect_sora import (
    OpenAICredentials,
    StoredVideo,
    VideoRequest,
    VideoStore,
    list_videos,
    persist_video,
    render_video,
    submit_video,
    text_to_video,
    wait_for_video,
)
from prefect_sora.flows.storyboards import take_last_frame
from prefect_sora.servers.local import find_running
from tests.support.renderer import Renderer, until
from tests.support.renders import clip

SMALL: dict[str, Any] = {
    "model": None,
    "size": "64x64",
    "seconds": 1,
    "poll_interval_seconds": 0.05,
}
CALLING = Path(__file__).parents[2] / "docs" / "calling.md"

pytestmark = pytest.mark.usefixtures("prefect")


def scopes(store: VideoStore) -> set[str]:
    records = Path(store.url).glob("*/reserved.json")
    return {json.loads(record.read_text())["scope"] for record in records}


def called(function: Any, *given: Any, **named: Any) -> Any:
    """Call it as untyped code does: what a sync flow gets is no coroutine."""
    return function(*given, **named)


@pytest.mark.slow
def test_a_sync_flow_gets_the_video_and_the_render_is_its_own(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    @task
    def in_a_task() -> StoredVideo:
        return called(text_to_video, "in a task", provider, store, **SMALL)  # type: ignore[no-any-return]

    @flow
    def kites() -> list[Any]:
        video = called(text_to_video, "direct", provider, store, **SMALL)
        other = text_to_video.with_options(name="kites")
        job = called(submit_video, clip(prompt="a task"), provider, store)
        return [
            running_flow.id,
            video.url,
            called(other, "other options", provider, store, **SMALL).url,
            in_a_task().url,
            job.video_id,
            len(called(list_videos.with_options(retries=1), provider)),
        ]

    scope, *urls, video_id, listed = kites()
    assert all(Path(url.removeprefix("file://")).is_file() for url in urls)
    assert scopes(store) == {scope}
    assert renderer.finished(video_id)["status"] == "completed"
    assert listed == renderer.accepted() == 4


def test_a_call_that_a_sync_flow_returns_is_in_its_scope(
    provider: OpenAICredentials, store: VideoStore
) -> None:
    seen: list[str] = []

    @flow
    def kites() -> Any:
        seen.append(str(running_flow.id))
        return text_to_video("returned", provider, store, **SMALL)

    assert isinstance(kites(), StoredVideo)
    assert scopes(store) == set(seen)


@pytest.mark.slow
def test_async_code_inside_of_a_sync_flow_awaits_as_everywhere(
    provider: OpenAICredentials, store: VideoStore
) -> None:
    @flow
    def kites() -> str:
        async def both() -> None:
            await asyncio.gather(
                *(text_to_video(f"kite {n}", provider, store, **SMALL) for n in (1, 2))
            )

        asyncio.run(both())
        return str(running_flow.id)

    scope = kites()
    assert scopes(store) == {scope}


def test_a_call_that_nobody_awaits_says_what_to_do(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    advice = r"text_to_video\(…\) has not run, and nothing was sent.*asyncio.run\(text_to_video\(…"
    video: Any = text_to_video("forgotten", provider, store, **SMALL)
    with pytest.raises(AttributeError, match=f"There is no 'url' yet: {advice}"):
        video.url  # noqa: B018 - the access is the test
    assert re.search(advice, repr(video))
    with pytest.warns(RuntimeWarning, match=advice):
        del video
    assert renderer.accepted() == 0
    assert asyncio.run(text_to_video("a kite", provider, store, **SMALL)).key


def test_futures_go_from_task_to_task(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    @flow
    def kites() -> str:
        job: Any = submit_video.submit(clip(prompt="one"), provider, store)
        video: Any = wait_for_video.submit(job, provider, store, poll_interval_seconds=0.05)
        kept: Any = persist_video.submit(video, provider, store)
        frame = take_last_frame.submit(kept, store)
        requests: list[VideoRequest] = [clip(prompt=f"mapped {n}") for n in (1, 2)]
        jobs = submit_video.map(requests, unmapped(provider), unmapped(store))
        videos = wait_for_video.map(
            jobs, unmapped(provider), unmapped(store), poll_interval_seconds=0.05
        )
        persist_video.map(videos, unmapped(provider), unmapped(store)).result()
        render_video.map(requests, unmapped(provider), unmapped(store)).result()
        assert kept.result().folder in str(frame.result())
        return str(running_flow.id)

    run_id = kites()
    assert renderer.accepted() == 3
    assert scopes(store) == {run_id}
    names = until(lambda: asyncio.run(_names_of(run_id, 12)), "the task runs are told")
    one = {f"{step} · one" for step in ("submit", "wait", "persist", "last frame")}
    steps = ("submit", "wait", "persist", "render")
    assert names == one | {f"{step} · mapped {n}" for step in steps for n in (1, 2)}


async def _names_of(flow_run_id: str, count: int) -> set[str] | None:
    async with get_client() as api:
        of_it = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
        names = {run.name for run in await api.read_task_runs(flow_run_filter=of_it)}
    return names if len(names) >= count else None


@pytest.mark.slow
def test_each_pattern_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    names: dict[str, Any] = {}
    patterns = re.findall(r"```python\n(.*?)```", CALLING.read_text(), re.DOTALL)
    try:
        for pattern in patterns:
            exec(pattern.replace("seconds=4", "seconds=1, size='64x64', model=None"), names)  # noqa: S102
    finally:
        for folder in (tmp_path / "renderer", tmp_path / ".prefect-sora" / "renderer"):
            if address := find_running(folder):
                os.kill(address.pid, signal.SIGTERM)
    assert len(patterns) == 6
    assert len(list(tmp_path.glob("renders/*/video.mp4"))) == 8
