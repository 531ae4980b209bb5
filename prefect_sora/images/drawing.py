"""Draw: a picture is paid for once, whoever asks for it, however often, and kept.

`reserve → ask → keep`. The answer is the picture, so nothing can be looked up after a
crash: what is not in the store by then is in doubt, and a person, or the policy, decides.
"""

import asyncio
import logging
from time import time
from typing import Final

from prefect_sora.attempts import another_worker_holds_it, refuse
from prefect_sora.budgets import Budget, charge_usd
from prefect_sora.client import VideoClient
from prefect_sora.courses import PassedOnError
from prefect_sora.errors import (
    InvalidRequestError,
    RateLimitError,
    RenderFailedError,
    SoraError,
    UnavailableError,
    UncertainSubmitError,
)
from prefect_sora.estimates import unknown_price
from prefect_sora.handles import StoredImage
from prefect_sora.images.asking import EndedError, ask
from prefect_sora.images.doubts import bring_home, uncertain
from prefect_sora.images.keeping import keep_at_last
from prefect_sora.images.pictures import Picture
from prefect_sora.images.wishes import ImageWish
from prefect_sora.ledger import Ledger
from prefect_sora.next_steps import in_store
from prefect_sora.records import Failed, Reserved
from prefect_sora.sending import CONNECT_ATTEMPTS, UnclearError
from prefect_sora.shielding import release, to_its_end
from prefect_sora.submitting import LONGEST_PAUSE_SECONDS, Policy

log = logging.getLogger(__name__)

TIMEOUT_SECONDS: Final = 300.0
"""How long a picture may take: OpenAI says about two minutes (2026). Ours."""


async def draw(
    wish: ImageWish,
    client: VideoClient,
    ledger: Ledger,
    *,
    timeout_seconds: float | None = None,
    in_doubt: Policy = "stop",
    budget: Budget | None = None,
    passed_on_after: int | None = None,
) -> StoredImage:
    """Return the pictures of this render: found in the store, or paid for now.

    Args:
        wish: From `identify`.
        client: The server to draw on.
        ledger: The store's records, which decide whether anything is sent.
        timeout_seconds: How long the server may take; how long, too, to wait for another
            worker, or for a server that asks to come back later. None: `TIMEOUT_SECONDS`.
        in_doubt: Whether to stop or to pay again where nobody can tell.
        budget: What may be spent. What was kept before is returned whatever it cost.
        passed_on_after: Send nothing where it was passed on in an attempt later than this one.

    Raises:
        PassedOnError: It was passed on.
        BudgetExceededError: The budget does not allow it; nothing was sent.
        InvalidRequestError: There is a budget, and the price is not known; the same.
        ModerationError: Refused, now or in an earlier attempt.
        ApiError: Refused; nothing was paid.
        UncertainSubmitError: It may have been drawn, and the answer is lost.
        StorageError: The records cannot be read or written; the error says what was sent.
    """
    for warning in wish.warnings:
        log.warning("%s", warning)
    with in_store(ledger.place, wish.key):
        by = timeout_seconds or TIMEOUT_SECONDS
        limits = _binding(budget, wish)
        return await _draw(wish, client, ledger, by, in_doubt, limits, passed_on_after)


