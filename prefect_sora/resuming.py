"""Resume: carry an unfinished render home, from its records alone."""

from time import time
from typing import Any

from prefect_sora.client import VideoClient
from prefect_sora.errors import InvalidRequestError, RenderFailedError, VideoNotFoundError
from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.identity import request_digest
from prefect_sora.keeping import keep
from prefect_sora.ledger import Ledger
from prefect_sora.records import Failed, RenderState, Reserved
from prefect_sora.recovering import adopt, recover
from prefect_sora.references import prepare
from prefect_sora.rendering import wait
from prefect_sora.requests import VideoRequest
from prefect_sora.submitting import submit
from prefect_sora.wishes import Wish


async def resume(
    state: RenderState,
    client: VideoClient,
    ledger: Ledger,
    *,
    adopt_video_id: str | None = None,
    resubmit: bool = False,
    **waiting: Any,
) -> StoredVideo:
    """Bring one render home; nothing is paid unless `resubmit` says so.

    Args:
        state: Where it stands, from the ledger.
        client: The server that it was sent to.
        ledger: The store's records.
        adopt_video_id: The video that a person found at the server.
        resubmit: Pay again where it is not known to be accepted, has failed, or is forgotten
            by the server.
        waiting: As `rendering.wait` takes it.

    Raises:
        UncertainSubmitError: Nobody can tell whether it was accepted.
        RenderFailedError: It ended without a video, or was never accepted.
        SoraError: As waiting and keeping say.
    """
    if state.stored:
        return state.stored.video
    job = await take_up(state, client, ledger, adopt_video_id=adopt_video_id, resubmit=resubmit)
    rendered = await wait(job, client, ledger, **waiting)
    return await keep(rendered, client, ledger)


async def take_up(
    state: RenderState,
    client: VideoClient,
    ledger: Ledger,
    *,
    adopt_video_id: str | None = None,
    resubmit: bool = False,
) -> VideoJob:
    """Find the job of a render that is not kept, to wait for; as `resume` does, and says.

    Raises:
        SoraError: As `resume` says, but for waiting and keeping.
    """
    if state.reserved is None and state.accepted is None:
        raise InvalidRequestError(
            "The store holds no readable record of this render.",
            key=state.key,
            next_step="Run it again with the same scope.",
        )
    if state.reserved and state.reserved.server != client.server.identity:
        raise InvalidRequestError(
            f"This render was sent to {state.reserved.provider}, not to {client.server.label}.",
            key=state.key,
            next_step="Name that server with --provider.",
        )
    if adopt_video_id:
        return await adopt(state, client, ledger, adopt_video_id)
    if state.failed and not resubmit:
        raise state.failed.error()
    if (
        state.accepted
        and not state.failed
        and not (resubmit and await _is_forgotten(state.accepted.job, client, ledger))
    ):
        return state.accepted.job
    if resubmit and state.reserved:
        wish = await _wish_again(state.reserved, state.folder, client)
        return await submit(wish, client, ledger, in_doubt="resubmit")
    found = await recover(state, client, ledger)
    if found is None:
        raise RenderFailedError(
            "The server never accepted this render.",
            key=state.key,
            next_step="Run it again with the same scope, or "
            f"`prefect-sora resume {state.key} --resubmit`.",
        )
    return found


async def _is_forgotten(job: VideoJob, client: VideoClient, ledger: Ledger) -> bool:
    """Close an attempt whose job the server no longer knows; one that it knows is waited for."""
    try:
        await client.retrieve(job.video_id)
    except VideoNotFoundError as error:
        record = Failed(
            key=job.key,
            attempt=job.attempt,
            at=time(),
            kind="failed",
            message=f"The server has forgotten it. {error.message}",
            video_id=job.video_id,
            paid="yes",
        )
        await ledger.fail(job.folder, record)
        return True
    return False


async def _wish_again(reserved: Reserved, folder: str, client: VideoClient) -> Wish:
    """Rebuild what was asked for; the reference must still be the same picture."""
    request = VideoRequest.model_validate(
        {**reserved.request, **({"reference": reserved.reference} if reserved.reference else {})}
    )
    reference = None
    if reserved.reference_sha256:
        if request.reference is None:
            raise InvalidRequestError(
                "The reference image was given as bytes, which the records do not hold.",
                key=reserved.key,
                next_step="Run it again with the same picture and the same scope.",
            )
        reference = await prepare(request.reference, request.pixels, request.fit)
        if reference.source_sha256 != reserved.reference_sha256:
            raise InvalidRequestError(
                f"{reserved.reference} is another picture than the one that was sent.",
                key=reserved.key,
                next_step="Run it again with the same picture and the same scope.",
            )
    return Wish(
        request=request,
        reference=reference,
        scope=reserved.scope,
        fingerprint=reserved.fingerprint,
        request_digest=request_digest(request, client.server, reserved.reference_sha256),
        folder=folder,
        parent_key=reserved.parent_key,
    )
