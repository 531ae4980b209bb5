"""Run: every render goes one way, submit, wait and keep, whoever takes the steps."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from prefect_sora.errors import RenderFailedError
from prefect_sora.handles import RenderedVideo, StoredVideo, VideoJob
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
from prefect_sora.store.ledger import Ledger

log = logging.getLogger(__name__)


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


@dataclass(frozen=True)
class PlainSteps:
    """The steps as plain calls, without Prefect, on one server or the first of several.

    Attributes:
        ways: The servers, the preferred first.
        ledger: The store's records.
        options: How the render is shared, waited for and paid.
        by_person: Says whether a person cancelled; None where nobody can tell.
        on_submitted: Hears of the job that was accepted, or found.
    """

    ways: Sequence[Way]
    ledger: Ledger
    options: RenderOptions
    by_person: ByPerson | None = None
    on_submitted: Callable[[VideoJob], None] | None = None

    @classmethod
    def on(cls, client: VideoClient, ledger: Ledger, options: RenderOptions) -> Self:
        """Take the steps on the one server of a client."""

        async def connected() -> VideoClient:
            return client

        return cls([Way(client.server, connected)], ledger, options)

    async def submit(self, request: VideoRequest) -> VideoJob:
        """Have the first server make it, or the next where that one certainly has not."""
        job = await on_the_first(self.ways, AskedVideo(request, self.ledger, self.options))
        if self.on_submitted:
            self.on_submitted(job)
        return job

    async def wait(self, job: VideoJob) -> RenderedVideo:
        """Wait until the server that has the job has finished it."""
        client = await self._client_of(job)
        return await wait(job, client, self.ledger, self.options, by_person=self.by_person)

    async def keep(self, video: RenderedVideo) -> StoredVideo:
        """Keep the video in the store, with its stills."""
        kept = await keep(video, await self._client_of(video), self.ledger)
        return held_to(self.options.strict, kept)

    async def pass_on(self, job: VideoJob, error: RenderFailedError) -> None:
        """Leave a failed job to the next server; see `fallback.pass_on_failed`."""
        await pass_on_failed(error, job, self.ways[-1].server.label, self.ledger)
        log.warning("Passed on to the next provider: %s", error.message)

    async def _client_of(self, job: VideoJob) -> VideoClient:
        """Find the server that has the job; a single one is taken at its word.

        For a video that is kept the server is asked nothing, so it need not be there.
        """
        there = (way for way in self.ways[:-1] if way.server.label == job.provider)
        way = next(there, self.ways[-1])
        return connect(way.server) if job.stored else await way.connect()
