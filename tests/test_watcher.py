"""Wait: few requests for many renders, never faster than asked, and every wait ends."""

import asyncio
from itertools import pairwise
from pathlib import Path
from time import monotonic

import pytest

from prefect_sora.client import VideoClient
from prefect_sora.errors import AuthenticationError, RenderTimeoutError, VideoNotFoundError
from prefect_sora.requests import VideoRequest
from prefect_sora.server import remote
from prefect_sora.watcher import Watcher, watcher_of
from prefect_sora.wire import Video
from tests.support.renderer import Renderer, StartRenderer


def clip(prompt: str = "a kite") -> VideoRequest:
    return VideoRequest(prompt=prompt, model=None, size="64x64", seconds=1)


async def begin(client: VideoClient, prompt: str = "a kite") -> str:
    return (await client.submit(clip(prompt), None, prompt)).id


async def test_a_wait_ends_with_the_finished_video(client: VideoClient) -> None:
    video = await watcher_of(client).wait(await begin(client), poll_interval_seconds=0.05)
    assert video.status == "completed"


async def test_progress_is_told_to_plain_and_async_callbacks_and_their_failures_change_nothing(
    client: VideoClient,
) -> None:
    plain: list[Video] = []
    awaited: list[Video] = []

    async def hear(video: Video) -> None:
        awaited.append(video)
        raise ValueError("a defect of the user's")

    watcher = watcher_of(client)
    ids = [await begin(client, "one"), await begin(client, "two")]
    await asyncio.gather(
        watcher.wait(ids[0], poll_interval_seconds=0.05, on_progress=plain.append),
        watcher.wait(ids[1], poll_interval_seconds=0.05, on_progress=hear),
    )
    assert plain[-1].status == awaited[-1].status == "completed"
    assert {v.id for v in plain} == {ids[0]}


async def test_300_waiting_renders_cost_a_few_requests_a_round(
    start_renderer: StartRenderer,
) -> None:
    renderer = start_renderer(min_render_seconds=0.0, parallel=2, poll_after_ms=0)
    renderer.faults([{"on": "create", "do": "stall", "times": 299}])
    client = VideoClient(remote(renderer.base_url))
    ids = [await begin(client, f"kite {n}") for n in range(300)]
    renderer.forget_requests()
    watcher = watcher_of(client)

    waits = [
        asyncio.create_task(watcher.wait(i, timeout_seconds=2.5, poll_interval_seconds=1))
        for i in ids
    ]
    results = await asyncio.gather(*waits, return_exceptions=True)

    assert sum(isinstance(r, Video) for r in results) == 1
    assert sum(isinstance(r, RenderTimeoutError) for r in results) == 299
    asked = renderer.requests()
    # Three pages in each of three rounds.
    assert len(asked) <= 9, [f"{r['method']} {r['path']}" for r in asked]
    await client.close()


async def test_it_never_asks_faster_than_it_was_asked_to(start_renderer: StartRenderer) -> None:
    renderer = start_renderer(poll_after_ms=0)
    renderer.faults([{"on": "create", "do": "stall"}])
    client = VideoClient(remote(renderer.base_url))
    with pytest.raises(RenderTimeoutError):
        await watcher_of(client).wait(
            await begin(client), timeout_seconds=2, poll_interval_seconds=0.5
        )
    times = [r["time"] for r in renderer.requests("retrieve")]
    gaps = [after - before for before, after in pairwise(times)]
    assert len(gaps) >= 2
    assert min(gaps) > 0.49
    await client.close()


async def test_a_server_may_name_its_own_pace(client: VideoClient, renderer: Renderer) -> None:
    renderer.faults([{"on": "create", "do": "stall"}])
    with pytest.raises(RenderTimeoutError):
        await watcher_of(client).wait(
            await begin(client), timeout_seconds=0.5, poll_interval_seconds=60
        )
    assert len(renderer.requests("retrieve")) > 3


