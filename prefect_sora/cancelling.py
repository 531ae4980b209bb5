"""Cancel: what becomes of a job at the server when nobody is to wait for it any more."""

import asyncio
import logging
from time import time
from typing import Final, Literal

from prefect_sora.client import VideoClient
from prefect_sora.errors import InvalidRequestError, SoraError
from prefect_sora.handles import VideoJob
from prefect_sora.ledger import Ledger
from prefect_sora.records import Failed

log = logging.getLogger(__name__)

OnCancel = Literal["leave", "delete"]
"""`leave`: it goes on, and the next run takes it up. `delete`: it is deleted, and lost to all."""

CANCEL_SECONDS: Final = 5.0
"""How long a cancelled wait may take to delete its job: less than those give who stop us. Ours."""


async def cancel(job: VideoJob, client: VideoClient, ledger: Ledger) -> None:
    """Stop a job that is not finished, and close its attempt; it may be submitted anew.

    Raises:
        InvalidRequestError: It is finished, so that stopping it would lose what was paid
            for; or this server goes on rendering what is deleted.
        ApiError: The server refuses; the job is as it was.
        StorageError: It is deleted, and the store does not take this down.
    """
    server = client.server
    if server.profile.delete_stops is False:
        raise InvalidRequestError(
            f"The {server.profile.name} server {server.label} renders on what is deleted: "
            "nothing is saved by it.",
            key=job.key,
            video_id=job.video_id,
            paid="yes",
            next_step="Let it finish and keep it, or delete it with delete_video.",
        )
    video = await client.retrieve(job.video_id)
    if job.stored or video.status == "completed":
        raise InvalidRequestError(
            "It is finished: to cancel it would lose what was paid for.",
            key=job.key,
            video_id=job.video_id,
            paid="yes",
            next_step=f"`prefect-sora resume {job.key}` keeps it; delete_video deletes it.",
        )
    await client.delete(job.video_id)
    await ledger.fail(job.folder, _deleted(job, "It was cancelled."))


async def give_up(job: VideoJob, client: VideoClient, ledger: Ledger) -> None:
    """Delete a job and close its attempt, so that it is submitted anew; as well as may be.

    Where that fails the records stay as they are: the job can be resumed.
    """
    # A task of its own: being cancelled once more ends the waiting for it, not the work.
    work = asyncio.create_task(_give_up(job, client, ledger), name="prefect-sora delete")
    await asyncio.wait([work], timeout=CANCEL_SECONDS)


async def _give_up(job: VideoJob, shared: VideoClient, ledger: Ledger) -> None:
    record = _deleted(job, "It was deleted at the server because its run was cancelled.")
    # Where all is cancelled at once, the shared one is closed first.
    client = VideoClient(shared.server)
    try:
        async with asyncio.timeout(CANCEL_SECONDS):
            await client.delete(job.video_id)
            await ledger.fail(job.folder, record)
    except (SoraError, TimeoutError) as error:
        log.warning("Video %s may not be deleted: %s", job.video_id, str(error) or "no answer")
    else:
        log.info("Video %s is deleted: its run was cancelled.", job.video_id)
    finally:
        await client.close()


def _deleted(job: VideoJob, message: str) -> Failed:
    return Failed(
        key=job.key,
        attempt=job.attempt,
        at=time(),
        kind="failed",
        message=message,
        video_id=job.video_id,
        paid="no" if job.cost_usd == 0 else "unknown",
    )
