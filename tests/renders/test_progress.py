"""Pace: where a server tells no progress, what such renders took before stands for it."""

from collections.abc import AsyncIterator

import pytest

from prefect_sora.renders.finish import progress as pacing
from prefect_sora.renders.finish.progress import MOST_PERCENT, estimating
from prefect_sora.renders.finish.wait import wait
from prefect_sora.servers.profiles import PROFILES
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.video_object import Video
from prefect_sora.servers.server import remote
from prefect_sora.store.ledger import Ledger
from tests.support.limits import Limit
from tests.support.renderer import Renderer, StartRenderer
from tests.support.renders import POLLING, clip, go


@pytest.fixture(autouse=True)
def quick(limit: Limit) -> None:
    limit(estimate_tick_seconds=0.02)


@pytest.fixture
def mute(start_renderer: StartRenderer) -> Renderer:
    """A server that tells nothing of its progress."""
    return start_renderer(dialect="tensorrt-llm", min_render_seconds=1.2)


@pytest.fixture
async def client(mute: Renderer) -> AsyncIterator[VideoClient]:
    client = VideoClient(remote(mute.base_url, profile=PROFILES["tensorrt-llm"]))
    yield client
    await client.close()


async def heard(client: VideoClient, ledger: Ledger, take: int) -> list[Video]:
    """Wait for one render, and return all that was told of it."""
    told: list[Video] = []
    job = await go(client, ledger, clip(take=take))
    await wait(job, client, ledger, POLLING, on_progress=told.append)
    return told


@pytest.mark.slow
async def test_the_second_render_shows_how_long_the_first_one_took_marked_as_an_estimate(
    client: VideoClient, disk: Ledger
) -> None:
    first = await heard(client, disk, take=1)
    assert not any(video.is_estimate for video in first)

    second = await heard(client, disk, take=2)
    shown = [video.progress or 0.0 for video in second if video.is_estimate]
    assert len(shown) > 3
    assert shown == sorted(shown)
    assert 0 < shown[-1] <= MOST_PERCENT
    assert second[-1].status == "completed"
    assert not second[-1].is_estimate


async def test_an_estimate_never_says_that_it_is_finished(
    client: VideoClient, disk: Ledger
) -> None:
    job = await go(client, disk)
    quick = Video.model_validate(
        {"id": "video_1", "status": "completed", "created_at": 1.0, "completed_at": 1.01}
    )
    await pacing.remember(job, quick, client, disk)
    told: list[Video] = []
    await wait(job, client, disk, POLLING, on_progress=told.append)
    estimates = {video.progress for video in told if video.is_estimate}
    assert estimates == {MOST_PERCENT}


async def test_a_server_that_tells_its_progress_is_taken_at_its_word(
    renderer: Renderer, disk: Ledger
) -> None:
    telling = VideoClient(remote(renderer.base_url, profile=PROFILES["openai"]))
    job = await go(telling, disk)

    def hear(video: Video) -> None:
        """Hear nothing."""

    async with estimating(job, telling, disk, hear) as given:
        assert given is hear
    await wait(job, telling, disk, POLLING)
    await telling.close()
    assert ".paces/" not in await disk.store.names()
