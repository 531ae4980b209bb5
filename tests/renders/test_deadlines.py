"""Deadlines: a longer, larger or better clip is given more time, unless somebody says how much."""

import asyncio
import math
from typing import Any

import pytest

from prefect_sora.errors import RateLimitError, RenderTimeoutError
from prefect_sora.renders.finish.options import WaitOptions, deadline_seconds
from prefect_sora.renders.finish.wait import wait
from prefect_sora.renders.finish.watcher import Watcher
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.video_object import Video
from prefect_sora.store.ledger import Ledger
from tests.support.renderer import Renderer
from tests.support.renders import POLLING, clip, go, render


@pytest.mark.parametrize(
    ("model", "size", "seconds", "deadline"),
    [
        ("sora-2", "1280x720", 8, 600),
        ("sora-2", "720x1280", 4, 600),
        ("sora-2", "1280x720", 12, 900),
        ("sora-2", "1920x1080", 8, 1350),
        ("sora-2-pro", "1280x720", 8, 1800),
        ("sora-2-pro-2025-10-06", "1280x720", 8, 1800),
        ("openai/sora-2-pro", "1920x1080", 20, 10_125),
        ("sora-2-pro", "64x64", 1, 600),
        ("prototype", "1280x720", 8, 600),
        ("improved-video", "1280x720", 8, 600),
        (None, None, None, 600),
        ("sora-2-pro", None, None, 1800),
        ("wan", "8192x8192", 3600, 86_400),
        ("wan", "large", 16, 1200),
    ],
)
def test_a_deadline_scales_with_length_pixels_and_model(
    model: str | None, size: str | None, seconds: float | None, deadline: float
) -> None:
    assert deadline_seconds(model, size, seconds) == pytest.approx(deadline)


@pytest.fixture
def told(client: VideoClient, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the client's watcher was told of each wait."""
    waits: list[dict[str, Any]] = []

    class Listening(Watcher):
        async def wait(self, video_id: str, **options: Any) -> Video:
            waits.append(options)
            return await super().wait(video_id, **options)

    client.watcher = Listening(client)
    return waits


async def test_without_a_timeout_a_wait_has_the_clips_own_and_with_one_that(
    client: VideoClient, ledger: Ledger, told: list[dict[str, Any]]
) -> None:
    pace: dict[str, Any] = {"poll_interval_seconds": 0.05}
    await render(clip(), client, ledger, "a", **pace)
    await render(clip(take=2), client, ledger, "a", timeout_seconds=30, **pace)
    job = await go(client, ledger, clip(take=3), "a")
    long = job.model_copy(update={"model": "x-pro", "size": "1280x720", "seconds": 16})
    await wait(long, client, ledger, POLLING)
    assert [w["timeout_seconds"] for w in told] == [600, 30, 3600]


async def test_polls_that_were_counted_are_the_deadline_by_themselves(
    client: VideoClient, ledger: Ledger, renderer: Renderer, told: list[dict[str, Any]]
) -> None:
    renderer.faults([{"on": "create", "do": "stall"}])
    job = await go(client, ledger)
    options = WaitOptions(poll_interval_seconds=0.1, max_poll_attempts=2)
    with pytest.raises(RenderTimeoutError, match=r"within 0\.2 s"):
        await wait(job, client, ledger, options)
    assert told[0]["timeout_seconds"] == math.inf


async def test_a_submission_is_put_off_no_longer_than_the_render_itself_may_take(
    client: VideoClient, ledger: Ledger, renderer: Renderer
) -> None:
    def put_off(seconds: int) -> None:
        renderer.faults(
            [{"on": "create", "do": "status:429", "headers": {"Retry-After": f"{seconds}"}}]
        )

    put_off(650)
    with pytest.raises(RateLimitError):
        await go(client, ledger)
    put_off(650)
    waiting = asyncio.create_task(go(client, ledger, clip(seconds=12, size="1280x720")))
    _, pending = await asyncio.wait([waiting], timeout=1)
    assert pending, "900 s are long enough for it"
    waiting.cancel()
    await asyncio.wait([waiting])
