"""Handling: a stranger and its gateway from a test's side."""

import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from threading import Event
from typing import Any

from tests.support.asking import ask
from tests.support.stranger.character import Character, Manner, Manners

# Below where systems take the ports of outgoing connections from: one of these might get the
# port while its process is dead, and keep it.
_PORTS = range(20_000, 30_000)


def _free_port() -> int:
    for port in SystemRandom().sample(_PORTS, 200):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


@dataclass
class Process:
    """One of the two, which keeps its port through any death."""

    words: list[str]
    port: int = field(default_factory=_free_port)
    _process: subprocess.Popen[str] | None = None

    @property
    def root(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process, dead or alive."""
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.kill()  # dead already, as a rule; but the pipe of its last life is open
        command = [sys.executable, "-m", "tests.support.stranger", "--port", str(self.port)]
        self._process = subprocess.Popen(
            [*command, *self.words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline().strip()
        assert said == self.root, f"{' '.join(self.words)} did not start"

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()


@dataclass
class Pair:
    """A server, and the gateway that stands in front of it."""

    folder: Path
    character: Character = field(default_factory=Character)

    def __post_init__(self) -> None:
        """Start both."""
        self.server = Process(self._words())
        self.server.start()
        self.gateway = Process(["gateway", "--to", self.server.root])
        self.gateway.start()

    def _words(self) -> list[str]:
        folder = str(self.folder)
        return ["server", "--folder", folder, "--character", self.character.said()]

    @property
    def base_url(self) -> str:
        """What a client takes: the gateway's."""
        return f"{self.gateway.root}/v1"

    def become(self, character: Character) -> None:
        """Change the server's character, its jobs as they are."""
        self.character = character
        self.server.words = self._words()
        said = ask.post(f"{self.server.root}/admin/character", content=character.said())
        said.raise_for_status()

    def behave(self, *does: Manner, **manners: Any) -> None:
        """Have the gateway behave so from here on: `Manners`, its `does` first."""
        content = Manners(does=does, **manners).said()
        ask.post(f"{self.gateway.root}/gateway", content=content).raise_for_status()

    def settle(self) -> None:
        """Wait until all that the gateway has kept back is where it was to go."""
        while ask.get(f"{self.gateway.root}/gateway").json()["on_their_way"]:
            Event().wait(0.02)

    def reset(self, character: Character) -> None:
        """As new, with a polite gateway."""
        self.settle()
        ask.post(f"{self.server.root}/admin/forget").raise_for_status()
        self.become(character)
        self.behave()

    def truth(self) -> list[dict[str, Any]]:
        """All that was accepted, the oldest first: `jobs.Job` as JSON."""
        answer = ask.get(f"{self.server.root}/admin/truth")
        jobs: list[dict[str, Any]] = answer.raise_for_status().json()["jobs"]
        return jobs

    def paid(self, prompt: str) -> list[str]:
        """The ids of all jobs with these words."""
        return [job["id"] for job in self.truth() if job["fields"]["prompt"] == prompt]

    def accept(
        self, asked: Mapping[str, Any], key: str = "", age_s: float = 0.0, kind: str = "create"
    ) -> str:
        """Have the server accept a job behind everybody's back; return its id.

        Args:
            asked: The create's fields.
            key: Whose it is.
            age_s: How long ago it was accepted.
            kind: create, edit or extend.
        """
        path = {"create": "", "edit": "/edits", "extend": "/extensions"}[kind]
        answer = ask.post(
            f"{self.server.root}/v1/videos{path}",
            json={name: v if isinstance(v, (dict, list)) else f"{v}" for name, v in asked.items()},
            headers={"Authorization": f"Bearer {key or 'none'}", "x-admin-age-s": f"{age_s}"},
        )
        return str(answer.raise_for_status().json()["id"])

    def met(self) -> Counter[str]:
        """How often each manner has befallen a request."""
        answer = ask.get(f"{self.gateway.root}/gateway").raise_for_status()
        return Counter(answer.json()["met"])

    def kill(self) -> None:
        """End both."""
        self.gateway.kill()
        self.server.kill()


@contextmanager
def stranger(folder: Path, character: Character | None = None) -> Iterator[Pair]:
    """Run a stranger and its gateway as long as the block lasts."""
    pair = Pair(folder, character or Character())
    try:
        yield pair
    finally:
        pair.kill()
