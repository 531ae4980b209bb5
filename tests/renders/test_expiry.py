"""Expiry: what the server forgets first is fetched first, and what it forgot is said to be gone."""

import asyncio
from pathlib import Path
from time import time

import pytest

from prefect_sora.errors import VideoExpiredError
from prefect_sora.handles import RenderedVideo
from prefect_sora.renders.finish import fetch as fetching
from prefect_sora.renders.finish.expiry import Turns, expired
from prefect_sora.renders.finish.keep import keep
from prefect_sora.renders.finish.wait import wait
from prefect_sora.renders.recovery.resume import resume
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from tests.media.test_mp4 import clip as mp4
from tests.support.renders import POLLING, clip, go
from tests.support.scripted import Jobs, Reply, Script

NOW = 1_790_000_000.0


def rendered(name: str, expires_in: float | None, submitted_at: float = NOW) -> RenderedVideo:
    return RenderedVideo(
        key="0123456789ab",
        folder=f"{name}-0123456789ab",
        video_id=name,
        provider="test",
        title=name,
        submitted_at=submitted_at,
        expires_at=None if expires_in is None else NOW + expires_in,
    )


@pytest.fixture
def disk(tmp_path: Path) -> Ledger:
    return Ledger(VideoFolder(str(tmp_path / "store")))


async def test_of_many_finished_videos_the_one_that_expires_first_is_fetched_first(
    scripted: Script, disk: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = Turns(at_once=1)
    monkeypatch.setattr(fetching, "Turns", lambda: turns)
    body = mp4("faststart")
    server, client = scripted(lambda *_: (200, {"Content-Type": "video/mp4"}, body))
    videos = [
        rendered("late", 4000),
        rendered("silent", None),  # counts as an hour from its submission
        rendered("soon", 60),
    ]
    async with turns.turn(rendered("another", 9000)):
        keeping_all = [asyncio.create_task(keep(video, client, disk)) for video in videos]
        async with asyncio.timeout(20):
            while len(turns._waiting) < len(videos):  # noqa: ASYNC110 - others' threads are at work
                await asyncio.sleep(0.01)
    await asyncio.gather(*keeping_all)
    fetched = [one.path.split("/")[3] for one in server.asked("GET", "/content")]
    assert fetched == ["soon", "silent", "late"]


async def test_a_download_that_is_cancelled_gives_its_turn_on() -> None:
    turns, done = Turns(at_once=1), []

    async def work(name: str, seconds: float) -> None:
        async with turns.turn(rendered(name, 60)):
            await asyncio.sleep(seconds)
            done.append(name)

    holding, waiting = (asyncio.create_task(work(name, 60)) for name in ("a", "b"))
    last = asyncio.create_task(work("c", 0))
    await asyncio.sleep(0)
    waiting.cancel()
    holding.cancel()
    await asyncio.wait_for(last, 5)
    await asyncio.wait_for(work("d", 0), 5)
    assert done == ["c", "d"]


def test_an_error_says_since_when_a_video_is_gone_and_only_of_the_past() -> None:
    gone = rendered("kite", None)
    past = gone.model_copy(update={"expires_at": 0.5})
    assert "it expired at 1970-01-01 00:00:00 UTC" in str(expired(past))
    early = gone.model_copy(update={"expires_at": time() + 1000})
    assert "expired at" not in str(expired(early))


async def test_a_job_that_expired_unfetched_is_paid_for_again_only_where_that_is_asked_for(
    scripted: Script, disk: Ledger
) -> None:
    jobs = Jobs(lose=0)
    body = mp4("faststart")

    def answer(method: str, path: str, sent: bytes) -> Reply:
        if path.endswith("/content"):
            return 200, {"Content-Type": "video/mp4"}, body
        return jobs(method, path, sent)

    server, client = scripted(answer)
    job = await go(client, disk)
    jobs.jobs[0]["status"] = "expired"

    for _ in range(2):
        with pytest.raises(VideoExpiredError, match=f"resume {job.key} --resubmit") as caught:
            await wait(job, client, disk, POLLING)
        assert (caught.value.key, caught.value.video_id) == (job.key, job.video_id)
        assert (caught.value.paid, caught.value.retryable) == ("yes", False)
    assert (await disk.state(job.folder)).name == "accepted"
    with pytest.raises(VideoExpiredError):
        await resume(await disk.state(job.folder), client, disk, POLLING)
    assert server.posts() == 1

    jobs.echo = {"status": "completed"}
    state = await disk.state(job.folder)
    stored = await resume(state, client, disk, POLLING, resubmit=True)
    assert (stored.attempt, server.posts()) == (2, 2)


async def test_a_finished_video_that_nobody_can_fetch_any_more_is_paid_for_again_where_asked_for(
    scripted: Script, disk: Ledger
) -> None:
    jobs, gone = Jobs(lose=0, echo={"status": "completed"}), True
    body = mp4("faststart")

    def answer(method: str, path: str, sent: bytes) -> Reply:
        if path.endswith("/content"):
            return (410, {}, {}) if gone else (200, {"Content-Type": "video/mp4"}, body)
        return jobs(method, path, sent)

    server, client = scripted(answer)
    job = await go(client, disk, clip())

    async def again(client: VideoClient) -> int:
        state = await disk.state(job.folder)
        stored = await resume(state, client, disk, POLLING, resubmit=True)
        return stored.attempt

    with pytest.raises(VideoExpiredError):
        await again(client)
    assert server.posts() == 2, "the other one was not there either, and it ended there"
    gone = False
    assert await again(client) == 2
    assert server.posts() == 2
