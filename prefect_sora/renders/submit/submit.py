"""Submit: a video is paid for once, whoever asks for it, however often."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from time import time
from typing import Any

from prefect_sora.errors import SoraError
from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.limits import limits
from prefect_sora.renders.finish.options import deadline_seconds
from prefect_sora.renders.matching.match import Doubt
from prefect_sora.renders.submit.adopt import recover
from prefect_sora.renders.submit.attempt import Attempt
from prefect_sora.renders.submit.budget_charges import charge
from prefect_sora.renders.submit.candidates import Asked
from prefect_sora.renders.submit.options import Budget, RenderOptions
from prefect_sora.renders.submit.pay import made_once
from prefect_sora.renders.submit.prepare import PreparedVideo, checked, load_reference, prepared_of
from prefect_sora.renders.submit.reconcile import find_accepted, taken
from prefect_sora.renders.submit.send import Sender, UnclearError
from prefect_sora.renders.submit.send_window import doubt_of
from prefect_sora.requests.files import as_written, may_change
from prefect_sora.requests.reference import Reference
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers import request_checks
from prefect_sora.servers.access.webhooks import mark
from prefect_sora.servers.estimates import price
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.send_times import Departure
from prefect_sora.servers.protocol.video_object import Video
from prefect_sora.servers.server import Server
from prefect_sora.store.claims import TORN
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import RenderState, Reserved

log = logging.getLogger(__name__)


async def submit(
    prepared: PreparedVideo,
    client: VideoClient,
    ledger: Ledger,
    options: RenderOptions,
    *,
    passed_on_after: int | None = None,
) -> VideoJob:
    """Return the job of this render: found in the records, adopted, or paid for now.

    Args:
        prepared: From `identify`.
        client: The server to render on.
        ledger: The store's records, which decide whether anything is sent.
        options: How long to wait for another worker's submission, or for a server that asks to
            come back later (without a time-out as long as the render itself may take), what may
            be spent, and what is done where nobody can tell. What was accepted before is
            returned whatever it cost.
        passed_on_after: Send nothing where the render was passed on in a later attempt than this.

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
    sender = VideoSender(prepared, client, ledger, options)
    return await made_once(sender, passed_on_after=passed_on_after)


class VideoSender(Sender[PreparedVideo, Video, VideoJob]):
    """How the create of a video is sent, and looked up."""

    by_store = False

    @property
    def timeout_seconds(self) -> float:
        """As the options say, or as long as such a render may take."""
        if self.options.timeout_seconds is not None:
            return self.options.timeout_seconds
        asked = self.prepared.request
        return deadline_seconds(asked.model, asked.size, asked.seconds)

    def is_free(self) -> bool:
        """Whether this server renders it for nothing."""
        return price(self.prepared.request, self.client.server).usd == 0

    def check(self) -> None:
        """Hold it against what the server says of its models."""
        request_checks.check_offered(self.prepared.request, self.client.server)

    def had(self, state: RenderState) -> VideoJob:
        """The job of a render that is accepted or kept."""
        job = _job_in(state, self.prepared.request)
        assert job is not None  # noqa: S101 - that is what `Have` says
        return job

    def reservation(
        self, number: int, state: RenderState, in_doubt: bool
    ) -> tuple[Reserved, Doubt | None]:
        """What is written down before anything is sent, and what is to be looked for first."""
        server = self.client.server
        doubt = doubt_of(state, server.profile) if in_doubt else None
        since = doubt.since if doubt else None
        return self.prepared.reservation(server, number, since, state.reserved), doubt

    async def settle(self, state: RenderState) -> VideoJob | None:
        """Look for its job at the server."""
        return await recover(state, self.client, self.ledger)

    async def found(self, attempt: Attempt, doubt: Doubt | None) -> VideoJob | None:
        """Look for what was accepted before, or is there already; nothing is paid."""
        if self.prepared.request.kind == "existing":
            video_id = str(self.prepared.request.source_video_id)
            try:
                video = await self.client.retrieve(video_id)
            except SoraError as error:
                raise await attempt.refuse(error) from None
        elif doubt is None:
            return None
        else:
            adopted = await find_accepted(attempt, doubt)
            if adopted is None:
                return None
            video = adopted
        return await attempt.accept(video, adopted=True)

    async def charge(self, attempt: Attempt, budget: Budget) -> None:
        """Count the attempt against its budgets."""
        await charge(self.prepared.request, attempt, budget)

    def request(self, attempt: Attempt) -> Callable[[Departure], Awaitable[Video]]:
        """The create, under a key of this attempt's own."""
        prepared, key = self.prepared, f"{self.prepared.fingerprint}-{attempt.number}"
        webhooks = self.client.server.webhooks
        named = mark(attempt.key, attempt.number, attempt.reserved.owner.token)
        return partial(
            self.client.submit,
            prepared.request,
            prepared.reference,
            key,
            render_key=prepared.key,
            callback_url=webhooks.callback(named) if webhooks else None,
        )

    async def record(self, attempt: Attempt, answer: Video, sent_at: float) -> VideoJob:
        """Claim the id for this render, and write it down."""
        holder = await attempt.claim(answer.id)
        # An unreadable claim is most likely this render's, torn: the id is as new as the answer.
        if holder not in (attempt.key, TORN):
            raise UnclearError(
                f"The server answered with video {answer.id}, which render {holder} of this store "
                "has already.",
                sent_at,
                is_taken=True,
            )
        return await attempt.accept(answer, adopted=False)

    async def looked_up(self, attempt: Attempt, unclear: UnclearError) -> VideoJob | None:
        """Find the job of a create whose answer is unclear; None where there is none."""
        longest, why = self.client.server.profile.longest_create_s, unclear.why
        until = time() if why is None or why.ended else unclear.sent_at + longest
        profile, now = self.client.server.profile, time()
        if profile.can_list:
            log.warning(
                "Looking for it in the server's list, for up to %.0f s; nothing is sent twice.",
                max(0.0, until - now) + profile.submit_grace_s + limits().look_pause_max_seconds,
            )
        job = await self.found(attempt, Doubt(unclear.sent_at, until))
        if job is None and unclear.is_taken:
            # Something was accepted for this render, for the answer had an id.
            raise taken(attempt.key, str(unclear))
        if job is None and why is not None:
            why.message += " Its list shows that nothing was accepted."
        return job


