"""The way of a render, from a request to a kept video, in plain async Python."""

import asyncio
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import time
from typing import Any, Final

from prefect_sora.budgets import Budget
from prefect_sora.cancelling import ByPerson, OnCancel, give_up, leave
from prefect_sora.client import VideoClient
from prefect_sora.deadlines import deadline_seconds
from prefect_sora.deciding import Policy
from prefect_sora.errors import ModerationError, SoraError, VideoNotFoundError
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.expiry import expired
from prefect_sora.failures import Failure
from prefect_sora.handles import RenderedVideo, StoredVideo, VideoJob
from prefect_sora.keeping import keep, kept
from prefect_sora.ledger import Ledger
from prefect_sora.pacing import estimating, remember
from prefect_sora.records import Failed
from prefect_sora.render_options import RenderOptions
from prefect_sora.requests import VideoRequest
from prefect_sora.spending import take_back
from prefect_sora.submitting import submit
from prefect_sora.waiters import OnProgress
from prefect_sora.watcher import watcher_of
from prefect_sora.wire import Video
from prefect_sora.wishes import identify

ANOTHER_ACCOUNT: Final = (
    "It was submitted by another account than the one that asks, whose jobs are not shown here, "
    "so this proves nothing."
)
ASK_WITH_ITS_KEY: Final = "Ask with the key that it was submitted with."


async def wait(
    job: VideoJob,
    client: VideoClient,
    ledger: Ledger,
    *,
    timeout_seconds: float | None = None,
    poll_interval_seconds: float = 5.0,
    max_poll_attempts: int | None = None,
    stall_seconds: float | None = None,
    on_cancel: OnCancel = "leave",
    by_person: ByPerson | None = None,
    on_progress: OnProgress | None = None,
) -> RenderedVideo:
    """Wait until the server has finished the video; one that is kept is finished.

    Without a `timeout_seconds` the wait ends at the deadline that the clip's length, size and
    model give, or after `max_poll_attempts` polls where these are said.

    A wait that is cancelled leaves its job. With `on_cancel="delete"` it deletes one that is
    not finished, where `by_person` says that a person cancelled, and `submit` has just sent it.

    Raises:
        RenderFailedError: The job ended without a video. Its attempt is closed, so
            that submitting again makes a new one.
        ModerationError: It was refused by moderation; submitting again is of no use.
        VideoExpiredError: It was rendered, and nobody fetched it in time.
        RenderTimeoutError: The deadline passed; wait again with the same job.
        RenderStalledError: Nothing moved for `stall_seconds`; the same holds.
    """
    with _waiting_for(job, ledger):
        if job.stored or await ledger.is_kept(job.folder, job.attempt):
            return _rendered(job, None)
        try:
            async with estimating(job, client, ledger, on_progress) as hear:
                video = await watcher_of(client).wait(
                    job.video_id,
                    timeout_seconds=_limit(job, timeout_seconds, max_poll_attempts),
                    poll_interval_seconds=poll_interval_seconds,
                    max_poll_attempts=max_poll_attempts,
                    stall_seconds=stall_seconds,
                    on_progress=hear,
                )
        except asyncio.CancelledError:
            if on_cancel == "delete":
                await give_up(job, client, ledger, by_person)
            else:
                leave(job, ledger)
            raise
        except VideoNotFoundError as error:
            if await kept(job, client, ledger):
                return _rendered(job, None)
            reserved = await ledger.reservation(job.folder, job.attempt)
            if reserved and client.server.is_account(reserved.account) is False:
                error.message += f" {ANOTHER_ACCOUNT}"
                error.advise(ASK_WITH_ITS_KEY)
            raise
    if video.status != "completed":
        with ledger.about(job.key, job.video_id):
            raise await _close(job, video, ledger)
    await remember(job, video, client, ledger)
    return _rendered(job, video)


async def render(
    request: VideoRequest,
    client: VideoClient,
    ledger: Ledger,
    scope: str,
    *,
    parent_key: str | None = None,
    timeout_seconds: float | None = None,
    poll_interval_seconds: float = 5.0,
    stall_seconds: float | None = None,
    on_cancel: OnCancel = "leave",
    by_person: ByPerson | None = None,
    on_progress: OnProgress | None = None,
    in_doubt: Policy = "stop",
    budget: Budget | None = None,
    reference_options: Mapping[str, Any] | None = None,
) -> StoredVideo:
    """Render one request: pay for it at most once, and keep it.

    Without a `timeout_seconds` the deadline is that of `deadlines.deadline_seconds`.

    Raises:
        SoraError: As `submit`, `wait` and `keep` say.
    """
    wish = await identify(
        request, client, scope, parent_key=parent_key, reference_options=reference_options
    )
    options = RenderOptions(
        scope, timeout_seconds=timeout_seconds, in_doubt=in_doubt, budget=budget
    )
    job = await submit(wish, client, ledger, options)
    rendered = await wait(
        job,
        client,
        ledger,
        timeout_seconds=timeout_seconds,
        poll_interval_seconds=poll_interval_seconds,
        stall_seconds=stall_seconds,
        on_cancel=on_cancel,
        by_person=by_person,
        on_progress=on_progress,
    )
    return await keep(rendered, client, ledger)


def _limit(job: VideoJob, timeout_seconds: float | None, max_poll_attempts: int | None) -> float:
    if timeout_seconds is not None:
        return timeout_seconds
    if max_poll_attempts is not None:
        return math.inf  # the polls are the deadline
    return deadline_seconds(job.model, job.size, job.seconds)


def _rendered(job: VideoJob, video: Video | None) -> RenderedVideo:
    return RenderedVideo(
        **job.model_dump(exclude={"stored"}),
        stored=video is None,
        expires_at=video.expires_at if video else None,
    )


@contextmanager
def _waiting_for(job: VideoJob, ledger: Ledger) -> Iterator[None]:
    """Say of every error which paid render it is about, and how to wait on for it."""
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
    record = Failed(
        key=job.key,
        attempt=job.attempt,
        at=time(),
        kind="moderated" if moderated else "failed",
        message=f"The render ended without a video: {said}",
        code=failure.code,
        video_id=job.video_id,
        # What a server charges for a job that failed is its own affair, and few say so.
        paid="no" if video.is_free or job.cost_usd == 0 else "unknown",
    )
    with _waiting_for(job, ledger):
        await ledger.fail(job.folder, record)
        if video.is_free:
            reserved = await ledger.reservation(job.folder, job.attempt)
            if reserved:
                await take_back(reserved, ledger.store)
    return record.error()
