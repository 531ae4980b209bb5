"""Submit: a video is paid for once, whoever asks for it, however often.

`reserve → send → record`, and after a crash or a lost answer `reconcile`: look at the
server for the job that may have been accepted, and adopt it. `paying` carries it out.
Nothing that ends the caller may come between an answer and its record, so both are one
task of their own, which a cancelled caller still waits for.
"""

import logging
from contextlib import AbstractAsyncContextManager
from functools import partial
from time import time

from prefect_sora.attempts import accept, is_busy, recorded, refuse
from prefect_sora.budgets import Budget, binding, charge
from prefect_sora.client import VideoClient
from prefect_sora.deadlines import deadline_seconds
from prefect_sora.deciding import Call
from prefect_sora.deciding import Policy as Policy
from prefect_sora.departures import Departure
from prefect_sora.errors import SoraError, UnavailableError
from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.ledger import TORN, Ledger
from prefect_sora.matching import Doubt
from prefect_sora.paying import made_once
from prefect_sora.reconciling import find_accepted, uncertain
from prefect_sora.records import RenderState, Reserved
from prefect_sora.requests import VideoRequest
from prefect_sora.sending import UnclearError, connected
from prefect_sora.shielding import to_its_end
from prefect_sora.windows import Window, doubt_of
from prefect_sora.wire import Video
from prefect_sora.wishes import Wish

log = logging.getLogger(__name__)


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
        RenderTimeoutError: Another worker has it, or it could not be sent in time.
        UncertainSubmitError: It may have been accepted, and the server cannot tell.
        StorageError: The records cannot be read or written; the error says what was sent.
    """
    for warning in wish.warnings:
        log.warning("%s", warning)
    if timeout_seconds is None:
        asked = wish.request
        timeout_seconds = deadline_seconds(asked.model, asked.size, asked.seconds)
    with ledger.about(wish.key):
        budget = binding(budget, wish.request, client)
        call = Call(time() + timeout_seconds, in_doubt, passed_on_after)
        return await made_once(VideoSender(wish, client, ledger), ledger, call, budget)


class VideoSender:
    """How the create of a video is sent, and looked up; a `Sender`."""

    by_store = False

    def __init__(self, wish: Wish, client: VideoClient, ledger: Ledger) -> None:
        self.wish, self.client, self.ledger = wish, client, ledger

    def place(self) -> AbstractAsyncContextManager[None]:
        """A place among the requests under way at the server."""
        return self.client.place()

    def had(self, state: RenderState) -> VideoJob:
        """The job of a render that is accepted or kept."""
        if state.stored:
            return job_of(state.stored.video, self.wish.request)
        assert state.accepted is not None  # noqa: S101 - that is what `Have` says
        return state.accepted.job

    def reservation(
        self, attempt: int, state: RenderState, in_doubt: bool
    ) -> tuple[Reserved, Doubt | None]:
        """What is written down before anything is sent, and what is to be looked for first."""
        server = self.client.server
        doubt = doubt_of(state, server.profile) if in_doubt else None
        since = doubt.since if doubt else None
        return self.wish.reservation(server, attempt, since, state.reserved), doubt

    async def found(self, mine: Reserved, doubt: Doubt | None) -> VideoJob | None:
        """Look for what was accepted before, or is there already; nothing is paid."""
        if self.wish.request.kind == "existing":
            video_id = str(self.wish.request.source_video_id)
            try:
                video = await self.client.retrieve(video_id)
            except SoraError as error:
                raise await refuse(error, mine, self.wish.folder, self.ledger) from None
        elif doubt is None:
            return None
        else:
            adopted = await find_accepted(mine, self.wish.folder, self.client, self.ledger, doubt)
            if adopted is None:
                return None
            video = adopted
        return await self._accept(mine, video, adopted=True)

    async def in_store(self, state: RenderState) -> VideoJob:
        """Say that the store alone tells nothing: a video without a record is at the server."""
        assert state.reserved is not None  # noqa: S101 - `by_store` is False
        raise uncertain(state.reserved, "The store alone does not tell.")

    async def charge(self, mine: Reserved, budget: Budget) -> None:
        """Count the attempt against its budgets."""
        await charge(self.wish.request, mine, self.wish.folder, self.client, self.ledger, budget)

    async def send(self, mine: Reserved, window: Window) -> VideoJob:
        """Send the create request of a reservation, and record its outcome.

        Raises:
            LapsedError: The reservation is too old to send anything under it.
            UnclearError: Sent, and nothing is known; the reservation stands for that.
            ApiError: Refused or never sent; the attempt is closed.
            StorageError: Accepted, and the store would not take the id, which the error names.
        """
        return await to_its_end(mine, self._send(mine, window))

    async def looked_up(self, mine: Reserved, unclear: UnclearError) -> VideoJob | None:
        """Find the job of a create whose answer is unclear; None where there is none.

        Raises:
            UncertainSubmitError: Nobody can tell.
        """
        longest, why = self.client.server.profile.longest_create_s, unclear.why
        until = time() if why is None or why.ended else unclear.sent_at + longest
        job = await self.found(mine, Doubt(unclear.sent_at, until))
        if job is None and unclear.is_taken:
            # Something of ours was accepted, for it was answered with an id.
            raise uncertain(mine, str(unclear))
        return job

    async def _send(self, mine: Reserved, window: Window) -> VideoJob:
        client, ledger, key = self.client, self.ledger, f"{self.wish.fingerprint}-{mine.attempt}"

        async def ask(departure: Departure) -> tuple[Video, float]:
            begun = time()
            try:
                video = await client.submit(self.wish.request, self.wish.reference, key, departure)
            except UnavailableError as error:
                if error.never_sent:
                    raise
                raise UnclearError(error.message, departure.at or begun, error) from None
            return video, departure.at or begun

        try:
            video, sent_at = await connected(ask, window)
        except SoraError as error:
            await refuse(error, mine, self.wish.folder, ledger, keep_charge=is_busy(error))
            raise
        claim = partial(ledger.claim, client.server.identity, video.id, mine.key)
        holder = await recorded(claim, video.id, mine.key)
        # A claim that cannot be read is most likely ours, torn: the id is as new as our answer.
        if holder not in (mine.key, TORN):
            raise UnclearError(
                f"The server answered with video {video.id}, which render {holder} of this store "
                "took for its own while it was in doubt.",
                sent_at,
                is_taken=True,
            )
        return await self._accept(mine, video, adopted=False)

    async def _accept(self, mine: Reserved, video: Video, *, adopted: bool) -> VideoJob:
        server = self.client.server
        return await accept(mine, self.wish.folder, video, server, self.ledger, adopted=adopted)


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
