"""Submit: a render is paid for once, whoever asks for it, however often.

`reserve → send → record`, and after a crash or a lost answer `reconcile`: look at
the server for the job that may have been accepted, and adopt it. One reservation
sends at most one create.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from random import random
from time import time
from typing import Final, Literal

from prefect_sora.attempts import accept, another_worker_holds_it, refuse
from prefect_sora.budgets import Budget, binding, charge
from prefect_sora.client import VideoClient
from prefect_sora.courses import PassedOnError
from prefect_sora.deadlines import deadline_seconds
from prefect_sora.errors import (
    InvalidRequestError,
    Paid,
    RateLimitError,
    SoraError,
    StorageError,
    UnavailableError,
    UncertainSubmitError,
)
from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.ledger import Ledger
from prefect_sora.matching import Doubt
from prefect_sora.next_steps import in_store
from prefect_sora.reconciling import find_accepted, uncertain
from prefect_sora.records import Failed, RenderState, Reserved
from prefect_sora.requests import VideoRequest
from prefect_sora.sending import LapsedError, UnclearError, doubt_of, send
from prefect_sora.shielding import release
from prefect_sora.wishes import Wish

log = logging.getLogger(__name__)

SUBMIT_ROUNDS: Final = 3
"""How often one call sends a create that was shown not to have been accepted. Ours."""

LONGEST_PAUSE_SECONDS: Final = 5.0
"""How long a server that says "too many" and not until when is left alone. Ours."""

Policy = Literal["stop", "resubmit"]
"""What to do where a create may have been accepted and the server cannot tell."""


class _AgainError(Exception):
    """The attempt is closed without a job, and another may be made."""

    def __init__(self, why: SoraError | None) -> None:
        super().__init__(str(why))
        self.why = why


async def submit(
    wish: Wish,
    client: VideoClient,
    ledger: Ledger,
    *,
    timeout_seconds: float | None = None,
    in_doubt: Policy = "stop",
    budget: Budget | None = None,
    passed_on_after: int | None = None,
) -> VideoJob:
    """Return the job of this render: found in the records, adopted, or paid for now.

    Args:
        wish: From `identify`.
        client: The server to render on.
        ledger: The store's records, which decide whether anything is sent.
        timeout_seconds: How long to wait for another worker's submission, or for
            a server that asks to come back later; None: as long as the render itself
            may take, see `deadlines.deadline_seconds`.
        in_doubt: Whether to stop or to pay again where nobody can tell.
        budget: What may be spent. What was accepted before is returned whatever it cost.
        passed_on_after: Send nothing where it was passed on in an attempt later than this one.

    Raises:
        BudgetExceededError: The budget does not allow it; nothing was sent.
        InvalidRequestError: There is a budget, and the price is not known; the same.
        PassedOnError: It was passed on.
        ModerationError: Refused, now or in an earlier attempt.
        ApiError: Refused; nothing was paid.
        UncertainSubmitError: It may have been accepted, and the server cannot tell.
        StorageError: The records cannot be read or written; nothing was sent.
    """
    for warning in wish.warnings:
        log.warning("%s", warning)
    if timeout_seconds is None:
        asked = wish.request
        timeout_seconds = deadline_seconds(asked.model, asked.size, asked.seconds)
    with in_store(ledger.place, wish.key):
        budget = binding(budget, wish.request, client)
        until = time() + timeout_seconds
        return await _submit(wish, client, ledger, until, in_doubt, budget, passed_on_after)


async def _submit(
    wish: Wish,
    client: VideoClient,
    ledger: Ledger,
    deadline: float,
    in_doubt: Policy,
    budget: Budget | None,
    passed_on_after: int | None,
) -> VideoJob:
    rounds = busy = 0
    held_pause_s = 0.25
    while True:
        with _nothing_sent("unknown"):
            state = await ledger.state(wish.folder)
        _refuse_a_collision(state, wish)
        if state.stored:
            return job_of(state.stored.video, wish.request)
        if state.accepted and not state.failed:
            return state.accepted.job
        if state.failed and state.failed.kind == "moderated":
            raise state.failed.error()
        if passed_on_after is not None and state.passed_on and state.attempt > passed_on_after:
            raise PassedOnError
        doubt = None
        if state.name == "reserved":
            if state.reserved and ledger.is_held(state.reserved):
                if time() > deadline:
                    raise another_worker_holds_it(state)
                await asyncio.sleep(held_pause_s)
                held_pause_s = min(held_pause_s * 1.5, 2.0)
                continue
            # Its owner may have recorded the outcome and let go between our two looks.
            if (await ledger.state(wish.folder)) != state:
                continue
            doubt = doubt_of(state, client.server.profile)
        since = doubt.since if doubt else None
        mine = wish.reservation(client.server, state.attempt + 1, since, state.reserved)
        if budget:
            mine = mine.model_copy(update={"charged_to": tuple(budget.limits(mine))})
        with _nothing_sent("no" if state.name == "new" else "unknown"):
            won = await ledger.reserve(wish.folder, mine)
        if not won:
            continue
        try:
            return await _attempt(wish, mine, client, ledger, doubt, in_doubt, budget)
        except _AgainError as again:
            why = again.why
        except StorageError as error:
            if error.key is None:  # while it looked for what may have been accepted
                error.about(paid="unknown")
            raise
        finally:
            release(mine, ledger)
        if isinstance(why, RateLimitError) or (
            isinstance(why, UnavailableError) and why.status == 503
        ):
            # A server that says "at once" is not to be hammered either.
            pause_s = max(why.retry_after_s or 0.0, min(0.5 * 2**busy, LONGEST_PAUSE_SECONDS))
            busy += 1
            if time() + pause_s > deadline:
                raise why
            # Spread: those that were refused together need not come back together.
            await asyncio.sleep(pause_s * (1 + random() / 4))  # noqa: S311 - no secret
        elif why:
            rounds += 1
            if rounds >= SUBMIT_ROUNDS:
                raise why
            if isinstance(why, UncertainSubmitError):
                in_doubt = "stop"  # it pays again once a call, and not once a round


async def _attempt(
    wish: Wish,
    mine: Reserved,
    client: VideoClient,
    ledger: Ledger,
    doubt: Doubt | None,
    policy: Policy,
    budget: Budget | None,
) -> VideoJob:
    """Send the create request once, unless an earlier one turns out to be accepted."""
    if wish.request.kind == "existing":
        try:
            video = await client.retrieve(str(wish.request.source_video_id))
        except SoraError as error:
            raise await refuse(error, mine, wish.folder, ledger) from None
        return await accept(mine, wish.folder, video, client.server, ledger, adopted=True)
    try:
        if doubt and (job := await _found(wish, mine, client, ledger, doubt)):
            return job
        if budget:
            await _charge(wish, mine, client, ledger, budget)
        return await send(wish, mine, client, ledger)
    except LapsedError:
        nothing = UnavailableError("The reservation lapsed before the request was sent.")
        await refuse(nothing, mine, wish.folder, ledger)
        raise _AgainError(None) from None
    except RateLimitError as error:
        # Refused before any work: the one answer after which sending again is safe.
        raise _AgainError(error) from None
    except UnclearError as unclear:
        why, sent_at, said = unclear.why, unclear.sent_at, str(unclear)
    except UncertainSubmitError as error:
        raise await _by_policy(error, mine, wish, ledger, policy) from None
    log.warning("No clear answer to the create request: %s", said)
    longest = client.server.profile.longest_create_s
    until = time() if why is None or why.ended else sent_at + longest
    try:
        job = await _found(wish, mine, client, ledger, Doubt(sent_at, until))
    except UncertainSubmitError as error:
        if why is None:
            raise
        raise await _by_policy(error, mine, wish, ledger, policy) from None
    if job:
        return job
    if why is None:
        # Something of ours was accepted, for it was answered with an id.
        raise uncertain(mine, said)
    raise _AgainError(await refuse(why, mine, wish.folder, ledger))


async def _charge(
    wish: Wish, mine: Reserved, client: VideoClient, ledger: Ledger, budget: Budget
) -> None:
    try:
        await charge(wish.request, mine, wish.folder, client, ledger, budget)
    except SoraError as error:
        raise await refuse(error, mine, wish.folder, ledger) from None


async def _found(
    wish: Wish, mine: Reserved, client: VideoClient, ledger: Ledger, doubt: Doubt
) -> VideoJob | None:
    found = await find_accepted(mine, wish.folder, client, ledger, doubt)
    if found is None:
        return None
    return await accept(mine, wish.folder, found, client.server, ledger, adopted=True)


async def _by_policy(
    error: UncertainSubmitError, mine: Reserved, wish: Wish, ledger: Ledger, policy: Policy
) -> Exception:
    """Stop for a person, or close the attempt as paid for nothing."""
    if policy == "stop":
        return error
    log.warning("Render %s is in doubt; paying again, as the policy says.", mine.key)
    await ledger.fail(
        wish.folder,
        Failed(
            key=mine.key,
            attempt=mine.attempt,
            at=time(),
            kind="failed",
            message=f"Paid for again, as the policy says. {error.message}",
            paid="unknown",
        ),
    )
    return _AgainError(error)


@contextmanager
def _nothing_sent(paid: Paid) -> Iterator[None]:
    """Say of a store that fails what this means for the money."""
    try:
        yield
    except StorageError as error:
        error.about(paid=paid)
        if "Nothing was sent" not in (error.next_step or ""):
            error.next_step = f"Nothing was sent this time. {error.next_step or ''}".strip()
        raise


def job_of(video: StoredVideo, request: VideoRequest) -> VideoJob:
    """The job of a request whose video is kept."""
    fields = video.model_dump(include=set(VideoJob.model_fields))
    return VideoJob(
        **fields,
        kind=request.kind,
        size=request.size,
        seconds=request.seconds,
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
