"""Resume: carry an unfinished render home, from its records alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import time

from prefect_sora.errors import (
    InvalidRequestError,
    Paid,
    RenderFailedError,
    SoraError,
    VideoExpiredError,
)
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.renders.finish.expiry import forgotten
from prefect_sora.renders.finish.keep import keep
from prefect_sora.renders.finish.options import WaitOptions
from prefect_sora.renders.finish.polling import OnProgress
from prefect_sora.renders.finish.wait import ANOTHER_ACCOUNT, ASK_WITH_ITS_KEY, wait
from prefect_sora.renders.submit.adopt import adopt, recover
from prefect_sora.renders.submit.attempt import Attempt, asked_for
from prefect_sora.renders.submit.options import Budget, RenderOptions, budget_of
from prefect_sora.renders.submit.prepare import PreparedVideo
from prefect_sora.renders.submit.submit import submit
from prefect_sora.requests.reference import prepare
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.identity import request_digest
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import Failed, RenderState


async def resume(
    state: RenderState,
    client: VideoClient,
    ledger: Ledger,
    options: WaitOptions | None = None,
    *,
    adopt_video_id: str | None = None,
    resubmit: bool = False,
    budget: Budget | None = None,
    on_progress: OnProgress | None = None,
) -> StoredVideo:
    """Bring one render home; nothing is paid unless `resubmit` says so.

    Args:
        state: Where it stands, from the ledger.
        client: The server that it was sent to.
        ledger: The store's records.
        options: How long to wait for it; None: the defaults.
        adopt_video_id: The video that a person found at the server.
        resubmit: Pay again where it is not known to be accepted, has failed, or is forgotten
            by the server.
        budget: What may be spent on that. An amount that it does not give is the one that the
            render was sent under; a budget that it was not sent under does not count.
        on_progress: Hears of each change at the server.

    Raises:
        UncertainSubmitError: Nobody can tell whether it was accepted.
        BudgetExceededError: The budget does not allow to pay again; nothing was sent.
        RenderFailedError: It ended without a video, or was never accepted.
        SoraError: As waiting and keeping say.
    """

    async def home(job: VideoJob) -> StoredVideo:
        video = await wait(job, client, ledger, options, on_progress=on_progress)
        return await keep(video, client, ledger)

    if state.stored:
        return state.stored.video
    job = await take_up(
        state, client, ledger, adopt_video_id=adopt_video_id, resubmit=resubmit, budget=budget
    )
    again = resubmit and state.accepted is not None and job == state.accepted.job
    try:
        return await home(job)
    except VideoExpiredError as error:
        if not (again and state.reserved):
            raise
        attempt = Attempt(state.reserved, state.folder, client, ledger)
        await _forget(job, ledger, error)
        with ledger.about(state.key):
            job = await _sent_again(attempt, "yes", budget)
    return await home(job)


async def take_up(
    state: RenderState,
    client: VideoClient,
    ledger: Ledger,
    *,
    adopt_video_id: str | None = None,
    resubmit: bool = False,
    budget: Budget | None = None,
) -> VideoJob:
    """Find the job of a render that is not kept, so that it can be waited for.

    Raises:
        SoraError: As `resume` says, but for waiting and keeping.
    """
    paid = _paid(state)
    with ledger.about(state.key):
        _check(state, client, paid)
        if adopt_video_id:
            with _knowing(paid):
                return await adopt(state, client, ledger, adopt_video_id)
        if state.failed and not resubmit:
            raise state.failed.error()
        stands = state.accepted if not state.failed else None
        if stands and not (resubmit and await _is_forgotten(state, client, ledger)):
            return stands.job
        if resubmit and state.reserved:
            attempt = Attempt(state.reserved, state.folder, client, ledger)
            return await _sent_again(attempt, paid, budget)
        with _knowing(paid):
            found = await recover(state, client, ledger)
        if found is None:
            raise RenderFailedError(
                "The server never accepted this render.",
                next_step=(
                    NextStep("again", scope=state.reserved.scope if state.reserved else None),
                    NextStep("resubmit"),
                ),
            )
        return found


def _check(state: RenderState, client: VideoClient, paid: Paid) -> None:
    """Refuse what is no video, what no record tells of, and what was sent to another server."""
    if state.is_image:
        raise InvalidRequestError(
            "It is a picture, and no video.",
            paid=paid,
            next_step="`prefect_sora.renders.images.resume.resume` brings it home.",
        )
    if state.reserved is None and state.accepted is None:
        raise InvalidRequestError(
            "The store holds no readable record of this render.",
            paid=paid,
            next_step=NextStep("again"),
        )
    if state.reserved and state.reserved.server != client.server.identity:
        raise InvalidRequestError(
            f"This render was sent to {state.reserved.provider}, not to {client.server.label}.",
            paid=paid,
            next_step="Name that server with --provider.",
        )


def _paid(state: RenderState) -> Paid:
    """Say what the records know of the money."""
    if state.failed:
        return state.failed.paid
    return "yes" if state.accepted else "unknown"


@contextmanager
def _knowing(paid: Paid) -> Iterator[None]:
    """Add what the records know of a payment to an error that knows nothing of it."""
    try:
        yield
    except SoraError as error:
        if error.paid == "no":
            error.about(paid=paid)
        raise


async def _is_forgotten(state: RenderState, client: VideoClient, ledger: Ledger) -> bool:
    """Close an attempt whose job the server no longer knows; one that it knows is waited for.

    Raises:
        InvalidRequestError: It is another account's, so nothing can be learnt about it here.
    """
    assert state.accepted is not None  # noqa: S101 - an accepted one is asked for
    job = state.accepted.job
    error = await forgotten(job.video_id, client)
    if error is None:
        return False
    if state.reserved and client.server.is_account(state.reserved.account) is False:
        raise InvalidRequestError(
            f"{error.message} {ANOTHER_ACCOUNT}", next_step=ASK_WITH_ITS_KEY
        ) from None
    await _forget(job, ledger, error)
    return True


async def _forget(job: VideoJob, ledger: Ledger, error: SoraError) -> None:
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


async def _sent_again(last: Attempt, paid: Paid, budget: Budget | None) -> VideoJob:
    """Send once more what an attempt was to make, under the budget that it was sent under."""
    with _knowing(paid):
        prepared = await _prepare_again(last)
        options = RenderOptions(
            prepared.scope, in_doubt="resubmit", budget=budget_of(last.reserved, budget)
        )
        return await submit(prepared, last.client, last.ledger, options)


async def _prepare_again(last: Attempt) -> PreparedVideo:
    """Rebuild what was asked for; the reference must still be the same picture."""
    reserved = last.reserved
    picture = {"reference": reserved.reference} if reserved.reference else {}
    request = asked_for(reserved, lambda fields: VideoRequest.model_validate({**fields, **picture}))
    reference = None
    if reserved.reference_sha256:
        if request.reference is None:
            raise InvalidRequestError(
                "The reference image was given as bytes, which the records do not hold.",
                key=reserved.key,
                next_step="Run it again with the same picture and the same scope.",
            )
        options = last.ledger.store.options_of(request.reference)
        reference = await prepare(request.reference, request.pixels, request.fit, options=options)
        if reference.source_sha256 != reserved.reference_sha256:
            raise InvalidRequestError(
                f"{reserved.reference} is another picture than the one that was sent.",
                key=reserved.key,
                next_step="Run it again with the same picture and the same scope.",
            )
    return PreparedVideo(
        request=request,
        reference=reference,
        scope=reserved.scope,
        fingerprint=reserved.fingerprint,
        request_digest=request_digest(request, last.client.server, reserved.reference_sha256),
        folder=last.folder,
        parent_key=reserved.parent_key,
    )
