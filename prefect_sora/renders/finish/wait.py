"""Wait: a job is waited for until its server has finished it, and a failed one is closed."""

import asyncio
import logging
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from time import time
from typing import Final

from prefect_sora.errors import ModerationError, SoraError, VideoNotFoundError
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.handles import RenderedVideo, VideoJob
from prefect_sora.renders.finish.cancel import ByPerson, give_up, left
from prefect_sora.renders.finish.expiry import expired
from prefect_sora.renders.finish.keep import kept
from prefect_sora.renders.finish.options import WaitOptions, deadline_seconds
from prefect_sora.renders.finish.polling import OnProgress
from prefect_sora.renders.finish.progress import estimating, remember
from prefect_sora.renders.finish.watcher import watcher_of
from prefect_sora.servers.costs.told import NOTHING, Told
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.error_bodies import Failure
from prefect_sora.servers.protocol.video_object import Video
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import Failed
from prefect_sora.store.spending_chain import take_back

log = logging.getLogger(__name__)

ANOTHER_ACCOUNT: Final = (
    "It was submitted by another account than the one that asks, whose jobs are not shown here, "
    "so this proves nothing."
)
ASK_WITH_ITS_KEY: Final = "Ask with the key that it was submitted with."


async def wait(
    job: VideoJob,
    client: VideoClient,
    ledger: Ledger,
    options: WaitOptions | None = None,
    *,
    by_person: ByPerson | None = None,
    on_progress: OnProgress | None = None,
) -> RenderedVideo:
    """Wait until the server has finished the video; one that is kept is finished.

    Args:
        job: What was submitted.
        client: Its server.
        ledger: The store's records.
        options: How long to wait, and what becomes of the job where the wait is cancelled;
            None: the defaults. With `on_cancel="delete"` a job is deleted that is not finished,
            that `submit` has just sent, and that a person has cancelled.
        by_person: Says whether a person cancelled; None where nobody can tell.
        on_progress: Hears of each change at the server.

    Raises:
        RenderFailedError: The job ended without a video. Its attempt is closed, so
            that submitting again makes a new one.
        ModerationError: It was refused by moderation; submitting again is of no use.
        VideoExpiredError: It was rendered, and nobody fetched it in time.
        RenderTimeoutError: The deadline passed; wait again with the same job.
        RenderStalledError: Nothing moved for `stall_seconds`; the same holds.
        CancelledError: The wait was cancelled; a note on it says what became of the job.
    """
    options = options or WaitOptions()
    with _waiting_for(job, ledger):
        if job.stored or await ledger.is_kept(job.folder, job.attempt):
            return _rendered(job)
        try:
            async with estimating(job, client, ledger, on_progress) as hear:
                with _hearing(job, client, ledger):
                    video = await watcher_of(client).wait(
                        job.video_id,
                        timeout_seconds=_limit(job, options),
                        poll_interval_seconds=options.poll_interval_seconds,
                        max_poll_attempts=options.max_poll_attempts,
                        stall_seconds=options.stall_seconds,
                        on_progress=hear,
                    )
        except asyncio.CancelledError as error:
            deletes = options.on_cancel == "delete"
            said = await give_up(job, client, ledger, by_person) if deletes else left(job, ledger)
            log.log(logging.WARNING if deletes else logging.INFO, "%s", said)
            error.add_note(said)
            raise
        except VideoNotFoundError as error:
            if await kept(job, client, ledger):
                return _rendered(job)
            reserved = await ledger.reservation(job.folder, job.attempt)
            if reserved and client.server.is_account(reserved.account) is False:
                error.message += f" {ANOTHER_ACCOUNT}"
                error.advise(ASK_WITH_ITS_KEY)
            raise
    if video.status != "completed":
        with ledger.about(job.key, job.video_id):
            raise await _close(job, video, ledger)
    await remember(job, video, client, ledger)
    keeps_s = client.server.profile.keeps_seconds
    until = video.expires_at or (job.submitted_at + keeps_s if keeps_s else None)
    return _rendered(job, until, is_kept=False, told=_told(job, video))


def _hearing(job: VideoJob, client: VideoClient, ledger: Ledger) -> AbstractContextManager[None]:
    """Ask at once for what another process has closed: the receiver of webhooks is quick."""
    webhooks = client.server.webhooks
    if webhooks is None or webhooks.url is None:
        return nullcontext()
    return ledger.told_of_closing(job.folder, partial(watcher_of(client).ask_now, job.video_id))


def _limit(job: VideoJob, options: WaitOptions) -> float:
    if options.timeout_seconds is not None:
        return options.timeout_seconds
    if options.max_poll_attempts is not None:
        return math.inf  # the polls are the deadline
    return deadline_seconds(job.model, job.size, job.seconds)


def _rendered(
    job: VideoJob, expires_at: float | None = None, *, is_kept: bool = True, told: Told = NOTHING
) -> RenderedVideo:
    said = {"actual_usd": told.usd, "cost_doubt": told.doubt} if told != NOTHING else {}
    known = {**job.model_dump(exclude={"stored"}), **said}
    return RenderedVideo(**known, stored=is_kept, expires_at=expires_at)


def _told(job: VideoJob, video: Video) -> Told:
    """What the server says that an ended job cost, as far as that can be; who renders it pays."""
    if job.kind == "existing":
        return NOTHING
    told = video.told.beside(job.cost_usd)
    if told.doubt:
        log.warning(
            "What video %s cost is taken as unknown: %s says %s.",
            *(job.video_id, job.provider, told.doubt),
        )
    return told


@contextmanager
def _waiting_for(job: VideoJob, ledger: Ledger) -> Iterator[None]:
    """Add to every error which paid render it is about, and how to wait on for it."""
    with ledger.about(job.key, job.video_id):
        try:
            yield
        except SoraError as error:
            if not (error.names_a_resume or isinstance(error, ModerationError)):
                error.advise(*error.steps, NextStep("wait"))
            error.about(key=job.key, paid="yes")
            raise


async def _close(job: VideoJob, video: Video, ledger: Ledger) -> SoraError:
    """Record that this attempt ended without a video, and say why."""
    if video.status == "expired":
        # It was rendered, and paid for: a person decides whether to pay again.
        return expired(job).about(video_id=job.video_id, paid="yes")
    failure = video.failure or Failure()
    said = failure.message or f"the server gave no reason (status {video.raw_status!r})"
    moderated = failure.is_moderation or "moderation" in video.raw_status
    code = f" ({failure.code})" if failure.code else ""
    told = _told(job, video)
    is_free = video.is_free and told.doubt is None
    doubt = f" What it says of the cost is not believed: {told.doubt}." if told.doubt else ""
    record = Failed(
        key=job.key,
        attempt=job.attempt,
        at=time(),
        kind="moderated" if moderated else "failed",
        message=ModerationError(said, code=failure.code).message
        if moderated
        else f"The render ended without a video{code}: {said}{doubt}",
        code=failure.code,
        video_id=job.video_id,
        # Few servers say what they charge for a job that failed.
        paid="no" if is_free or job.cost_usd == 0 else "yes" if told.usd else "unknown",
        actual_usd=told.usd,
    )
    with _waiting_for(job, ledger):
        await ledger.fail(job.folder, record)
        if is_free:
            reserved = await ledger.reservation(job.folder, job.attempt)
            if reserved:
                await take_back(reserved, ledger.store)
    return record.error()
