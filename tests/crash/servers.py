"""Servers: whom the crash points are tried against, and what each says was paid."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any, Protocol

import pytest

from prefect_sora.servers.local import find_running
from tests.support.renderer import Renderer, until
from tests.support.stranger.character import Character
from tests.support.stranger.handling import Pair


class Payee(Protocol):
    """A video server that flows die on."""

    @property
    def root(self) -> str:
        """The origin that requests go to."""

    @property
    def pid(self) -> int:
        """Its process now, whoever has started it."""

    def provider(self, name: str) -> dict[str, Any]:
        """What a nursery makes a provider of, for the store of that name."""

    def accepted(self, prompt: str) -> list[str]:
        """The ids of all that was ever accepted with these words in its prompt."""

    def brought_back(self) -> Any:
        """Start it again when it dies, as long as the block lasts."""

    def end(self) -> None:
        """End what runs of it."""


@dataclass
class Local:
    """The local renderer, which flows start by themselves."""

    renderer: Renderer

    @property
    def root(self) -> str:
        """Its address."""
        return self.renderer.root

    @property
    def pid(self) -> int:
        """Its process."""
        return int(until(lambda: find_running(self.renderer.folder), "the server runs").pid)

    def provider(self, name: str) -> dict[str, Any]:
        """Its folder."""
        return {"folder": str(self.renderer.folder)}

    def accepted(self, prompt: str) -> list[str]:
        """What its list says."""
        with self.renderer.client() as client:
            listed = client.get("/videos", params={"limit": 100}).json()["data"]
        return [job["id"] for job in listed if prompt in job["prompt"]]

    @contextmanager
    def brought_back(self) -> Iterator[None]:
        """Start it again, unless its block has been quicker."""

        def restart() -> None:
            with suppress(pytest.fail.Exception):
                self.renderer.restart()

        with _watched(lambda: find_running(self.renderer.folder) is not None, restart):
            yield

    def end(self) -> None:
        """Kill it, whoever has started it."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class Strange:
    """A stranger behind its gateway: it shows jobs in its own way, and each store has a key."""

    def __init__(self, folder: Path) -> None:
        self.pair = Pair(
            folder, Character(keys={"*": "*"}, models="dated", lengths="number", says_more=False)
        )

    @property
    def root(self) -> str:
        """The gateway's address."""
        return self.pair.gateway.root

    @property
    def pid(self) -> int:
        """The server's process."""
        until(lambda: self.pair.server.runs, "the server runs")
        return self.pair.server.pid

    def provider(self, name: str) -> dict[str, Any]:
        """A server of which nothing is known, and is quick."""
        profile = {"base": "generic", "submit_grace_s": 0.5, "longest_create_s": 2.0}
        return {"base_url": self.pair.base_url, "api_key": f"sk-{name}", "profile": profile}

    def accepted(self, prompt: str) -> list[str]:
        """What it says where it tells the truth."""
        return [job["id"] for job in self.pair.truth() if prompt in job["fields"]["prompt"]]

    @contextmanager
    def brought_back(self) -> Iterator[None]:
        """Start the server again; the gateway stays."""
        with _watched(lambda: self.pair.server.runs, self.pair.server.start):
            yield

    def end(self) -> None:
        """End both."""
        self.pair.kill()


@contextmanager
def _watched(runs: Callable[[], bool], restart: Callable[[], None]) -> Iterator[None]:
    done = Event()

    def watch() -> None:
        while not done.wait(0.05):
            if not runs():
                restart()

    watcher = Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
