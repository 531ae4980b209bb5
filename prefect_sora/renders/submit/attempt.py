"""Attempt: one submission of a render, whose outcome is written down: accepted, or closed."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import time
from typing import Any, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from prefect_sora.errors import (
    ApiError,
    InvalidRequestError,
    ModerationError,
    RateLimitError,
    RenderTimeoutError,
    SoraError,
    StorageError,
    UnavailableError,
)
from prefect_sora.errors.next_steps import PUT_IT_BACK, NextStep
from prefect_sora.handles import VideoJob
from prefect_sora.limits import limits
from prefect_sora.requests.problems import in_words
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.video_object import Video
from prefect_sora.servers.server import Server
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import Failed, RenderState, Reserved
from prefect_sora.store.spending_chain import take_back

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_R = TypeVar("_R", bound=BaseModel)


@dataclass(frozen=True)
class Attempt:
    """One submission of a render.

    Attributes:
        reserved: Its reservation, which holds what is asked for.
        folder: The render's folder below the store's root.
        client: The server that is asked.
        ledger: The store's records.
    """

    reserved: Reserved
    folder: str
    client: VideoClient
    ledger: Ledger

    @property
    def key(self) -> str:
        """The render's key."""
        return self.reserved.key

    @property
    def number(self) -> int:
        """Which of the render's attempts it is, from 1."""
        return self.reserved.attempt

    async def accept(self, video: Video, *, adopted: bool) -> VideoJob:
        """Make the video id durable: from here on the render is found again.

        Args:
            video: What the server answered, or what was found there.
            adopted: Whether it was found, and not sent now.

        Raises:
            StorageError: The store goes on failing; the error tells the id.
        """
        reserved, server = self.reserved, self.client.server
        request = asked_for(reserved, VideoRequest.model_validate)
        model = await self.model_of(request, video.model)
        size = request.size or video.size
        seconds = _seconds(video) if request.kind != "create" else request.seconds
        job = VideoJob(
            key=self.key,
            attempt=self.number,
            folder=self.folder,
            video_id=video.id,
            provider=server.label,
            title=request.title,
            model=server.model_for(model) or video.model,
            take=request.take,
            parent_key=reserved.parent_key,
            kind=request.kind,
            size=size,
            seconds=seconds,
            submitted_at=video.created_at or reserved.at,
            adopted=adopted,
            **_costs(request, video, server, model, size, seconds),
        )
        job = await self._recorded(lambda: self.ledger.accept(self.folder, job), video.id)
        return job if adopted else job.model_copy(update={"sent_here": True})

    async def model_of(self, request: VideoRequest, told: str | None) -> str | None:
        """Say by which model a render is priced: what starts from a video takes over its model.

        Of a video that was named by its id alone the store may know more than the server tells,
        which on a deployment is no model's name.
        """
        if request.model is None and request.source_video_id:
            with contextlib.suppress(StorageError):  # it would only give a price
                source, identity = request.source_video_id, self.client.server.identity
                state = await self.ledger.named(source, identity)
                accepted = state.accepted.job if state and state.accepted else None
                known = state.stored.video if state and state.stored else accepted
                if known and known.model:
                    return known.model
        return request.model or told

    async def claim(self, video_id: str) -> str:
        """Claim a video id that was paid for, and return the key of the render that holds it.

        Raises:
            StorageError: As `accept` says.
        """
        identity = self.client.server.identity
        return await self._recorded(
            lambda: self.ledger.claim(identity, video_id, self.key), video_id
        )

    async def refuse(self, error: SoraError, *, keep_charge: bool = False) -> SoraError:
        """Close the attempt where it is certain that nothing was accepted; return the error.

        Args:
            error: Why.
            keep_charge: Whether its charge is left for the attempt that follows.
        """
        error.about(key=self.key, paid="no")
        record = Failed(
            key=self.key,
            attempt=self.number,
            at=time(),
            kind="moderated" if isinstance(error, ModerationError) else "refused",
            message=error.message,
            code=error.code if isinstance(error, (ApiError, ModerationError)) else None,
        )
        try:
            await self.ledger.fail(self.folder, record, self.reserved)
        except StorageError as lost:
            # The caller has to hear the refusal; without a record the attempt is looked up again.
            log.warning("That render %s was refused is not recorded: %s", self.key, lost)
        if not keep_charge:
            await take_back(self.reserved, self.ledger.store)
        return error

    async def _recorded(self, write: Callable[[], Awaitable[_T]], video_id: str) -> _T:
        """Write down a video id that was paid for, through a store that fails for a while."""
        for pause_s in limits().record_pauses_seconds:
            try:
                return await write()
            except StorageError as error:
                log.warning(
                    "Video %s of render %s is not recorded yet: %s",
                    video_id,
                    self.key,
                    error.message,
                )
                await asyncio.sleep(pause_s)
        try:
            return await write()
        except StorageError as error:
            error.advise(
                f"The server has it as video {video_id}: run the same again when the store works.",
                NextStep("adopt", video_id=video_id),
            )
            error.about(key=self.key, video_id=video_id, paid="yes")
            raise


def is_busy(error: SoraError) -> bool:
    """Whether a server refused for the moment, before any work, and may be asked again."""
    if isinstance(error, UnavailableError):
        return error.status == 503 and not error.never_sent
    return isinstance(error, RateLimitError)


def another_worker_holds_it(state: RenderState) -> RenderTimeoutError:
    """Say that a live worker is between its reservation and its record."""
    return RenderTimeoutError(
        "Another worker is submitting this render and has not finished.",
        key=state.key,
        paid="unknown",
        next_step=(NextStep("again"), NextStep("resume")),
    )


def _costs(
    request: VideoRequest,
    video: Video,
    server: Server,
    model: str | None,
    size: str | None,
    seconds: int | None,
) -> dict[str, Any]:
    if request.kind == "existing":
        return {"cost_usd": 0.0 if server.local else None}  # paid by whoever rendered it
    # An extension is charged only for the seconds that it adds.
    charged = request.seconds if request.kind == "extend" else seconds
    estimate_usd = server.cost_usd(model, size, charged, request)
    told = video.told.beside(estimate_usd)
    return {"cost_usd": estimate_usd, "actual_usd": told.usd, "cost_doubt": told.doubt}


def asked_for(reserved: Reserved, read: Callable[[dict[str, JsonValue]], _R]) -> _R:
    """Read back the request of a reservation.

    Raises:
        InvalidRequestError: It holds none, as one that was changed by hand.
    """
    try:
        return read(reserved.request)
    except ValidationError as error:
        wrong = in_words(error)
    raise InvalidRequestError(
        f"The record of the render {reserved.key} holds no request: {wrong}",
        key=reserved.key,
        paid="unknown",
        next_step=PUT_IT_BACK,
    )


def _seconds(video: Video) -> int | None:
    try:
        return int(float(video.seconds or ""))
    except (ValueError, OverflowError):
        return None
