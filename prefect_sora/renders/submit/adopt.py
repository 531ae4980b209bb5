"""Adopt: resolve a render in doubt without paying for a new one."""

from prefect_sora.errors import InvalidRequestError, RejectedError
from prefect_sora.handles import VideoJob
from prefect_sora.renders.submit.attempt import Attempt, another_worker_holds_it
from prefect_sora.renders.submit.reconcile import find_accepted
from prefect_sora.renders.submit.send_window import doubt_of
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.video_object import Video
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import RenderState, Reserved


async def recover(state: RenderState, client: VideoClient, ledger: Ledger) -> VideoJob | None:
    """Find the job of a render in doubt at the server.

    Returns:
        Its job; None where it is shown that none was accepted, which closes the attempt.

    Raises:
        UncertainSubmitError: The server cannot tell.
        RenderTimeoutError: A live worker is submitting it right now.
    """
    if state.reserved is None:
        raise InvalidRequestError("Its reservation cannot be read.", key=state.key)
    if ledger.is_held(state.reserved):
        raise another_worker_holds_it(state)
    now = await ledger.state(state.folder)
    if now != state:
        return _decided(now)
    # The search runs under the reservation in doubt: a new one would add a file at each look.
    # Another worker that looks at the same time claims for the same render.
    doubted = state.reserved
    attempt = Attempt(doubted, state.folder, client, ledger)
    found: Video | None
    if doubted.request.get("kind") == "existing":  # nothing was to be paid
        found = await client.retrieve(str(doubted.request.get("source_video_id")))
    else:
        doubt = doubt_of(state, client.server.profile)
        found = await find_accepted(attempt, doubt)
    if found:
        return await attempt.accept(found, adopted=True)
    # A new attempt is closed: the one in doubt stays open to an answer that comes late.
    reserved = _next_attempt(state, doubted)
    if not await ledger.reserve(state.folder, reserved):
        return _decided(await ledger.state(state.folder))
    try:
        closed = Attempt(reserved, state.folder, client, ledger)
        await closed.refuse(RejectedError("The server never accepted it."))
    finally:
        ledger.release(reserved)
    return None


def _decided(now: RenderState) -> VideoJob | None:
    """Say what other workers have made of a render while this one looked.

    Raises:
        RenderTimeoutError: One of them is at work on it.
        RenderFailedError: It has ended.
    """
    if now.accepted and not now.failed:
        return now.accepted.job
    if now.failed and now.failed.kind != "refused":
        raise now.failed.error()
    if now.name == "reserved":
        raise another_worker_holds_it(now)
    return None


async def adopt(state: RenderState, client: VideoClient, ledger: Ledger, video_id: str) -> VideoJob:
    """Make a video that a person names the outcome of a render in doubt.

    Raises:
        VideoNotFoundError: The server does not know it.
        InvalidRequestError: Another render has it already.
    """
    if state.reserved is None:
        raise InvalidRequestError("This render was never begun.", key=state.key)
    video = await client.retrieve(video_id)
    holder = await ledger.claim(client.server.identity, video.id, state.key)
    if holder != state.key:
        raise InvalidRequestError(
            f"Another render of this store has this video ({holder}).",
            key=state.key,
            video_id=video_id,
        )
    reserved = _next_attempt(state, state.reserved)
    # The account that sees the video can fetch it.
    reserved = reserved.model_copy(update={"account": client.server.account})
    if not await ledger.reserve(state.folder, reserved):
        raise InvalidRequestError("Another worker has just taken this render up.", key=state.key)
    try:
        return await Attempt(reserved, state.folder, client, ledger).accept(video, adopted=True)
    finally:
        ledger.release(reserved)


def _next_attempt(state: RenderState, last: Reserved) -> Reserved:
    """Reserve once more; where this breaks off, the doubt keeps its age."""
    in_doubt = state.name == "reserved"
    return last.again(state.next_attempt, last.in_doubt_since if in_doubt else None)
