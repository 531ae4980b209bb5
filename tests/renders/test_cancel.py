"""Cancel: a wait that is stopped leaves its job, or deletes it where that was asked for."""

import asyncio
from dataclasses import replace
from time import monotonic

import pytest

from prefect_sora.errors import InvalidRequestError
from prefect_sora.handles import VideoJob
from prefect_sora.renders.finish.cancel import ByPerson, OnCancel, cancel
from prefect_sora.renders.finish.options import WaitOptions
from prefect_sora.renders.finish.wait import wait
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.renders.submit.prepare import identify
from prefect_sora.renders.submit.submit import submit
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.profiles import GENERIC
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from tests.support.limits import Limit
from tests.support.renderer import Renderer

KITE = VideoRequest(prompt="a red kite", model=None, size="64x64", seconds=1)


@pytest.fixture
def folder() -> VideoFolder:
    return VideoFolder("memory://cancelling")


async def begin(client: VideoClient, ledger: Ledger, scope: str) -> VideoJob:
    prepared = await identify(KITE, client, scope)
    return await submit(prepared, client, ledger, RenderOptions(scope))


async def somebody() -> bool:
    return True


async def nobody() -> bool:
    return False


async def stopped(
    job: VideoJob,
    client: VideoClient,
    ledger: Ledger,
    on_cancel: OnCancel,
    by_person: ByPerson | None = somebody,
) -> None:
    """Wait for a job, and be cancelled once the server has told of it."""
    told = asyncio.Event()
    waiting = asyncio.create_task(
        wait(
            job,
            client,
            ledger,
            WaitOptions(on_cancel=on_cancel),
            on_progress=lambda video: told.set(),
            by_person=by_person,
        )
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
    limit: Limit,
) -> None:
    limit(cancel_seconds=0.3)
    renderer.faults([{"on": "create", "do": "stall"}, {"on": "delete", "do": trouble}])
    job = await begin(client, ledger, trouble)
    started = monotonic()
    await stopped(job, client, ledger, "delete")
    assert monotonic() - started < 5
    assert (await ledger.state(job.folder)).name == "accepted"


async def raises() -> bool:
    raise RuntimeError("the API is gone")


async def hangs() -> bool:
    await asyncio.Event().wait()
    return True


@pytest.mark.parametrize("by_person", [None, nobody, raises, hangs])
async def test_a_job_is_left_where_nobody_is_known_to_have_cancelled(
    client: VideoClient,
    ledger: Ledger,
    renderer: Renderer,
    by_person: ByPerson | None,
    limit: Limit,
    caplog: pytest.LogCaptureFixture,
) -> None:
    limit(cancel_seconds=0.5)
    renderer.faults([{"on": "create", "do": "stall"}])
    job = await begin(client, ledger, f"left: {by_person}")
    await stopped(job, client, ledger, "delete", by_person)
    assert renderer.requests("delete") == []
    assert (await ledger.state(job.folder)).name == "accepted"
    command = f"`prefect-sora resume {job.key} --store"
    assert f"Video {job.video_id} goes on at test and counts as paid. Fetch it" in caplog.text
    assert command in caplog.text


async def test_a_video_that_was_finished_unseen_is_not_deleted(
    client: VideoClient, ledger: Ledger, renderer: Renderer
) -> None:
    renderer.faults([{"on": "retrieve", "do": "unknown_status"}])
    job = await begin(client, ledger, "unseen")

    async def once_it_is_finished() -> bool:
        await asyncio.to_thread(renderer.finished, job.video_id)
        return True

    await stopped(job, client, ledger, "delete", once_it_is_finished)
    assert renderer.requests("delete") == []
    assert (await ledger.state(job.folder)).name == "accepted"


async def test_a_job_that_another_run_submitted_is_not_deleted(
    client: VideoClient, ledger: Ledger, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "stall"}])
    sent = await begin(client, ledger, "shared")
    found = await begin(client, ledger, "shared")
    assert found == sent  # by what is written down of them
    await stopped(found, client, ledger, "delete")
    assert renderer.requests("delete") == []
    await stopped(sent, client, ledger, "delete")
    assert len(renderer.requests("delete")) == 1


async def test_where_a_server_is_not_known_to_stop_what_is_deleted_nothing_is(
    client: VideoClient, ledger: Ledger, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "stall"}])
    unknown = VideoClient(replace(client.server, profile=GENERIC))
    job = await begin(unknown, ledger, "unknown")
    await stopped(job, unknown, ledger, "delete")
    await unknown.close()
    assert renderer.requests("delete") == []


async def test_a_status_that_nobody_knows_may_be_that_of_a_finished_video(
    client: VideoClient, ledger: Ledger, renderer: Renderer
) -> None:
    renderer.faults([{"on": "retrieve", "do": "unknown_status", "times": None}])
    job = await begin(client, ledger, "dreaming")
    await stopped(job, client, ledger, "delete")
    with pytest.raises(InvalidRequestError, match="dreaming"):
        await cancel(job, client, ledger)
    assert renderer.requests("delete") == []
