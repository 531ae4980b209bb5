"""Sweep: all that a store's dead runs left behind comes home, and nothing is paid.

What the server forgets soonest is fetched first. One render that fails keeps no
other from coming home, and what a live run is at work on is left to it.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from time import time
from typing import Literal

from prefect_sora.errors import (
    InvalidRequestError,
    RenderTimeoutError,
    SoraError,
    StorageError,
    UncertainSubmitError,
)
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.handles import RenderedVideo, StoredImage, StoredVideo, VideoJob
from prefect_sora.limits import limits
from prefect_sora.renders.finish.keep import keep
from prefect_sora.renders.finish.options import WaitOptions
from prefect_sora.renders.finish.polling import OnProgress
from prefect_sora.renders.finish.wait import wait
from prefect_sora.renders.images.keep import bring_home, uncertain
from prefect_sora.renders.recovery.resume import take_up
from prefect_sora.renders.submit.attempt import another_worker_holds_it
from prefect_sora.requests.video import title
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import RenderState

log = logging.getLogger(__name__)

Outcome = Literal["kept", "waiting", "in_doubt", "failed", "skipped"]


@dataclass(frozen=True)
class Swept:
    """What became of one render.

    Attributes:
        state: Where it stood before.
        outcome: `waiting` renders still, `in_doubt` needs a person, `skipped` was not touched.
        video: Where it is kept.
        image: The same, of pictures.
        error: Why it is not kept, and what to do next.
    """

    state: RenderState
    outcome: Outcome
    video: StoredVideo | None = None
    error: Exception | None = None
    image: StoredImage | None = None

    @property
    def key(self) -> str:
        """The render's key."""
        return self.state.key

    @property
    def url(self) -> str | None:
        """Where it is kept; None where it is not."""
        kept = self.video or self.image
        return kept.url if kept else None

    @property
    def title(self) -> str:
        """The render's prompt, in one line."""
        if self.state.reserved:
            return title(str(self.state.reserved.request.get("prompt") or ""))
        return self.state.accepted.job.title if self.state.accepted else self.state.folder


ClientOf = Callable[[RenderState], Awaitable[VideoClient]]


async def sweep(
    ledger: Ledger,
    client_of: ClientOf,
    options: WaitOptions | None = None,
    *,
    older_than_seconds: float = 0.0,
    follow: Callable[[RenderState], OnProgress] | None = None,
    kept: Callable[[StoredVideo], None] | None = None,
) -> list[Swept]:
    """Bring home all renders of a store that were begun and neither kept nor failed.

    One whose records cannot be read, as of a later version, is skipped with its error.

    Args:
        ledger: The store's records.
        client_of: The server that a render was sent to; it raises for one that it
            cannot give, and that render is skipped.
        options: How long to wait for what is still being rendered; past that it is left to a
            later sweep. None: the defaults.
        older_than_seconds: What was begun later is left to the run that began it, unless
            that run's process is known to be dead.
        follow: Makes what hears of a render's progress.
        kept: Hears of each video that is home.

    Raises:
        StorageError: The store cannot be read.
    """
    gate = asyncio.Semaphore(limits().sweeps_at_once)

    async def one(found: _Found) -> Swept:
        state = found.state
        try:
            if state.is_image:
                return Swept(state, "kept", image=await _picture_of(found, ledger, gate))
            follower = follow(state) if follow else None
            video = await _bring_home(found, ledger, gate, options, follower)
        except Exception as error:  # one that fails keeps no other from coming home
            if not isinstance(error, SoraError):
                log.exception("Render %s", state.key)
            return Swept(state, outcome_of(error), error=error)
        if kept:
            kept(video)
        return Swept(state, "kept", video=video)

    unread: list[Swept] = []

    def left(folder: str, error: StorageError) -> None:
        unread.append(Swept(RenderState(folder), "skipped", error=error))

    states = await ledger.unfinished(tidy=True, left=left)
    looks = asyncio.Semaphore(limits().sweep_looks_at_once)
    looked = await asyncio.gather(
        *(_look(state, ledger, client_of, looks, older_than_seconds) for state in states)
    )
    found = sorted((f for f in looked if isinstance(f, _Found)), key=_Found.urgency)
    return [
        *(await asyncio.gather(*(one(render) for render in found))),
        *(f for f in looked if isinstance(f, Swept)),
        *unread,
    ]


