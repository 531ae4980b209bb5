"""One attempt's records: accepted under a video id, or closed without one."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import time
from typing import Final, TypeVar

from prefect_sora.errors import (
    ApiError,
    ModerationError,
    RateLimitError,
    RenderTimeoutError,
    SoraError,
    StorageError,
    UnavailableError,
)
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.handles import VideoJob
from prefect_sora.ledger import Ledger
from prefect_sora.records import Failed, RenderState, Reserved
from prefect_sora.requests import VideoRequest
from prefect_sora.server import Server
from prefect_sora.spending import take_back
from prefect_sora.wire import Video

log = logging.getLogger(__name__)

RECORD_PAUSES_SECONDS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""How long a store that fails is given to take down a paid video id. Ours."""

_T = TypeVar("_T")


async def accept(
    mine: Reserved,
    folder: str,
    video: Video,
    server: Server,
    ledger: Ledger,
    *,
    adopted: bool,
) -> VideoJob:
    """Make the video id durable: from here on the render is found again."""
    request = VideoRequest.model_validate(mine.request)
    size = request.size or video.size
    seconds = _seconds(video) if request.kind != "create" else request.seconds
    job = VideoJob(
        key=mine.key,
        attempt=mine.attempt,
        folder=folder,
        video_id=video.id,
        provider=server.label,
        title=request.title,
        model=server.model_for(request.model) or video.model,
        take=request.take,
        parent_key=mine.parent_key,
        kind=request.kind,
        size=size,
        seconds=seconds,
        submitted_at=video.created_at or mine.at,
        adopted=adopted,
        cost_usd=_cost(request, video, server, size, seconds),
    )
    job = await recorded(lambda: ledger.accept(folder, job), video.id, mine.key)
    return job if adopted else job.model_copy(update={"sent_here": True})


async def recorded(write: Callable[[], Awaitable[_T]], video_id: str, key: str) -> _T:
    """Write down a video id that was paid for, through a store that fails for a while.

    Raises:
        StorageError: It went on failing; the id stands in the error, so that it is not lost.
    """
    for pause_s in RECORD_PAUSES_SECONDS:
        try:
            return await write()
        except StorageError as error:
            log.warning(
                "Video %s of render %s is not recorded yet: %s", video_id, key, error.message
            )
            await asyncio.sleep(pause_s)
    try:
        return await write()
    except StorageError as error:
        error.advise(
            f"The server has it as video {video_id}: run the same again when the store works.",
            NextStep("adopt", video_id=video_id),
        )
        error.about(key=key, video_id=video_id, paid="yes")
        raise


async def refuse(
    error: SoraError, mine: Reserved, folder: str, ledger: Ledger, *, keep_charge: bool = False
) -> SoraError:
    """Close the attempt: it is certain that nothing was accepted.

    Args:
        error: Why.
        mine: Its reservation.
        folder: The render's.
        ledger: The store's records.
        keep_charge: Whether its charge is left for the attempt that follows.
    """
    error.about(key=mine.key, paid="no")
    record = Failed(
        key=mine.key,
        attempt=mine.attempt,
        at=time(),
        kind="moderated" if isinstance(error, ModerationError) else "refused",
        message=error.message,
        code=error.code if isinstance(error, (ApiError, ModerationError)) else None,
    )
    try:
        await ledger.fail(folder, record, mine)
    except StorageError as lost:
        # What the caller has to hear is the refusal; without its record it is looked up again.
        log.warning("That render %s was refused is not recorded: %s", mine.key, lost)
    if not keep_charge:
        await take_back(mine, ledger.store)
    return error


def is_busy(error: SoraError) -> bool:
    """Whether a server refused for the moment, before any work, and may be asked again."""
    if isinstance(error, UnavailableError):
        return error.status == 503 and not error.never_sent
    return isinstance(error, RateLimitError)


def another_worker_holds_it(state: RenderState) -> RenderTimeoutError:
    """Say that a live worker is between its reservation and its record."""
    return RenderTimeoutError(
        "Another worker is submitting this render and has not finished.",
        key=state.key,
        paid="unknown",
        next_step=(NextStep("again"), NextStep("resume")),
    )


def _cost(
    request: VideoRequest, video: Video, server: Server, size: str | None, seconds: int | None
) -> float | None:
    if request.kind == "existing":
        return 0.0 if server.local else None  # paid by whoever rendered it
    # What an extension adds is charged, and not what was there.
    charged = request.seconds if request.kind == "extend" else seconds
    return server.cost_usd(request.model or video.model, size, charged)


def _seconds(video: Video) -> int | None:
    try:
        return int(float(video.seconds or ""))
    except ValueError:
        return None
