"""Fixture: renders on a stranger, and what it says was paid for them.

`meet` gives a stranger of a character, with clients, a store and a verdict: nothing was paid
for twice, and whatever is kept is the video of a job with just that request.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Any, Final

import pytest
from pydantic import SecretStr

from prefect_sora.errors import SoraError
from prefect_sora.handles import StoredVideo
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.profiles import Profile
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import remote
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from tests.support.renders import clip, left_in_doubt, render
from tests.support.stranger.character import Character
from tests.support.stranger.clips import whose
from tests.support.stranger.handling import Pair

QUICK: Final = Profile(name="quick", submit_grace_s=0.3, longest_create_s=0.3)
"""What nobody knows anything of, and is quick."""

PATIENT: Final = Profile(name="patient", submit_grace_s=0.3, longest_create_s=1.6)
"""A gateway may keep a create so long before it passes it on."""

Outcome = StoredVideo | SoraError


@dataclass
class Meeting:
    """A stranger, the store of its renders, and its clients.

    Attributes:
        asked: What was asked of it.
    """

    pair: Pair
    ledger: Ledger
    profile: Profile = QUICK
    asked: list[VideoRequest] = field(default_factory=list)
    _clients: list[VideoClient] = field(default_factory=list)

    def client(self, key: str | None = None) -> VideoClient:
        """A client with a key, as a worker has one: nothing of it is known to another."""
        api_key = SecretStr(key) if key else None
        client = VideoClient(remote(self.pair.base_url, api_key=api_key, profile=self.profile))
        self._clients.append(client)
        return client

    async def run(
        self, request: VideoRequest | None = None, key: str | None = None, **options: Any
    ) -> Outcome:
        """Render it, as a run in a process of its own does, and say what came of that."""
        request = request or clip()
        self.asked.append(request)
        given = {"timeout_seconds": 20.0, "poll_interval_seconds": 0.05, **options}
        try:
            return await render(request, self.client(key), self.ledger, "tonight", **given)
        except SoraError as error:
            return error

    async def dead(self, request: VideoRequest, *, accepted: bool, age_s: float = 0.0) -> None:
        """Leave what a worker leaves that dies before the answer to its create.

        Args:
            request: What it was to render.
            accepted: Whether the create has arrived.
            age_s: How long ago that was.
        """
        self.asked.append(request)
        await left_in_doubt(self.client(), self.ledger, request, at=time() - age_s)
        if accepted:
            self.pair.accept(_fields(request), age_s=age_s, kind=request.kind)

    async def close(self) -> None:
        """Close all clients."""
        for client in self._clients:
            await client.close()

    async def holds(self, paid: int | None = None) -> None:
        """Hold the promise.

        Args:
            paid: How many jobs were to be paid for; None: one for each request that was asked.
        """
        self.pair.settle()
        truth = {job["id"]: job for job in self.pair.truth()}
        made = Counter(_sent(job["fields"]) for job in truth.values())
        renders = {one.model_dump_json(): one for one in self.asked}
        wanted = Counter(_sent(_fields(one)) for one in renders.values())
        assert not made - wanted, f"paid twice: {made - wanted}"
        assert paid in (None, len(truth)), f"paid {len(truth)} times"
        for name in await self.ledger.folders():
            stored = await self.ledger.stored(name)
            if stored is None:
                continue
            film = await self.ledger.store.read(f"{name}/video.mp4")
            assert film is not None
            reserved = (await self.ledger.state(name)).reserved
            assert reserved is not None
            job = truth[whose(film)]
            assert job["id"] == stored.video.video_id
            request = VideoRequest.model_validate(reserved.request)
            assert _sent(job["fields"]) == _sent(_fields(request)), "another's video was kept"


def _fields(request: VideoRequest) -> dict[str, Any]:
    """What a request says to a server, in the protocol's words."""
    said = request.model_dump(include={"prompt", "model", "size", "seconds"}, exclude_none=True)
    if request.source_video_id:
        said = {"prompt": request.prompt, "video": {"id": request.source_video_id}}
        said |= {"seconds": request.seconds} if request.kind == "extend" else {}
    if request.characters:
        said["characters"] = [{"id": one} for one in request.characters]
    return {**said, **request.extra}


def _sent(fields: dict[str, Any]) -> str:
    """The same, in one order and as text."""
    return repr(sorted((name, str(value)) for name, value in fields.items()))


Meet = Callable[..., Meeting]
"""From a character and a profile."""


@pytest.fixture(scope="session")
def _pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    pair = Pair(tmp_path_factory.mktemp("stranger"))
    yield pair
    pair.kill()


@pytest.fixture
async def meet(_pair: Pair, tmp_path: Path) -> AsyncIterator[Meet]:
    """Meet a stranger: one pair of processes for the session, of another character each time."""
    meetings: list[Meeting] = []

    def meeting(character: Character | None = None, profile: Profile = QUICK) -> Meeting:
        _pair.reset(character or Character())
        meetings.append(Meeting(_pair, Ledger(VideoFolder(str(tmp_path / "clips"))), profile))
        return meetings[-1]

    yield meeting
    for one in meetings:
        await one.close()
