"""Trial: one server under examination, the clip that all behaviours share, and what was seen."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

import httpx2

from prefect_sora.errors import RejectedError, SoraError, VideoNotFoundError
from prefect_sora.handles import RenderedVideo, StoredVideo, VideoJob
from prefect_sora.renders.finish.keep import keep
from prefect_sora.renders.finish.options import WaitOptions
from prefect_sora.renders.finish.wait import wait
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.renders.submit.prepare import identify
from prefect_sora.renders.submit.submit import submit
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import Server
from prefect_sora.store.ledger import Ledger

Outcome = Literal["held", "refused", "drawn", "ignored", "in doubt", "failed", "not tried"]
"""What came of a behaviour.

`refused`: the server lacks it, which is said with the right error and costs nothing; `drawn`: the
server lacks it, and it is made here; `ignored`: the server takes any model's name; `in doubt`:
the server cannot tell, and a person is asked; `not tried`: it needs what a test server alone can
give, or an earlier behaviour that failed.
"""

Fault = Literal["fail", "moderate", "lose"]
"""What the next create is to meet: a job that fails, one that moderation refuses, or an answer
that is lost after the job was accepted."""

LACKING: Final = frozenset({400, 404, 405, 501})
"""Statuses by which servers say that they have no such thing."""


class Provoke(Protocol):
    """Makes the next create meet a fault, which only a test server can do."""

    async def __call__(self, fault: Fault) -> None:
        """Have the next create meet this fault, once."""


@dataclass(frozen=True)
class Finding:
    """One behaviour's outcome.

    Attributes:
        behaviour: Its name.
        outcome: What came of it.
        said: Why, or what was seen.
        cost_usd: What it cost by the server's prices; None where a price is not known.
    """

    behaviour: str
    outcome: Outcome
    said: str
    cost_usd: float | None = 0.0


Verdict = tuple[Outcome, str]


class BrokenError(Exception):
    """The server, or this package on it, did other than it should."""


class UntriedError(Exception):
    """The behaviour cannot be tried here."""


class CountingClient(VideoClient):
    """A client that counts the requests it sends, except those that only ask."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.posts = 0

    async def post(self, path: str, *given: Any, **named: Any) -> httpx2.Response:
        """Send something once, and count it."""
        self.posts += 1
        return await super().post(path, *given, **named)


@dataclass
class Trial:
    """One server under examination.

    Attributes:
        server: With a profile that is known.
        ledger: Where what is made is kept; nothing is paid for twice.
        request: The clip that the others start from.
        scope: This trial's own, so that it renders anew.
        provoke: Causes faults, where the server can.
        waiting: How its jobs are waited for.
        client: Counts what is sent.
        job: The job of the clip, once it is accepted.
        rendered: The clip, once it is finished.
        stored: The clip, once it is kept.
        kept: Ids of all videos that were made and kept.
        costs_usd: What each job that was accepted costs; None where a price is not known.
    """

    server: Server
    ledger: Ledger
    request: VideoRequest
    scope: str
    provoke: Provoke | None
    waiting: WaitOptions
    client: CountingClient
    job: VideoJob | None = None
    rendered: RenderedVideo | None = None
    stored: StoredVideo | None = None
    kept: list[str] = field(default_factory=list)
    costs_usd: dict[str, float | None] = field(default_factory=dict)

    @asynccontextmanager
    async def another_worker(self, server: Server | None = None) -> AsyncIterator[CountingClient]:
        """Connect like a worker that knows nothing but the store."""
        client = CountingClient(server or self.server)
        try:
            yield client
        finally:
            await client.close()

    async def submit(self, request: VideoRequest, client: VideoClient | None = None) -> VideoJob:
        """Have a request accepted, or its job found."""
        client = client or self.client
        prepared = await identify(request, client, self.scope)
        job = await submit(prepared, client, self.ledger, RenderOptions(self.scope))
        self.costs_usd[job.video_id] = job.cost_usd
        return job

    async def render(self, request: VideoRequest, client: VideoClient | None = None) -> StoredVideo:
        """Submit a request, wait for its video, and keep it."""
        client = client or self.client
        job = await self.submit(request, client)
        rendered = await wait(job, client, self.ledger, self.waiting)
        stored = await keep(rendered, client, self.ledger)
        self.kept.append(stored.video_id)
        return stored

    async def provoked(self, fault: Fault) -> None:
        """Arrange a fault.

        Raises:
            UntriedError: This server cannot be told to.
        """
        if self.provoke is None:
            raise UntriedError("only a test server can be told to do this")
        await self.provoke(fault)

    def clip(self, prompt: str, **changes: Any) -> VideoRequest:
        """Ask for another clip like the first one."""
        return self.request.model_copy(update={"prompt": prompt, **changes})

    def the_job(self) -> VideoJob:
        """The clip that was accepted.

        Raises:
            UntriedError: None was.
        """
        if self.job is None:
            raise UntriedError("no clip was accepted to try it with")
        return self.job

    def the_video(self) -> StoredVideo:
        """The clip that is kept.

        Raises:
            UntriedError: None is.
        """
        if self.stored is None:
            raise UntriedError("no clip was kept to try it with")
        return self.stored


def expect(condition: object, otherwise: str) -> None:
    """Go on if the condition holds.

    Raises:
        BrokenError: It is not.
    """
    if not condition:
        raise BrokenError(otherwise)


def by_the_server(error: SoraError) -> Verdict:
    """Accept a server's own refusal as an answer.

    Raises:
        SoraError: It is another trouble.
    """
    if isinstance(error, (RejectedError, VideoNotFoundError)) and error.status in LACKING:
        return "refused", f"by the server itself: {error.message}"
    raise error
