"""Submit: a picture is paid for once, whoever asks for it, however often, and kept.

`reserve → ask → keep`, by the rules of `pay`. The answer is the picture, so
nothing can be looked up after a crash: what is not in the store by then is in doubt, and a
person, or the policy, decides.
"""

import hashlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from time import time
from typing import Any, Final

from prefect_sora.errors import InvalidRequestError, RenderFailedError, SoraError, UnavailableError
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.handles import StoredImage
from prefect_sora.limits import limits
from prefect_sora.renders.images.keep import bring_home, keep_at_last, uncertain
from prefect_sora.renders.images.prepare import (
    Inputs,
    PreparedPictures,
    checked,
    load_inputs,
    prepared_of,
)
from prefect_sora.renders.images.send import Drawn, ask
from prefect_sora.renders.matching.match import Doubt
from prefect_sora.renders.submit.attempt import Attempt
from prefect_sora.renders.submit.budget_charges import charge_usd
from prefect_sora.renders.submit.candidates import Asked
from prefect_sora.renders.submit.options import Budget, RenderOptions
from prefect_sora.renders.submit.pay import made_once
from prefect_sora.renders.submit.send import Sender, UnclearError
from prefect_sora.requests.files import as_written, may_change
from prefect_sora.requests.image import ImageRequest, Source
from prefect_sora.requests.reference import load_source
from prefect_sora.servers.estimates import unknown_price
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.send_times import Departure
from prefect_sora.servers.server import Server
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import Failed, RenderState, Reserved

log = logging.getLogger(__name__)

# The status of a server that failed at its work. It says 501 and 503 before it begins. No list
# shows whether anything was made all the same, so a person or another run asks again.
_FAILED: Final = 500


async def draw(
    prepared: PreparedPictures,
    client: VideoClient,
    ledger: Ledger,
    options: RenderOptions,
    *,
    passed_on_after: int | None = None,
) -> StoredImage:
    """Return the pictures of this render: found in the store, or paid for now.

    Args:
        prepared: From `identify`.
        client: The server to draw on.
        ledger: The store's records, which decide whether anything is sent.
        options: How long the server may take; how long, too, to wait for another worker, or
            for a server that asks to come back later (without a time-out `Limits.picture_seconds`);
            what may be spent, and what is done where nobody can tell. What was kept before is
            returned whatever it cost.
        passed_on_after: Send nothing where the render was passed on in a later attempt than this.

    Raises:
        PassedOnError: It was passed on.
        BudgetExceededError: The budget does not allow it; nothing was sent.
        InvalidRequestError: There is a budget, and the price is not known; the same.
        ModerationError: Refused, now or in an earlier attempt.
        ApiError: Refused; nothing was paid.
        UncertainSubmitError: It may have been drawn, and the answer is lost.
        StorageError: The records cannot be read or written; the error says what was sent.
    """
    sender = PictureSender(prepared, client, ledger, options)
    return await made_once(sender, passed_on_after=passed_on_after)


