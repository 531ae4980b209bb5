"""Artifacts: what the Prefect UI shows of a render. A report that fails fails no render."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Any

from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    aupdate_progress_artifact,
)
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

from prefect_sora.errors.next_steps import NextStep
from prefect_sora.handles import StoredImage, StoredVideo, VideoJob
from prefect_sora.limits import limits
from prefect_sora.renders.batches.counts import Counts
from prefect_sora.renders.finish.cancel import left
from prefect_sora.renders.finish.polling import OnProgress
from prefect_sora.servers.protocol.video_object import Video
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from prefect_sora.tasks.flow_runs import in_a_deployed_run
from prefect_sora.tasks.listener import Listener
from prefect_sora.tasks.markdown import (
    code,
    cost,
    image_page,
    in_short,
    plain,
    size,
    table,
    video_page,
)

_listener: ContextVar[Listener | None] = ContextVar("prefect_sora_listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell `listener` of all renders that are run inside the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def listener() -> Listener | None:
    """The listener of the block we are in, if there is one."""
    return _listener.get()


Logger = logging.Logger | logging.LoggerAdapter[Any]


def logger() -> Logger:
    """The run's logger, whose lines the UI shows; outside of a run, the module's logger."""
    try:
        adapter: logging.LoggerAdapter[Any] | logging.Logger = get_run_logger()
    except MissingContextError:
        return logging.getLogger(__name__)
    return adapter


def submitted(job: VideoJob, ledger: Ledger) -> None:
    """Say where a submission stands; of a run that is killed, it is the last that is said."""
    if heard := _listener.get():
        heard.submitted(job)
    if job.stored:
        logger().info("Render %s is in the store already; nothing is sent.", job.key)
        return
    how = "found again at" if job.adopted else "accepted by"
    logger().info(
        "Render %s: %s %s as video %s, so it counts as paid. %s",
        job.key,
        how,
        job.provider,
        job.video_id,
        NextStep("resume", "If this run dies,", key=job.key, store=ledger.place).words(),
    )


@asynccontextmanager
async def told_if_cancelled(jobs: Sequence[VideoJob], ledger: Ledger) -> AsyncIterator[None]:
    """Say in the run's log, and on its page, what becomes of a job whose run is cancelled.

    A time-out of Prefect's cancels, too, and so does the end of a worker that can still say it.

    Args:
        jobs: The newest is meant; there may be none yet.
        ledger: The store's records.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        if jobs and not getattr(error, "__notes__", None):
            error.add_note(left(jobs[-1], ledger))
        said = " ".join(getattr(error, "__notes__", []))
        if in_a_deployed_run():
            said += " Retry this flow run to go on from here."
        if jobs:
            logger().warning("%s", said)
            # A task of its own: what cancels again ends the wait for it alone.
            page = asyncio.create_task(_show_what_is_left(jobs[-1], said))
            await asyncio.wait([page], timeout=limits().cancel_seconds)
        raise


async def _show_what_is_left(job: VideoJob, said: str) -> None:
    if not in_run():
        return
    facts = [("Video id", code(job.video_id)), ("Made by", plain(job.provider))]
    facts += [("Cost", cost(job)), ("Render key", code(job.key))]
    with harmless("What the server has of it is"):
        await acreate_markdown_artifact(
            key=f"video-{job.key}",  # the clip's own page takes its place when it is kept
            markdown=f"## {plain(job.title)}\n\n{plain(said)}\n\n{table(facts)}",
            description=plain(f"{job.title} · not kept yet"),
        )


def counted(counts: Counts) -> None:
    """Tell whoever listens how far a batch is."""
    if heard := _listener.get():
        heard.counted(counts)


@asynccontextmanager
async def progress_of(job: VideoJob, also: OnProgress | None = None) -> AsyncIterator[OnProgress]:
    """Show a job's progress as an artifact, at a bounded rate, while the block lasts."""
    artifact = None
    shown_at, latest, guessed = float("-inf"), 0.0, ""
    soon: asyncio.Task[None] | None = None
    has_page = in_run()

    async def show() -> None:
        nonlocal artifact, shown_at
        shown_at = monotonic()
        # A run's page shows only the first words of this for each artifact.
        description = plain(f"{guessed}{latest:.0f} % · {job.title} · video {job.video_id}")
        try:
            if artifact is None:
                artifact = await acreate_progress_artifact(latest, description=description)
            else:
                await aupdate_progress_artifact(artifact, latest, description)
        except Exception as error:
            logger().debug("No progress shown: %s", error)

    async def show_when_due() -> None:
        await asyncio.sleep(shown_at + limits().progress_seconds - monotonic())
        await show()

    async def tell(video: Video) -> None:
        nonlocal latest, soon, guessed
        guessed = "about " if video.is_estimate else ""
        # A hint, clamped and never falling: some servers send none, or start again at 0.
        latest = max(latest, min(max(video.progress or 0.0, 0.0), 100.0))
        completed = video.status == "completed"
        if not has_page or (completed and artifact is None):
            return
        if completed:
            latest = 100.0
            await _cancel(soon)
            await show()
        elif monotonic() - shown_at >= limits().progress_seconds:
            await show()
        elif soon is None or soon.done():  # else the last change might never be shown
            soon = asyncio.create_task(show_when_due())

    async def both(video: Video) -> None:
        if also is not None:
            result = also(video)
            if asyncio.iscoroutine(result):
                await result
        if heard := _listener.get():
            heard.progressed(job, video)
        await tell(video)

    try:
        yield both
    finally:
        await _cancel(soon)


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait([task])


async def show(video: StoredVideo, folder: VideoFolder) -> None:
    """Put the kept clip into the UI: a preview that moves, the clip itself, the facts."""
    if heard := _listener.get():
        try:
            heard.kept(video)
        except Exception as error:
            logger().warning("The clip is kept, but cannot be told of: %s", error)
    logger().info(
        "Kept %s (%s, %dx%d) at %s",
        video.video_id,
        size(video.size_bytes),
        video.width,
        video.height,
        video.url,
    )
    if video.differences:
        logger().warning("It is not as it was asked for: %s.", " and ".join(video.differences))
    if not in_run():
        return
    with harmless("The clip is"):
        await acreate_markdown_artifact(
            key=f"video-{video.key}",
            markdown=await video_page(video, folder),
            description=plain(in_short(video)),
        )


async def show_image(image: StoredImage, folder: VideoFolder) -> None:
    """Put kept pictures into the UI: small ones to look at, and the facts."""
    logger().info("Kept %d picture(s) of render %s at %s", len(image.files), image.key, image.url)
    if not in_run():
        return
    with harmless("The pictures are"):
        await acreate_markdown_artifact(
            key=f"image-{image.key}",
            markdown=await image_page(image, folder),
            description=plain(f"{image.title} · {image.width}x{image.height}"),
        )


def in_run() -> bool:
    """Whether a flow or a task runs here, in which something can be shown."""
    return bool(TaskRunContext.get() or FlowRunContext.get())


@contextmanager
def harmless(what_is: str) -> Iterator[None]:
    """Show something in the UI; where that fails, the log says so, and the run goes on.

    Args:
        what_is: How the warning begins: what is kept all the same.
    """
    try:
        yield
    except Exception as error:
        logger().warning("%s kept, but cannot be shown in the UI: %s", what_is, error)