class AskedVideo(Asked[VideoRequest, PreparedVideo, VideoJob]):
    """A video that the first of several servers is to make."""

    reference: Reference | None = None

    @property
    def at_url(self) -> bool:
        """Whether its picture is at a URL."""
        return may_change(self.request.reference)

    async def load(self) -> None:
        """Load and fit its picture; one in the store is opened with the store's options."""
        own = self.ledger.store.options_of(self.request.reference)
        self.reference = await load_reference(self.request, self.reference_options or own)
        self.inputs_sha256 = self.reference.source_sha256 if self.reference else None

    def as_written(self) -> dict[str, Any]:
        """The request with its picture's URL; with the picture's hash where there is no URL."""
        url = as_written(str(self.request.reference)) if self.at_url else None
        return self.request.canonical(url or self.inputs_sha256)

    def prepared(self, server: Server, inputs_sha256: str | None) -> PreparedVideo:
        """Compute its key with the picture of this hash, which need not be at hand."""
        at_hand = inputs_sha256 == self.inputs_sha256
        return prepared_of(
            self.request,
            server,
            self.options.scope,
            self.reference if at_hand else None,
            reference_sha256=inputs_sha256,
            parent_key=self.parent_key,
        )

    def checked(self, prepared: PreparedVideo, server: Server) -> PreparedVideo:
        """Check it against the model and the server."""
        return checked(prepared, server)

    def unsent(self, prepared: PreparedVideo, server: Server) -> Reserved:
        """Make a reservation that closes a render which was never begun."""
        return prepared.reservation(server, 1, None)

    def found(self, state: RenderState) -> VideoJob | None:
        """Its job, where it was accepted or is kept."""
        return _job_in(state, self.request)

    def sender(self, prepared: PreparedVideo, client: VideoClient) -> VideoSender:
        """How it is sent to one server."""
        return VideoSender(prepared, client, self.ledger, self.options)


def _job_in(state: RenderState, request: VideoRequest) -> VideoJob | None:
    """The job of a request that was accepted, or whose video is kept."""
    if state.stored:
        return _job_of(state.stored.video, request)
    return state.accepted.job if state.accepted and state.is_on_its_way else None


def _job_of(video: StoredVideo, request: VideoRequest) -> VideoJob:
    fields = video.model_dump(include=set(VideoJob.model_fields))
    return VideoJob(
        **fields,
        kind=request.kind,
        size=request.size,
        seconds=request.seconds,
        submitted_at=video.created_at,
        stored=True,
    )