async def client_among(clients: Iterable[VideoClient], state: RenderState) -> VideoClient:
    """Choose the server that a render was sent to, as the account that it was sent under.

    Of several accounts on one server, the one that sent it is chosen, because another
    account's list may not show it; where nobody can tell which one did, the first.

    Raises:
        InvalidRequestError: It is none of them.
    """
    accepted = state.accepted
    account = state.reserved.account if state.reserved else None
    by_account = {True: 0, None: 1, False: 2}
    for client in sorted(clients, key=lambda one: by_account[one.server.is_account(account)]):
        if state.reserved:
            is_it = state.reserved.server == client.server.identity
        else:  # a torn reservation; the record of its job names the server
            is_it = accepted is not None and accepted.job.provider == client.server.label
        if is_it:
            return client
    sent_to = state.reserved.server if state.reserved else None
    raise InvalidRequestError(
        f"It was sent to {sent_to}, which is none of the providers given."
        if sent_to
        else "Its record does not say where it was sent.",
        key=state.key,
        video_id=accepted.job.video_id if accepted else None,
        paid="yes" if accepted else "unknown",
        next_step=("Sweep with that provider.", NextStep("resume")),
    )


@dataclass(frozen=True)
class _Found:
    """A render to bring home, and what its server says of it."""

    state: RenderState
    client: VideoClient
    finished: bool = False
    expires_at: float | None = None

    def urgency(self) -> tuple[bool, float, float]:
        """Finished ones first, those that expire soonest before the others; then by age."""
        return (not self.finished, self.expires_at or math.inf, _begun_at(self.state))


async def _look(
    state: RenderState,
    ledger: Ledger,
    client_of: ClientOf,
    gate: asyncio.Semaphore,
    older_than_seconds: float,
) -> _Found | Swept:
    reserved = state.reserved
    if state.name == "reserved" and reserved and ledger.is_held(reserved):
        return Swept(state, "skipped", error=another_worker_holds_it(state))
    dead = reserved is not None and reserved.owner.is_dead() is True
    age_s = time() - _begun_at(state)
    if not dead and age_s < older_than_seconds:
        return Swept(state, "skipped", error=_young(state, age_s))
    try:
        client = await client_of(state)
    except SoraError as error:
        return Swept(state, "skipped", error=error.about(key=state.key))
    if state.accepted is None:
        return _Found(state, client)
    try:
        async with gate:
            video = await client.retrieve(state.accepted.job.video_id)
    except SoraError:  # the wait rides out a passing error, and raises a lasting one
        return _Found(state, client)
    return _Found(state, client, video.status == "completed", video.expires_at)


async def _bring_home(
    found: _Found,
    ledger: Ledger,
    gate: asyncio.Semaphore,
    options: WaitOptions | None,
    on_progress: OnProgress | None,
) -> StoredVideo:
    """Bring one render home; the gate counts fetches and look-ups, not waits."""
    client = found.client

    async def waited(job: VideoJob) -> RenderedVideo:
        return await wait(job, client, ledger, options, on_progress=on_progress)

    async with gate:
        state = await ledger.again(found.state)  # its run may have gone on meanwhile
        if state.stored:
            return state.stored.video
        job = await take_up(state, client, ledger)
        if found.finished:
            return await keep(await waited(job), client, ledger)
    rendered = await waited(job)
    async with gate:
        return await keep(rendered, client, ledger)


async def _picture_of(found: _Found, ledger: Ledger, gate: asyncio.Semaphore) -> StoredImage:
    """Find pictures that stand in the store; others can be asked for nowhere."""
    async with gate:
        state = await ledger.state(found.state.folder)
        with ledger.about(state.key):
            if home := await bring_home(state, found.client, ledger):
                return home
            if state.failed:
                raise state.failed.error()
            raise uncertain(state.key)


def _begun_at(state: RenderState) -> float:
    return max((r.at for r in (state.reserved, state.accepted) if r), default=0.0)


def _young(state: RenderState, age_s: float) -> RenderTimeoutError:
    accepted = state.accepted
    return RenderTimeoutError(
        f"It was begun {age_s:.0f} s ago and is left to its own run.",
        key=state.key,
        video_id=accepted.job.video_id if accepted else None,
        paid="yes" if accepted else "unknown",
        next_step=("A later sweep takes it.", NextStep("resume")),
    )


def outcome_of(error: Exception) -> Outcome:
    """Say in a word how an error leaves a render."""
    if isinstance(error, UncertainSubmitError):
        return "in_doubt"
    return "waiting" if isinstance(error, RenderTimeoutError) else "failed"