@pytest.mark.parametrize("trouble", ["status:500", "status:429", "status:408", "html:502", "drop"])
async def test_a_failing_poll_is_ridden_out(
    client: VideoClient, renderer: Renderer, trouble: str
) -> None:
    renderer.faults([{"on": "retrieve", "do": trouble, "times": 3}])
    video = await watcher_of(client).wait(await begin(client), poll_interval_seconds=0.05)
    assert video.status == "completed"
    assert renderer.faults_left() == []


async def test_retry_after_is_waited_for(client: VideoClient, renderer: Renderer) -> None:
    renderer.faults([{"on": "retrieve", "do": "status:429", "headers": {"Retry-After": "1"}}])
    started = monotonic()
    await watcher_of(client).wait(await begin(client), poll_interval_seconds=0.05)
    assert monotonic() - started > 1.0


async def test_a_status_nobody_knows_is_waited_out_and_is_no_success(
    client: VideoClient, renderer: Renderer
) -> None:
    renderer.faults([{"on": "retrieve", "do": "unknown_status", "times": None}])
    with pytest.raises(RenderTimeoutError, match="dreaming"):
        await watcher_of(client).wait(
            await begin(client), timeout_seconds=0.5, poll_interval_seconds=0.05
        )


async def test_a_deadline_leaves_the_job_to_be_waited_for_again(
    client: VideoClient, start_renderer: StartRenderer
) -> None:
    renderer = start_renderer(min_render_seconds=0.6)
    client = VideoClient(remote(renderer.base_url))
    video_id = await begin(client)
    with pytest.raises(RenderTimeoutError, match="prefect-sora resume") as caught:
        await watcher_of(client).wait(video_id, timeout_seconds=0.2, poll_interval_seconds=0.05)
    assert (caught.value.video_id, caught.value.paid) == (video_id, "yes")
    assert isinstance(caught.value, TimeoutError)
    again = await watcher_of(client).wait(video_id, poll_interval_seconds=0.05)
    assert again.status == "completed"
    await client.close()


async def test_a_number_of_polls_is_another_way_to_say_the_deadline(
    client: VideoClient, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "stall"}])
    with pytest.raises(RenderTimeoutError, match=r"within 0\.4 s"):
        await watcher_of(client).wait(
            await begin(client), poll_interval_seconds=0.1, max_poll_attempts=4
        )


async def test_an_id_the_server_does_not_know_ends_the_wait(client: VideoClient) -> None:
    with pytest.raises(VideoNotFoundError, match="Check the id"):
        await watcher_of(client).wait("video_nobody", poll_interval_seconds=0.05)


async def test_a_wrong_key_ends_the_wait_at_once(start_renderer: StartRenderer) -> None:
    renderer = start_renderer(api_key="right")
    client = VideoClient(remote(renderer.base_url))
    with pytest.raises(AuthenticationError, match="api_key"):
        await watcher_of(client).wait("video_1", poll_interval_seconds=0.05)
    await client.close()


async def test_a_server_that_cannot_list_is_asked_for_each(
    client: VideoClient, renderer: Renderer
) -> None:
    renderer.faults([{"on": "list", "do": "status:405", "times": None}])
    ids = [await begin(client, f"kite {n}") for n in range(4)]
    watcher = watcher_of(client)
    videos = await asyncio.gather(*(watcher.wait(i, poll_interval_seconds=0.05) for i in ids))
    assert [v.status for v in videos] == ["completed"] * 4
    assert len(renderer.requests("list")) == 1


async def test_the_renderer_may_die_and_come_back_while_we_wait(
    start_renderer: StartRenderer, tmp_path: Path
) -> None:
    renderer = start_renderer(min_render_seconds=0.5)
    client = VideoClient(remote(renderer.base_url))
    video_id = await begin(client)
    waiting = asyncio.create_task(watcher_of(client).wait(video_id, poll_interval_seconds=0.05))
    await asyncio.sleep(0.1)  # into the middle of the wait
    await asyncio.to_thread(renderer.restart)
    assert (await waiting).status == "completed"
    await client.close()


def test_one_watcher_serves_a_client() -> None:
    client = VideoClient(remote("http://127.0.0.1:9/v1"))
    assert watcher_of(client) is watcher_of(client)
    assert isinstance(watcher_of(client), Watcher)
