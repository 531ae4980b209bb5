"""Cancel: what becomes of a job at the server when nobody is to wait for it any more."""

import asyncio
from collections.abc import Awaitable, Callable
from time import time
from typing import Final, Literal

from prefect_sora.errors import InvalidRequestError
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.handles import VideoJob
from prefect_sora.limits import limits
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.identity import is_key
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import Failed

OnCancel = Literal["leave", "delete"]
"""`leave`: the job goes on, and the next run takes it up. `delete`: where a person cancelled the
run that submitted it, an unfinished job is deleted, and lost to all who wait for it."""

ByPerson = Callable[[], Awaitable[bool]]
"""Says whether a person cancelled. What cancels a wait may as well be a sibling that failed, a
time-out or a process that ends: the CancelledError is the same."""

_UNFINISHED: Final = ("queued", "in_progress")
"""What may be deleted: of an unknown status nobody can tell whether the video is there."""


async def cancel(job: VideoJob, client: VideoClient, ledger: Ledger) -> None:
    """Stop a job that is not finished, and close its attempt; it may be submitted anew.

    Raises:
        InvalidRequestError: It is finished, so that stopping it would lose what was paid
            for, or may be; or this server goes on rendering what is deleted.
        ApiError: The server refuses; the job is as it was.
        StorageError: It is deleted, and the store does not take this down.
    """
    server = client.server
    if server.profile.delete_stops is False:
        raise InvalidRequestError(
            f"The server {server.label} cannot stop a render: cancelling would save no money.",
            key=job.key,
            video_id=job.video_id,
            paid="yes",
            next_step=(NextStep("wait"), NextStep("delete", video_id=job.video_id)),
        )
    why = await _reason_to_keep(job, client, ledger)
    if why:
        raise InvalidRequestError(
            f"It cannot be cancelled. {why}",
            key=job.key,
            video_id=job.video_id,
            paid="yes",
            next_step=(
                NextStep("resume"),
                NextStep("delete", "To throw away what was paid for:", video_id=job.video_id),
            ),
        )
    await client.delete(job.video_id)
    await ledger.fail(job.folder, _deleted(job, "It was cancelled."))


async def job_named(word: str, client: VideoClient, ledger: Ledger) -> VideoJob:
    """Find the job of a render of this store, by its key or by the server's id of its video.

    Raises:
        InvalidRequestError: No render of this store has it.
        StorageError: The store cannot be read.
    """
    state = await ledger.named(word, client.server.identity)
    if state and state.stored:
        raise InvalidRequestError(
            f"It is finished and kept: {state.stored.video.url}. There is nothing to cancel.",
            key=state.key,
            paid="yes",
            next_step=NextStep("free", video_id=state.stored.video.video_id),
        )
    if state and state.accepted and word in (state.key, state.accepted.job.video_id):
        return state.accepted.job
    raise InvalidRequestError(
        f"No render of this store has the job {word}.",
        next_step=(
            f"Nothing was cancelled. {ledger.place} was looked at; --store names another store.",
            "`prefect-sora clips` lists what a store has.",
        ),
    )


async def id_of(word: str, ledger: Ledger) -> str:
    """Find the server's id of a video by its render's key; an id is taken as it is.

    Raises:
        InvalidRequestError: The store has no such render, or it was never accepted.
    """
    if not is_key(word):
        return word
    state = await ledger.named(word)
    if state and state.stored:
        return state.stored.video.video_id
    if state and state.accepted:
        return state.accepted.job.video_id
    raise InvalidRequestError(
        f"The store {ledger.place} has no accepted render {word}.",
        next_step="Name a render's key, or the server's id of a video.",
    )


async def give_up(
    job: VideoJob, client: VideoClient, ledger: Ledger, by_person: ByPerson | None
) -> str:
    """Delete a job that a person gave up, and close its attempt; in any doubt leave it.

    Args:
        job: What was waited for.
        client: Its server.
        ledger: The store's records, which stay as they are where it is left.
        by_person: Says whether a person cancelled; None where nobody can: then it is left.

    Returns:
        What became of it, in a sentence.
    """
    # A separate task: another cancellation ends the wait for it, not the work.
    work = asyncio.create_task(_give_up(job, client, ledger, by_person), name="prefect-sora delete")
    done, _ = await asyncio.wait([work], timeout=limits().cancel_seconds)
    return work.result() if done else left(job, ledger, "Whether it was deleted is not known.")


def left(job: VideoJob, ledger: Ledger, why: str | None = None) -> str:
    """Say that a job goes on though nobody waits for it, and how to get it.

    Args:
        job: The job.
        ledger: The store's records.
        why: Why it is left, where it was to be deleted.
    """
    resume = NextStep("resume", key=job.key, store=ledger.place).words()
    goes_on = f"Video {job.video_id} goes on at {job.provider} and counts as paid. {resume}"
    return f"{why} {goes_on}" if why else goes_on


async def _give_up(
    job: VideoJob, shared: VideoClient, ledger: Ledger, by_person: ByPerson | None
) -> str:
    record = _deleted(job, "It was deleted at the server because its run was cancelled.")
    # Where all is cancelled at once, the shared client is closed first.
    client = VideoClient(shared.server)
    begun = False
    try:
        async with asyncio.timeout(limits().cancel_seconds * 0.8):  # the rest is for the log
            why = await _reason_to_leave(job, client, ledger, by_person)
            if why is None:
                begun = True
                await client.delete(job.video_id)
                await ledger.fail(job.folder, record)
    except Exception as error:  # whoever is asked who cancelled may fail in any way
        said = str(error) or "no answer"
        why = f"It {'may not be' if begun else 'is not'} deleted: {said.rstrip('.')}."
    await client.close()
    if why:
        return left(job, ledger, why)
    return f"Video {job.video_id} is deleted: its run was cancelled."


async def _reason_to_leave(
    job: VideoJob, client: VideoClient, ledger: Ledger, by_person: ByPerson | None
) -> str | None:
    """Say why a job must not be deleted; None where it may."""
    if not job.sent_here:
        return "It is not deleted: this run has found it, and not submitted it."
    if client.server.profile.delete_stops is not True:
        return f"It is not deleted: {job.provider} is not known to stop what is deleted."
    if by_person is None or not await by_person():
        return "It is not deleted: no person has cancelled this run, as far as is known."
    return await _reason_to_keep(job, client, ledger)


async def _reason_to_keep(job: VideoJob, client: VideoClient, ledger: Ledger) -> str | None:
    """Look one last time whether a job is finished, or may be."""
    if job.stored or await ledger.stored(job.folder):
        return "It is kept already."
    video = await client.retrieve(job.video_id)
    if video.status in _UNFINISHED:
        return None
    if video.status == "completed":
        return "It is finished, and not yet fetched."
    return f"Its status is {video.raw_status!r}, so that it may be finished."


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