async def _draw(
    wish: ImageWish,
    client: VideoClient,
    ledger: Ledger,
    timeout: float,
    policy: Policy,
    budget: Budget | None,
    passed_on_after: int | None,
) -> StoredImage:
    deadline = time() + timeout
    busy, pause_s = 0, 0.25
    while True:
        state = await ledger.state(wish.folder)
        if state.reserved and state.reserved.fingerprint != wish.fingerprint:
            raise InvalidRequestError(
                "Another request has the same key in this store, which is one chance in 10^14.",
                next_step="Set take to another number.",
            )
        if state.pictures:
            return state.pictures.image
        if state.failed and state.failed.kind == "moderated":
            raise state.failed.error()
        if passed_on_after is not None and state.passed_on and state.attempt > passed_on_after:
            raise PassedOnError
        if state.name == "reserved":
            if state.reserved and ledger.is_held(state.reserved):
                if time() > deadline:
                    raise another_worker_holds_it(state)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 1.5, 2.0)
                continue
            # Its owner may have recorded the outcome and let go between our two looks.
            if (await ledger.state(wish.folder)) != state:
                continue
            if home := await bring_home(state, ledger):
                return home
            doubt = uncertain(state.reserved or wish.reservation(client.server, 1, timeout))
            await _by_policy(doubt, wish, state.attempt, ledger, policy)
            policy = "stop"  # it pays again once a call
        mine = wish.reservation(client.server, state.attempt + 1, timeout)
        if budget:
            mine = mine.model_copy(update={"charged_to": tuple(budget.limits(mine))})
        if not await ledger.reserve(wish.folder, mine):
            continue
        try:
            if budget:
                await _charge(wish, mine, ledger, budget)
            return await to_its_end(mine, _ask_and_keep(wish, mine, client, ledger, timeout))
        except RateLimitError as error:
            pause_s = max(error.retry_after_s or 0.0, min(0.5 * 2**busy, LONGEST_PAUSE_SECONDS))
            busy += 1
            if time() + pause_s > deadline:
                raise
            await asyncio.sleep(pause_s)
        except UnclearError as unclear:
            log.warning("No clear answer to the request for a picture: %s", unclear)
            doubt = uncertain(mine, str(unclear))
            await _by_policy(doubt, wish, mine.attempt, ledger, policy)
            policy = "stop"
        finally:
            release(mine, ledger)


def _binding(budget: Budget | None, wish: ImageWish) -> Budget | None:
    """The budget where the pictures can cost anything, and there is a limit."""
    if budget is None or wish.usd_each == 0:
        return None
    return None if (budget.run_usd, budget.daily_usd) == (None, None) else budget


async def _charge(wish: ImageWish, mine: Reserved, ledger: Ledger, budget: Budget) -> None:
    """Count the pictures against the budget, or close the attempt unsent."""
    request = wish.request
    try:
        if wish.usd_each is None:
            raise unknown_price(
                f"no price of a picture of {request.model or 'the model that the server chooses'} "
                f"at size {request.size or 'auto'} and quality {request.quality or 'auto'} is known"
            )
        usd = round(wish.usd_each * request.n, 6)
        await charge_usd(usd, mine, wish.folder, ledger, budget)
    except SoraError as error:
        raise await refuse(error, mine, wish.folder, ledger) from None


async def _by_policy(
    doubt: UncertainSubmitError, wish: ImageWish, attempt: int, ledger: Ledger, policy: Policy
) -> None:
    """Stop for a person, or close the attempt as paid for nothing."""
    if policy == "stop":
        raise doubt
    log.warning("Render %s is in doubt; paying again, as the policy says.", wish.key)
    message = f"Paid for again, as the policy says. {doubt.message}"
    await ledger.fail(wish.folder, _failed(wish.key, attempt, message))


async def _ask_and_keep(
    wish: ImageWish, mine: Reserved, client: VideoClient, ledger: Ledger, timeout: float
) -> StoredImage:
    try:
        pictures = await _connected(wish, mine, client, timeout)
    except EndedError as ended:
        await ledger.fail(wish.folder, _failed(mine.key, mine.attempt, ended.why.message))
        raise RenderFailedError(
            ended.why.message,
            code=ended.why.code,
            paid="unknown",
            next_step="Run it again with the same scope: that sends it once more.",
        ) from None
    except SoraError as error:
        raise await refuse(error, mine, wish.folder, ledger) from None
    if len(pictures) < wish.request.n:
        log.warning("%d pictures came of %d.", len(pictures), wish.request.n)
    if wish.request.background == "transparent" and not pictures[0].has_alpha:
        log.warning("The picture was to be transparent, and no pixel of it is.")
    return await keep_at_last(pictures, mine, wish.folder, ledger)


async def _connected(
    wish: ImageWish, mine: Reserved, client: VideoClient, timeout: float
) -> list[Picture]:
    """Send the request once, over as many connections as that takes."""
    for n in range(CONNECT_ATTEMPTS):
        try:
            return await ask(wish, client, f"{wish.fingerprint}-{mine.attempt}", timeout)
        except UnavailableError as error:
            if not error.never_sent or n == CONNECT_ATTEMPTS - 1:
                raise
            await asyncio.sleep(0.25 * 2**n)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _failed(key: str, attempt: int, message: str) -> Failed:
    return Failed(
        key=key, attempt=attempt, at=time(), kind="failed", message=message, paid="unknown"
    )
