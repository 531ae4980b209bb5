"""Expiry: a server keeps its finished videos for a while, often for no more than an hour.

So of many videos to be fetched at once, those that expire first go first.
"""

import asyncio
import heapq
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from time import monotonic, time
from typing import Final

from prefect_sora.errors import DownloadError, SoraError, VideoExpiredError, VideoNotFoundError
from prefect_sora.errors.next_steps import NextStep, clock
from prefect_sora.handles import RenderedVideo, VideoJob
from prefect_sora.limits import limits
from prefect_sora.servers.not_found import ROUTE_ALIKE, Absence
from prefect_sora.servers.protocol.client import VideoClient

log = logging.getLogger(__name__)

USUAL_LIFE_SECONDS: Final = 3600.0
"""How long a finished video is kept where its server does not say: as OpenAI's guide has it."""


class Turns:
    """Lets a number of downloads go on at once; videos that expire first go first."""

    def __init__(self, at_once: int | None = None) -> None:
        self._free = limits().downloads_at_once if at_once is None else at_once
        self._order = count()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def turn(self, video: VideoJob) -> AsyncIterator[None]:
        """Wait for a turn, and pass it on afterwards."""
        if self._free:
            self._free -= 1
        else:
            mine = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (_ends_at(video), next(self._order), mine))
            try:
                await mine
            except asyncio.CancelledError:
                if mine.done() and not mine.cancelled():
                    self._give_on()  # it came in the same moment
                raise
        try:
            yield
        finally:
            self._give_on()

    def _give_on(self) -> None:
        while self._waiting:
            _, _, next_one = heapq.heappop(self._waiting)
            if not next_one.done():
                next_one.set_result(None)
                return
        self._free += 1


def _ends_at(video: VideoJob) -> float:
    known = video.expires_at if isinstance(video, RenderedVideo) else None
    return known or video.submitted_at + USUAL_LIFE_SECONDS


def expired(video: VideoJob) -> VideoExpiredError:
    """Say that a video was not fetched in time."""
    at = video.expires_at if isinstance(video, RenderedVideo) else None
    since = f": it expired at {clock(at)}" if at and at <= time() else ""
    return VideoExpiredError(
        f"The server no longer has this video{since}.",
        key=video.key,
        next_step=(
            "The server cannot give it any more.",
            NextStep("resubmit"),
            "So does a new take.",
        ),
    )


def fetch_again(video: VideoJob) -> NextStep:
    """Say how to fetch a video that the server still has, and until when."""
    expires_at = video.expires_at if isinstance(video, RenderedVideo) else None
    return NextStep("fetch", key=video.key, until=expires_at)


def not_fetched(error: SoraError, video: VideoJob, absence: Absence) -> DownloadError:
    """Say, when the last of several attempts has failed, that the video can still be fetched."""
    if absence.contradicted:
        error.message += f" {ROUTE_ALIKE}"
    failure = (
        error
        if isinstance(error, DownloadError)
        else DownloadError(f"The finished video could not be fetched. {error.message}")
    )
    failure.advise(fetch_again(video))
    return failure


async def forgotten(video_id: str, client: VideoClient) -> VideoNotFoundError | None:
    """Ask for a job until the server may be believed that it does not know the job.

    Replicas behind one address may each know their own jobs, so one such answer is not enough.

    Returns:
        The error that says so; None as soon as the job is known.

    Raises:
        ApiError: No such word, and no job either.
    """
    absence = Absence(client.server.profile.lost_after_s)
    pause_s = min(limits().absent_pause_seconds, absence.pace_s)
    while True:
        try:
            await client.retrieve(video_id, anew=absence.answers > 0)
        except VideoNotFoundError as error:
            if absence.missed(monotonic()):
                return error
            if absence.answers == 1:
                log.info("%s Asking on for %g s.", error.message, absence.lasting_s)
        else:
            return None
        await asyncio.sleep(pause_s)
