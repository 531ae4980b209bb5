"""Draw: a picture is paid for once, whoever asks for it, however often, and kept.

`reserve → ask → keep`, by the rules of `paying`. The answer is the picture, so
nothing can be looked up after a crash: what is not in the store by then is in doubt, and a
person, or the policy, decides.
"""

import logging
from contextlib import AbstractAsyncContextManager
from time import time
from typing import Final

from prefect_sora.attempts import is_busy, refuse
from prefect_sora.budgets import Budget, charge_usd
from prefect_sora.client import VideoClient
from prefect_sora.deciding import Call, Policy
from prefect_sora.departures import Departure
from prefect_sora.errors import (
    InvalidRequestError,
    RenderFailedError,
    SoraError,
    UnavailableError,
)
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.estimates import unknown_price
from prefect_sora.handles import StoredImage
from prefect_sora.images.asking import EndedError, ask
from prefect_sora.images.doubts import bring_home, uncertain
from prefect_sora.images.keeping import keep_at_last
from prefect_sora.images.pictures import Picture
from prefect_sora.images.wishes import ImageWish
from prefect_sora.ledger import Ledger
from prefect_sora.matching import Doubt
from prefect_sora.paying import made_once
from prefect_sora.records import Failed, RenderState, Reserved
from prefect_sora.sending import UnclearError, connected
from prefect_sora.shielding import to_its_end
from prefect_sora.windows import Window

log = logging.getLogger(__name__)

# What a server says that failed at its work. 501 and 503 it says before it begins; and no list
# shows whether anything was made all the same, so that a person or another run asks again.
_FAILED: Final = 500

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
    with ledger.about(wish.key):
        by_s = timeout_seconds or TIMEOUT_SECONDS
        call = Call(time() + by_s, in_doubt, passed_on_after)
        sender = PictureSender(wish, client, ledger, by_s)
        return await made_once(sender, ledger, call, _binding(budget, wish))


class PictureSender:
    """How the request for pictures is sent; a `sending.Sender`. No server lists them."""

    by_store = True

    def __init__(
        self, wish: ImageWish, client: VideoClient, ledger: Ledger, timeout_seconds: float
    ) -> None:
        self.wish, self.client, self.ledger = wish, client, ledger
        self.timeout_seconds = timeout_seconds

    def place(self) -> AbstractAsyncContextManager[None]:
        """A place among the requests under way at the server."""
        return self.client.place()

    def had(self, state: RenderState) -> StoredImage:
        """The pictures of a render that is kept."""
        if state.pictures is None:
            raise InvalidRequestError(
                "The store holds a video under the key of these pictures.", paid="yes"
            )
        return state.pictures.image

    def reservation(
        self, attempt: int, state: RenderState, in_doubt: bool
    ) -> tuple[Reserved, Doubt | None]:
        """What is written down before anything is sent; there is nothing to look for."""
        return self.wish.reservation(self.client.server, attempt, self.timeout_seconds), None

    async def in_store(self, state: RenderState) -> StoredImage:
        """Find the pictures of a request whose worker is gone.

        Raises:
            UncertainSubmitError: They are not there.
        """
        if home := await bring_home(state, self.ledger):
            return home
        reserved, _ = self.reservation(state.attempt, state, in_doubt=True)
        raise uncertain(state.reserved or reserved)

    async def found(self, mine: Reserved, doubt: Doubt | None) -> StoredImage | None:
        """Find nothing: a server has no pictures to be asked for."""
        return None

    async def charge(self, mine: Reserved, budget: Budget) -> None:
        """Count the pictures against the budget."""
        wish, request = self.wish, self.wish.request
        if wish.usd_each is None:
            raise unknown_price(
                f"no price of a picture of {request.model or 'the model that the server chooses'} "
                f"at size {request.size or 'auto'} and quality {request.quality or 'auto'} is known"
            )
        usd = round(wish.usd_each * request.n, 6)
        await charge_usd(usd, mine, wish.folder, self.ledger, budget)

    async def send(self, mine: Reserved, window: Window) -> StoredImage:
        """Send the request of a reservation, and keep the pictures that come.

        Raises:
            LapsedError: The reservation is too old to send anything under it.
            UnclearError: Sent, and no whole pictures came.
            RenderFailedError: The server failed at it, and says so; the attempt is closed.
            ApiError: Refused or never sent; the attempt is closed.
            StorageError: They were made, and the store would not take them.
        """
        return await to_its_end(mine, self._send(mine, window))

    async def looked_up(self, mine: Reserved, unclear: UnclearError) -> StoredImage | None:
        """Say that nobody can tell what came of it."""
        raise uncertain(mine, str(unclear))

    async def _send(self, mine: Reserved, window: Window) -> StoredImage:
        wish, ledger = self.wish, self.ledger

        async def ask_once(departure: Departure) -> list[Picture]:
            key = f"{wish.fingerprint}-{mine.attempt}"
            return await ask(wish, self.client, key, self.timeout_seconds, departure)

        try:
            pictures = await connected(ask_once, window)
        except EndedError as ended:
            if ended.why.status == _FAILED:
                raise await self._failed(mine, ended.why) from None
            raise await self._refused(ended.why, mine) from None
        except SoraError as error:
            raise await self._refused(error, mine) from None
        if len(pictures) < wish.request.n:
            log.warning("%d pictures came of %d.", len(pictures), wish.request.n)
        if wish.request.background == "transparent" and not pictures[0].has_alpha:
            log.warning("The picture was to be transparent, and no pixel of it is.")
        return await keep_at_last(pictures, mine, wish.folder, ledger)

    async def _refused(self, error: SoraError, mine: Reserved) -> SoraError:
        keep = is_busy(error)
        return await refuse(error, mine, self.wish.folder, self.ledger, keep_charge=keep)

    async def _failed(self, mine: Reserved, why: UnavailableError) -> RenderFailedError:
        """Close the attempt: it may be sent again, and whether it was charged is not known."""
        record = Failed(
            key=mine.key,
            attempt=mine.attempt,
            at=time(),
            kind="failed",
            message=why.message,
            paid="unknown",
        )
        await self.ledger.fail(self.wish.folder, record)
        return RenderFailedError(
            why.message,
            code=why.code,
            paid="unknown",
            next_step=NextStep("again", "To send it once more,"),
        )


def _binding(budget: Budget | None, wish: ImageWish) -> Budget | None:
    """The budget where the pictures can cost anything, and there is a limit."""
    if budget is None or wish.usd_each == 0:
        return None
    return None if (budget.run_usd, budget.daily_usd) == (None, None) else budget
