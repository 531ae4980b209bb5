"""Submit: the create request is sent once, and its video id is durable before anything else.

`identity → reserve → submit`, and after a crash or a lost answer `reconcile`:
look at the server for the job that may have been accepted, and adopt it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from time import time
from typing import Any, Final, Literal

from prefect_sora import catalogue
from prefect_sora.attempts import accept, another_worker_holds_it, recorded, refuse
from prefect_sora.client import CREATE_TIMEOUT_SECONDS, VideoClient
from prefect_sora.errors import (
    InvalidRequestError,
    RateLimitError,
    SoraError,
    UnavailableError,
    UncertainSubmitError,
)
from prefect_sora.handles import VideoJob
from prefect_sora.identity import KEY_DIGITS, fingerprint, folder_name, new_owner, request_digest
from prefect_sora.ledger import LEASE_SECONDS, Ledger, RenderState, Reserved
from prefect_sora.reconciling import find_accepted
from prefect_sora.references import Reference, prepare
from prefect_sora.requests import VideoRequest
from prefect_sora.wire import Video

log = logging.getLogger(__name__)

CONNECT_ATTEMPTS: Final = 4
"""How often a create that never left is tried: over about four seconds. Ours."""

SUBMIT_ROUNDS: Final = 3
"""How often one call sends a create that was shown not to have been accepted. Ours."""

Doubt = Literal["stop", "resubmit"]
"""What to do where a create may have been accepted and the server cannot tell."""


@dataclass(frozen=True)
class Wish:
    """A request with what its identity needs: the reference fitted, the key computed."""

    request: VideoRequest
    reference: Reference | None
    scope: str
    fingerprint: str
    request_digest: str
    folder: str
    parent_key: str | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        """The render's key."""
        return self.fingerprint[:KEY_DIGITS]


class _LaterError(SoraError):
    """The reservation is about to lapse: make another, after a pause in seconds."""

    def __init__(self, pause_s: float = 0.0) -> None:
        super().__init__("The reservation lapsed before the server took the request.")
        self.pause_s = pause_s


async def identify(
    request: VideoRequest,
    client: VideoClient,
    scope: str,
    *,
    parent_key: str | None = None,
    reference_options: Mapping[str, Any] | None = None,
) -> Wish:
    """Check the request against model and server, fit its reference, compute its key.

    Raises:
        InvalidRequestError: It cannot be rendered as it stands; nothing was sent.
    """
    server = client.server
    if request.kind == "remix" and not server.profile.remix:
        raise InvalidRequestError(
            f"The {server.profile.name} server {server.label} has no remix.",
            next_step="Render anew with text_to_video, or use a server that remixes.",
        )
    warnings = catalogue.check(request, server.service)
    reference = None
    if request.reference is not None:
        reference = await prepare(
            request.reference, request.pixels, request.fit, options=reference_options
        )
    hashed = reference.source_sha256 if reference else None
    digest = fingerprint(request, server, scope, hashed)
    return Wish(
        request=request,
        reference=reference,
        scope=scope,
        fingerprint=digest,
        request_digest=request_digest(request, server, hashed),
        folder=folder_name(request, digest),
        parent_key=parent_key,
        warnings=warnings,
    )


async def submit(
    wish: Wish,
    client: VideoClient,
    ledger: Ledger,
    *,
    timeout_seconds: float = 600.0,
    in_doubt: Doubt = "stop",
) -> VideoJob:
    """Return the job of this render: found in the records, adopted, or paid for now.

    Args:
        wish: From `identify`.
        client: The server to render on.
        ledger: The store's records, which decide whether anything is sent.
        timeout_seconds: How long to wait for another worker's submission, or for
            a server that asks to come back later.
        in_doubt: Whether to stop or to pay again where nobody can tell.

    Raises:
        ModerationError: Refused, now or in an earlier attempt.
        ApiError: Refused; nothing was paid.
        UncertainSubmitError: It may have been accepted, and the server cannot tell.
        StorageError: The records cannot be read or written; nothing was sent.
    """
    for warning in wish.warnings:
        log.warning("%s", warning)
    deadline = time() + timeout_seconds
    while True:
        state = await ledger.state(wish.folder)
        _refuse_a_collision(state, wish)
        if state.stored:
            return _job_of(state.stored.video, wish)
        if state.accepted and not state.failed:
            return state.accepted.job
        if state.failed and state.failed.kind == "moderated":
            raise state.failed.error()
        doubt_since = None
        if state.name == "reserved":
            if state.reserved and ledger.is_held(state.reserved):
                if time() > deadline:
                    raise another_worker_holds_it(state)
                await asyncio.sleep(0.25)
                continue
            # Its owner may have recorded the outcome and let go between our two looks.
            if (await ledger.state(wish.folder)) != state:
                continue
            doubt_since = state.reserved.in_doubt_since if state.reserved else 0.0
        reservation = _reservation(wish, client, state.attempt + 1, doubt_since)
        if await ledger.reserve(wish.folder, reservation):
            try:
                return await _not_cut_short(
                    _submit_reserved(wish, reservation, client, ledger, deadline, in_doubt)
                )
            except _LaterError as later:
                await asyncio.sleep(later.pause_s)
            finally:
                ledger.release(reservation)


