"""Homecoming: what a webhook tells of is brought home, as `resume` does it; nothing is paid."""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

from prefect_sora.errors import RenderFailedError, SoraError
from prefect_sora.handles import StoredVideo
from prefect_sora.limits import limits
from prefect_sora.renders.finish.options import WaitOptions
from prefect_sora.renders.recovery.resume import resume
from prefect_sora.renders.recovery.sweep import client_among
from prefect_sora.renders.run import retried
from prefect_sora.servers.protocol.connections import connect
from prefect_sora.servers.server import Server
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.identity import key_of
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import RenderState

log = logging.getLogger(__name__)


class Homecoming:
    """Brings the renders of one store home, each once, a few at a time.

    Args:
        folder: The store.
        servers: Who renders.
        kept: Hears of each video that is home.
    """

    def __init__(
        self,
        folder: VideoFolder,
        servers: Sequence[Server],
        kept: Callable[[StoredVideo], object] | None = None,
    ) -> None:
        self.ledger, self._servers, self._kept = Ledger(folder), servers, kept
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._closed: dict[str, None] = {}
        self._settling = asyncio.Lock()
        self._gate = asyncio.Semaphore(limits().sweeps_at_once)

    def begin(self, key: str, *, anew: bool = True) -> None:
        """Begin to bring a render home, unless that is under way.

        Args:
            key: The render.
            anew: Else the same was told before, so that a render which is closed needs nothing.
        """
        if key in self._under_way or (not anew and key in self._closed):
            return
        self._start(key, self._home(key))

    async def settle(self, servers: Collection[str]) -> None:
        """Look for the jobs of lost creates in the lists of these servers; once at a time."""
        if self._settling.locked():  # events of others' jobs may be many
            return
        async with self._settling:
            states = await self.ledger.unfinished(left=lambda *_: None)
        for state in states:
            reserved = state.reserved if state.name == "reserved" else None
            if reserved is None or state.is_image or reserved.server not in servers:
                continue
            if not self.ledger.is_held(reserved):
                self.begin(state.key)

    async def close(self) -> None:
        """Stop; what is under way stays resumable."""
        tasks = [*self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        task = self._under_way[key] = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._under_way.pop(key, None))

    async def _home(self, key: str) -> None:
        try:
            async with self._gate:
                video = await self._brought(key)
        except RenderFailedError as error:
            log.info("Render %s has ended without a video: %s", key, error.message)
        except SoraError as error:
            log.warning("Render %s is left to its run, or to a sweep: %s", key, error.message)
            return
        except Exception:
            log.exception("Render %s", key)
            return
        else:
            if video and self._kept:
                self._kept(video)
            if video:
                log.info("Render %s is home: %s", key, video.url)
        self._closed[key] = None
        while len(self._closed) > limits().attempts_remembered:
            del self._closed[next(iter(self._closed))]

    async def _brought(self, key: str) -> StoredVideo | None:
        folders = [one for one in await self.ledger.open_folders() if key_of(one) == key]
        state = await self.ledger.state(folders[0]) if folders else None
        if state is None or not state.is_open or state.is_image:
            return None
        client = await client_among(map(connect, self._servers), state)
        options = WaitOptions(timeout_seconds=limits().webhook_wait_seconds)

        async def step(state: RenderState = state) -> StoredVideo:
            return await resume(await self.ledger.again(state), client, self.ledger, options)

        return await retried(step)
