"""Cancel: what becomes of a job at the server when nobody is to wait for it any more."""

import asyncio
import logging
from time import time
from typing import Final, Literal

from prefect_sora.client import VideoClient
from prefect_sora.errors import SoraError
from prefect_sora.handles import VideoJob
from prefect_sora.ledger import Ledger
from prefect_sora.records import Failed
from prefect_sora.server import Server

log = logging.getLogger(__name__)

OnCancel = Literal["leave", "delete"]
"""`leave`: it goes on, and the next run takes it up. `delete`: it is deleted, and lost to all."""

CANCEL_SECONDS: Final = 5.0
"""How long a cancelled wait may take to delete its job: less than those give who stop us. Ours."""


async def give_up(job: VideoJob, client: VideoClient, ledger: Ledger) -> None:
    """Delete a job and close its attempt, so that it is submitted anew; as well as may be.

    Where that fails the records stay as they are: the job can be resumed.
    """
    # A task of its own: being cancelled once more ends the waiting for it, not the work.
    work = asyncio.create_task(_give_up(job, client.server, ledger), name="prefect-sora delete")
    await asyncio.wait([work], timeout=CANCEL_SECONDS)


async def _give_up(job: VideoJob, server: Server, ledger: Ledger) -> None:
    record = Failed(
        key=job.key,
        attempt=job.attempt,
        at=time(),
        kind="failed",
        message="It was deleted at the server because its run was cancelled.",
        video_id=job.video_id,
        paid="no" if job.cost_usd == 0 else "unknown",
    )
    client = VideoClient(server)  # where all is cancelled at once, the shared one is closed first
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
