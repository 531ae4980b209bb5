"""Progress: how long such renders took before, for servers that tell nothing of their progress.

What is shown so is an estimate, and marked as one; it decides nothing.
"""

import asyncio
import hashlib
import inspect
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import time
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from prefect_sora.errors import SoraError
from prefect_sora.handles import VideoJob
from prefect_sora.limits import limits
from prefect_sora.renders.finish.polling import OnProgress
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.video_object import Video
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import read_record

log = logging.getLogger(__name__)

MOST_PERCENT: Final = 95.0
"""The most that an estimate shows: the server alone says that a job is finished. Ours."""


class Pace(BaseModel):
    """How long renders of one kind take on one server, from acceptance to their end."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    seconds: float = Field(gt=0)
    renders: int = Field(default=1, ge=1)


@asynccontextmanager
async def estimating(
    job: VideoJob, client: VideoClient, ledger: Ledger, on_progress: OnProgress | None
) -> AsyncIterator[OnProgress | None]:
    """Give a callback for a job's progress that adds estimates between the server's answers.

    Args:
        job: The job that is waited for.
        client: Who renders it. Where it tells its progress, nothing is estimated.
        ledger: The store, which remembers how long such renders took.
        on_progress: Who wants to hear.
    """
    if client.server.profile.progress == "percent" or on_progress is None:
        yield on_progress
        return
    pace = await _usual(job, client, ledger)
    if pace is None:
        yield on_progress
        return
    latest: Video | None = None

    async def tell(video: Video) -> None:
        result = on_progress(video)
        if inspect.isawaitable(result):
            await result

    async def hear(video: Video) -> None:
        nonlocal latest
        latest = video
        await tell(video)

    async def tick() -> None:
        while True:
            await asyncio.sleep(limits().estimate_tick_seconds)
            if latest is None or latest.status not in ("queued", "in_progress", "unknown"):
                continue
            share = (time() - job.submitted_at) / pace.seconds
            try:
                await tell(latest.estimated(min(MOST_PERCENT, max(0.0, share * 100))))
            except Exception as error:  # who listens must not end the wait
                log.debug("An estimate was not heard: %s", error)

    ticking = asyncio.create_task(tick(), name="prefect-sora estimates")
    try:
        yield hear
    finally:
        ticking.cancel()
        await asyncio.wait([ticking])


async def remember(job: VideoJob, video: Video, client: VideoClient, ledger: Ledger) -> None:
    """Record how long a finished job took, if the store allows it."""
    if client.server.profile.progress == "percent":
        return
    ended, began = video.completed_at or time(), video.created_at or job.submitted_at
    took = ended - began
    if took <= 0:
        return
    before = await _usual(job, client, ledger)
    count = min(before.renders + 1 if before else 1, limits().estimate_renders)
    mean = before.seconds + (took - before.seconds) / count if before else took
    try:
        pace = Pace(seconds=max(mean, 0.001), renders=count)
        # Of several at once the last one stands: it is a mean of few either way.
        await ledger.store.put(_name(job, client), pace.model_dump_json().encode())
    except SoraError as error:
        log.debug("How long it took is not remembered: %s", error)


async def _usual(job: VideoJob, client: VideoClient, ledger: Ledger) -> Pace | None:
    name = _name(job, client)
    try:
        return read_record(Pace, await ledger.store.read(name), name)
    except SoraError as error:
        log.debug("How long it takes is not known: %s", error)
        return None


def _name(job: VideoJob, client: VideoClient) -> str:
    alike = [client.server.identity, job.kind, job.model, job.size, job.seconds]
    return f".paces/{hashlib.sha256(json.dumps(alike).encode()).hexdigest()[:32]}.json"