class PictureSender(Sender[PreparedPictures, Drawn, StoredImage]):
    """How the request for pictures is sent. No server lists them."""

    by_store = True

    @property
    def timeout_seconds(self) -> float:
        """As the options say, or as long as pictures may take."""
        return self.options.timeout_seconds or limits().picture_seconds

    def is_free(self) -> bool:
        """Whether this server draws them for nothing."""
        return self.prepared.usd_each == 0

    def had(self, state: RenderState) -> StoredImage:
        """The pictures of a render that is kept."""
        if state.pictures is None:
            raise InvalidRequestError(
                "The store holds a video under the key of these pictures.", paid="yes"
            )
        return state.pictures.image

    def reservation(
        self, number: int, state: RenderState, in_doubt: bool
    ) -> tuple[Reserved, Doubt | None]:
        """What is written down before anything is sent; there is nothing to look for."""
        return self.prepared.reservation(self.client.server, number, self.timeout_seconds), None

    async def settle(self, state: RenderState) -> StoredImage | None:
        """Find the pictures of a request whose worker is gone, where they are in the store."""
        if home := await bring_home(state, self.client, self.ledger):
            return home
        raise uncertain(state.key)

    async def found(self, attempt: Attempt, doubt: Doubt | None) -> StoredImage | None:
        """Find nothing: a server has no pictures to be asked for."""
        return None

    async def charge(self, attempt: Attempt, budget: Budget) -> None:
        """Count the pictures against the budget."""
        prepared, request = self.prepared, self.prepared.request
        if prepared.usd_each is None:
            raise unknown_price(
                f"no price of a picture of {request.model or 'the model that the server chooses'} "
                f"at size {request.size or 'auto'} and quality {request.quality or 'auto'} is known"
            )
        await charge_usd(round(prepared.usd_each * request.n, 6), attempt, budget)

    def request(self, attempt: Attempt) -> Callable[[Departure], Awaitable[Drawn]]:
        """The request, under a key of this attempt's own."""
        key = f"{self.prepared.fingerprint}-{attempt.number}"
        return partial(ask, self.prepared, self.client, key, self.timeout_seconds)

    async def record(self, attempt: Attempt, answer: Drawn, sent_at: float) -> StoredImage:
        """Keep the pictures that came."""
        request = self.prepared.request
        pictures = answer.pictures
        if len(pictures) < request.n:
            log.warning("%d pictures came of %d.", len(pictures), request.n)
        if request.background == "transparent" and not pictures[0].has_alpha:
            log.warning("The picture was to be transparent, and no pixel of it is.")
        return await keep_at_last(pictures, attempt, answer.told)

    async def refused(self, attempt: Attempt, error: SoraError) -> SoraError:
        """Close the attempt; nobody knows whether a server that failed at its work charged."""
        if not (isinstance(error, UnavailableError) and error.ended and error.status == _FAILED):
            return await super().refused(attempt, error)
        record = Failed(
            key=attempt.key,
            attempt=attempt.number,
            at=time(),
            kind="failed",
            message=error.message,
            paid="unknown",
        )
        await self.ledger.fail(attempt.folder, record)
        return RenderFailedError(
            error.message,
            code=error.code,
            paid="unknown",
            next_step=NextStep("again", "To send it once more,"),
        )

    async def looked_up(self, attempt: Attempt, unclear: UnclearError) -> StoredImage | None:
        """Say that nobody can tell what came of it."""
        raise uncertain(attempt.key, str(unclear))


class AskedPictures(Asked[ImageRequest, PreparedPictures, StoredImage]):
    """Pictures that the first of several servers is to make."""

    inputs = Inputs()
    told: tuple[str | None, ...] = ()

    @property
    def at_url(self) -> bool:
        """Whether a picture of them is at a URL."""
        return any(may_change(source) for source in (*self.request.images, self.request.mask))

    async def load(self) -> None:
        """Load its pictures and its mask."""
        if self.at_url:  # what is at no URL first: it names the request, whatever is at the others
            given = [*self.request.images, self.request.mask]
            self.told = tuple([await self._told(source) for source in given])
        self.inputs = await load_inputs(self.request, self.reference_options)
        self.inputs_sha256 = self.inputs.sha256

    def as_written(self) -> dict[str, Any]:
        """The request with its pictures' URLs; with a hash of those that have no URL."""
        if not self.at_url:
            return self.request.canonical(self.inputs_sha256)
        return {**self.request.canonical(None), "inputs": [*self.told]}

    def prepared(self, server: Server, inputs_sha256: str | None) -> PreparedPictures:
        """Compute its key with the pictures of this hash, which need not be at hand."""
        return prepared_of(
            self.request,
            server,
            self.options.scope,
            self.inputs if inputs_sha256 == self.inputs_sha256 else Inputs(sha256=inputs_sha256),
            parent_key=self.parent_key,
        )

    def checked(self, prepared: PreparedPictures, server: Server) -> PreparedPictures:
        """Check it against its model."""
        return checked(prepared, server)

    def unsent(self, prepared: PreparedPictures, server: Server) -> Reserved:
        """Make a reservation that closes a render which was never begun."""
        return prepared.reservation(server, 1, limits().picture_seconds)

    def found(self, state: RenderState) -> StoredImage | None:
        """The pictures, where they are kept."""
        return state.pictures.image if state.pictures else None

    def sender(self, prepared: PreparedPictures, client: VideoClient) -> PictureSender:
        """How one server is asked for them."""
        return PictureSender(prepared, client, self.ledger, self.options)

    async def _told(self, source: Source | None) -> str | None:
        if source is None:
            return None
        if may_change(source):
            return as_written(str(source))
        return hashlib.sha256(await load_source(source, options=self.reference_options)).hexdigest()
