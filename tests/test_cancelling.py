"""Cancel: a wait that is stopped leaves its job, or deletes it where that was asked for."""

import asyncio
from time import monotonic

import pytest

from prefect_sora.cancelling import OnCancel
from prefect_sora.client import VideoClient
from prefect_sora.handles import VideoJob
from prefect_sora.ledger import Ledger
from prefect_sora.rendering import wait
from prefect_sora.requests import VideoRequest
from prefect_sora.storage import VideoFolder
from prefect_sora.submitting import submit
from prefect_sora.wishes import identify
from tests.support.renderer import Renderer

KITE = VideoRequest(prompt="a red kite", model=None, size="64x64", seconds=1)


@pytest.fixture
def folder() -> VideoFolder:
    return VideoFolder("memory://cancelling")


async def begin(client: VideoClient, ledger: Ledger, scope: str) -> VideoJob:
    return await submit(await identify(KITE, client, scope), client, ledger)


async def stopped(job: VideoJob, client: VideoClient, ledger: Ledger, on_cancel: OnCancel) -> None:
    """Wait for a job, and be cancelled once the server has told of it."""
    told = asyncio.Event()
    waiting = asyncio.create_task(
        wait(job, client, ledger, on_progress=lambda video: told.set(), on_cancel=on_cancel)
    )
    await told.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_wait_that_is_cancelled_leaves_its_job_to_the_next(
    client: VideoClient, ledger: Ledger, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "stall"}])
    job = await begin(client, ledger, "left")
    await stopped(job, client, ledger, "leave")
    assert renderer.requests("delete") == []
    assert (await begin(client, ledger, "left")).video_id == job.video_id


async def test_on_request_it_deletes_its_job_and_a_rerun_submits_anew(
    client: VideoClient, ledger: Ledger, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "stall"}])
    job = await begin(client, ledger, "deleted")
    await stopped(job, client, ledger, "delete")

    (deleted,) = renderer.requests("delete")
    assert deleted["path"].endswith(job.video_id)
    failed = (await ledger.state(job.folder)).failed
    assert failed is not None
    assert "deleted at the server because its run was cancelled" in failed.message
    assert (await begin(client, ledger, "deleted")).attempt == 2


@pytest.mark.parametrize("trouble", ["status:500", "drop", "delay:60"])
async def test_a_job_that_cannot_be_deleted_stays_resumable_and_holds_nobody_up(
    client: VideoClient,
    ledger: Ledger,
    renderer: Renderer,
    trouble: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("prefect_sora.cancelling.CANCEL_SECONDS", 0.3)
    renderer.faults([{"on": "create", "do": "stall"}, {"on": "delete", "do": trouble}])
    job = await begin(client, ledger, trouble)
    started = monotonic()
    await stopped(job, client, ledger, "delete")
    assert monotonic() - started < 5
    assert (await ledger.state(job.folder)).name == "accepted"
