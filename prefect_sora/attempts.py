"""One attempt's records: accepted under a video id, or closed without one."""

from time import time

from prefect_sora.errors import ApiError, ModerationError, RenderTimeoutError, SoraError
from prefect_sora.handles import VideoJob
from prefect_sora.ledger import Failed, Ledger, RenderState, Reserved
from prefect_sora.requests import VideoRequest
from prefect_sora.server import Server
from prefect_sora.wire import Video


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
    job = VideoJob(
        key=mine.key,
        attempt=mine.attempt,
        folder=folder,
        video_id=video.id,
        provider=server.label,
        title=request.title,
        model=request.model or video.model,
        take=request.take,
        parent_key=mine.parent_key,
        kind=request.kind,
        size=request.size or video.size,
        seconds=_seconds(video) if request.kind != "create" else request.seconds,
        submitted_at=video.created_at or mine.at,
        adopted=adopted,
    )
    return await ledger.accept(folder, job)


async def refuse(error: SoraError, mine: Reserved, folder: str, ledger: Ledger) -> SoraError:
    """Close the attempt: it is certain that nothing was accepted."""
    error.about(key=mine.key, paid="no")
    await ledger.fail(
        folder,
        Failed(
            key=mine.key,
            attempt=mine.attempt,
            at=time(),
            kind="moderated" if isinstance(error, ModerationError) else "refused",
            message=error.message,
            code=error.code if isinstance(error, (ApiError, ModerationError)) else None,
        ),
    )
    return error


def another_worker_holds_it(state: RenderState) -> RenderTimeoutError:
    """Say that a live worker is between its reservation and its record."""
    return RenderTimeoutError(
        "Another worker is submitting this render and has not finished.",
        key=state.key,
        paid="unknown",
        next_step=f"Run it again, or `prefect-sora resume {state.key}`.",
    )


def _seconds(video: Video) -> int | None:
    try:
        return int(float(video.seconds or ""))
    except ValueError:
        return None