async def _submit_reserved(
    wish: Wish,
    mine: Reserved,
    client: VideoClient,
    ledger: Ledger,
    deadline: float,
    in_doubt: Doubt,
) -> VideoJob:
    if wish.request.kind == "existing":
        video = await client.retrieve(str(wish.request.source_video_id))
        return await accept(mine, wish.folder, video, client.server, ledger, adopted=True)
    since = mine.uncertain_since
    last_send_at = mine.at + LEASE_SECONDS - CREATE_TIMEOUT_SECONDS
    connects = 0
    for _ in range(SUBMIT_ROUNDS):
        if since is not None:
            found = await _reconciled(mine, client, ledger, since, in_doubt)
            if found:
                return await accept(mine, wish.folder, found, client.server, ledger, adopted=True)
        since = None
        while since is None:
            sent_at = time()
            if sent_at > last_send_at:
                # Others may take the render over soon: reserve anew before sending again.
                await refuse(_LaterError(), mine, wish.folder, ledger)
                raise _LaterError
            try:
                video = await client.submit(
                    wish.request, wish.reference, f"{wish.fingerprint}-{mine.attempt}"
                )
            except RateLimitError as error:
                # Refused before any work: the one answer after which sending again is safe.
                pause = error.retry_after_s if error.retry_after_s is not None else 5.0
                if time() + pause > deadline:
                    await refuse(error, mine, wish.folder, ledger)
                    raise
                if time() + pause > last_send_at:
                    await refuse(error, mine, wish.folder, ledger)
                    raise _LaterError(pause) from error
                await asyncio.sleep(pause)
            except UnavailableError as error:
                if not error.never_sent:
                    log.warning("No clear answer to the create request: %s", error.message)
                    since = sent_at
                    continue
                connects += 1
                if connects >= CONNECT_ATTEMPTS:
                    await refuse(error, mine, wish.folder, ledger)
                    raise
                await asyncio.sleep(0.5 * 2 ** (connects - 1))
            except SoraError as error:
                await refuse(error, mine, wish.folder, ledger)
                raise
            else:
                claim = partial(ledger.claim, client.server.identity, video.id, mine.key)
                if not await recorded(claim, video.id, mine.key):
                    # A twin that was in doubt took our job while the answer was on
                    # its way; then its own, if there is one, is ours.
                    since = sent_at
                    continue
                return await accept(mine, wish.folder, video, client.server, ledger, adopted=False)
    nothing = UnavailableError(
        f"The video server {client.server.base_url} accepted nothing in {SUBMIT_ROUNDS} rounds."
    )
    raise await refuse(nothing, mine, wish.folder, ledger)


async def _reconciled(
    mine: Reserved, client: VideoClient, ledger: Ledger, since: float, in_doubt: Doubt
) -> Video | None:
    try:
        return await find_accepted(mine, client, ledger, since)
    except UncertainSubmitError:
        if in_doubt == "resubmit":
            log.warning("Render %s is in doubt; paying again, as the policy says.", mine.key)
            return None
        raise


async def _not_cut_short(work: Any) -> VideoJob:
    """Let a create that is under way end and be recorded, even when the caller is cancelled."""
    task: asyncio.Task[VideoJob] = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(task, timeout=5.0)
        raise


def _reservation(
    wish: Wish, client: VideoClient, attempt: int, uncertain_since: float | None
) -> Reserved:
    reference = wish.request.reference
    request = wish.request.model_dump(mode="json", exclude={"reference"})
    return Reserved(
        key=wish.key,
        attempt=attempt,
        at=time(),
        fingerprint=wish.fingerprint,
        request_digest=wish.request_digest,
        request=request,
        # An address may carry a signature after its question mark.
        reference=None
        if isinstance(reference, bytes) or reference is None
        else str(reference).partition("?")[0][:300],
        reference_sha256=wish.reference.source_sha256 if wish.reference else None,
        server=client.server.identity,
        provider=client.server.label,
        scope=wish.scope,
        parent_key=wish.parent_key,
        owner=new_owner(),
        uncertain_since=uncertain_since,
    )


def _job_of(video: Any, wish: Wish) -> VideoJob:
    fields = video.model_dump(include=set(VideoJob.model_fields))
    return VideoJob(
        **fields,
        kind=wish.request.kind,
        size=wish.request.size,
        seconds=wish.request.seconds,
        submitted_at=video.created_at,
        stored=True,
    )


def _refuse_a_collision(state: RenderState, wish: Wish) -> None:
    if state.reserved and state.reserved.fingerprint != wish.fingerprint:
        raise InvalidRequestError(
            "Another request has the same key in this store, which is one chance in 10^14.",
            key=wish.key,
            next_step="Set take to another number.",
        )
