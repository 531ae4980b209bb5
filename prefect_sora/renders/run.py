"""Run: every render goes one way, submit, wait and keep, whoever takes the steps."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, Self, TypeVar

from prefect_sora.errors import InvalidRequestError, RenderFailedError, SoraError
from prefect_sora.handles import RenderedVideo, StoredVideo, VideoJob
from prefect_sora.limits import limits
from prefect_sora.renders.fallback import on_the_first, pass_on_failed
from prefect_sora.renders.finish.as_asked import held_to
from prefect_sora.renders.finish.cancel import ByPerson
from prefect_sora.renders.finish.keep import keep
from prefect_sora.renders.finish.wait import wait
from prefect_sora.renders.submit.candidates import Way
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.renders.submit.submit import AskedVideo
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.connections import connect
from prefect_sora.servers.protocol.video_object import Video
from prefect_sora.store.ledger import Ledger

log = logging.getLogger(__name__)

T = TypeVar("T")


class Steps(Protocol):
    """What takes the steps of a render: `PlainSteps` here, task runs in a Prefect flow."""

    async def submit(self, request: VideoRequest) -> VideoJob:
        """Have the request accepted, once; a render that was begun before is found."""

    async def wait(self, job: VideoJob) -> RenderedVideo:
        """Wait until the server has finished the job."""

    async def keep(self, video: RenderedVideo) -> StoredVideo:
        """Bring the finished video into the store."""

    async def pass_on(self, job: VideoJob, error: RenderFailedError) -> None:
        """Leave a job that has failed for nothing to the next of several servers.

        Raises:
            RenderFailedError: There is no next one, or the job may have cost something.
        """


async def render(request: VideoRequest, steps: Steps) -> StoredVideo:
    """Carry a request to a kept video: pay for it at most once.

    Raises:
        SoraError: As the steps say; each says whether it was paid, and what to do next.
    """
    while True:
        job = await steps.submit(request)
        try:
            return await bring_home(job, steps)
        except RenderFailedError as error:
            await steps.pass_on(job, error)


async def bring_home(job: VideoJob, steps: Steps) -> StoredVideo:
    """Wait for a job, and keep its video.

    Raises:
        SoraError: As the steps say; the job stays resumable, unless it has failed.
    """
    return await steps.keep(await steps.wait(job))


async def retried(step: Callable[[], Awaitable[T]]) -> T:
    """Take a step, and take it again where it failed for the moment.

    The records make that safe: nothing is paid for twice.

    Raises:
        SoraError: It failed for good, or time after time.
    """
    for pause_seconds in limits().step_pauses_seconds:
        try:
            return await step()
        except SoraError as error:
            if not error.retryable:
                raise
            soon = f" in {pause_seconds:.0f} s" if pause_seconds >= 1 else ""
            log.warning("Trying again%s: %s", soon, error.message)
        await asyncio.sleep(pause_seconds)
    return await step()


@dataclass(frozen=True)
class PlainSteps:
    """The steps as plain calls, without Prefect, on one server or the first of several.

    Attributes:
        ways: The servers, the preferred first.
        ledger: The store's records.
        options: How the render is shared, waited for and paid.
        by_person: Says whether a person cancelled; None where nobody can tell.
        on_submitted: Hears of the job that was accepted, or found.
        on_progress: Hears of each change at the server.
        on_kept: Hears of the video that is in the store.
        parent_key: The render that they start from.
        patient: Take a step again that failed for the moment, where that pays for nothing.
    """

    ways: Sequence[Way]
    ledger: Ledger
    options: RenderOptions
    by_person: ByPerson | None = None
    on_submitted: Callable[[VideoJob], None] | None = None
    on_progress: Callable[[VideoJob, Video], object] | None = None
    on_kept: Callable[[StoredVideo], None] | None = None
    parent_key: str | None = None
    patient: bool = False

    @classmethod
    def on(cls, client: VideoClient, ledger: Ledger, options: RenderOptions) -> Self:
        """Take the steps on the one server of a client."""

        async def connected() -> VideoClient:
            return client

        return cls([Way(client.server, connected)], ledger, options)

    def with_maker_of(self, video: StoredVideo) -> Self:
        """Take them on the server that made a video: no other can start from it.

        Raises:
            InvalidRequestError: None of several servers is that one.
        """
        made_it = [way for way in self.ways if way.server.label == video.provider]
        if len(self.ways) > 1 and not made_it:
            raise InvalidRequestError(
                f"It was made by {video.provider}, which is none of the providers given.",
                paid="yes",
                next_step="Add that server to the list.",
            )
        return replace(self, ways=made_it or self.ways)

    async def submit(self, request: VideoRequest) -> VideoJob:
        """Have the first server make it, or the next where that one certainly has not."""
        job = await on_the_first(
            self.ways, AskedVideo(request, self.ledger, self.options, self.parent_key)
        )
        if self.on_submitted:
            self.on_submitted(job)
        return job

    async def wait(self, job: VideoJob) -> RenderedVideo:
        """Wait until the server that has the job has finished it."""
        client, hear = await self._client_of(job), self.on_progress

        async def waited() -> RenderedVideo:
            return await wait(
                job,
                client,
                self.ledger,
                self.options,
                by_person=self.by_person,
                on_progress=partial(hear, job) if hear else None,
            )

        return await self._taken(waited)

    async def keep(self, video: RenderedVideo) -> StoredVideo:
        """Keep the video in the store, with its stills."""
        client = await self._client_of(video)
        stored = await self._taken(lambda: keep(video, client, self.ledger))
        if self.on_kept:
            self.on_kept(stored)
        return held_to(self.options.strict, stored)

    async def pass_on(self, job: VideoJob, error: RenderFailedError) -> None:
        """Leave a failed job to the next server; see `fallback.pass_on_failed`."""
        await pass_on_failed(error, job, self.ways[-1].server.label, self.ledger)
        log.warning("Passed on to the next provider: %s", error.message)

    async def _taken(self, step: Callable[[], Awaitable[T]]) -> T:
        return await retried(step) if self.patient else await step()

    async def _client_of(self, job: VideoJob) -> VideoClient:
        """Find the server that has the job; a single one is taken at its word.

        For a video that is kept the server is asked nothing, so it need not be there.
        """
        there = (way for way in self.ways[:-1] if way.server.label == job.provider)
        way = next(there, self.ways[-1])
        return connect(way.server) if job.stored else await way.connect()
