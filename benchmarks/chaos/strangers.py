"""Strangers: a server that shares no code with the package, behind a gateway that answers for it.

The server is killed as the renderer is; the gateway lives, keeps back what it was given, and
says what it likes. What was paid for is read where the server tells the truth.
"""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.chaos import fault_injection
from tests.support.stranger.character import Character
from tests.support.stranger.handling import Pair


@dataclass
class Stranger:
    """A stranger that keeps its folder and its address through any death.

    Attributes:
        met: What the gateway has done, up to its last known numbers.
    """

    pair: Pair
    met: Counter[str] = field(default_factory=Counter)
    _met_before: Counter[str] = field(default_factory=Counter)

    @property
    def root(self) -> str:
        """The gateway's address."""
        return self.pair.gateway.root

    @property
    def truth(self) -> str:
        """Where the server tells the truth."""
        return f"{self.pair.server.root}/admin/truth"

    @property
    def runs(self) -> bool:
        """Whether the server lives."""
        return self.pair.server.runs

    def start(self, patience_s: float | None = None, seed: str = "") -> None:
        """Start the server, and have the gateway hinder clients of that patience, or none."""
        if not self.runs:
            self.pair.server.start()
        self.count()
        self._met_before = self.met
        does = [] if patience_s is None else fault_injection.manners(patience_s)
        self.pair.behave(*does, seed=int(float(seed or 0) * 2**32))

    def count(self) -> bool:
        """Ask the gateway what it has done, and say whether the server lives."""
        with suppress(httpx2.HTTPError):
            self.met = self._met_before + self.pair.met()
        return self.runs

    def kill(self) -> None:
        """End the server as a power cut would."""
        self.pair.server.kill()

    def is_up(self) -> None:
        """It says so as it starts."""

    def end(self) -> None:
        """End both."""
        self.pair.kill()

    def jobs(self) -> list[dict[str, Any]]:
        """All that it has accepted, once the gateway has passed everything on."""
        self.pair.settle()
        return [
            {"id": job["id"], "prompt": job["fields"]["prompt"], "status": f"life {job['life']}"}
            for job in self.pair.truth()
        ]


def stranger_at(folder: Path, character: str) -> Stranger:
    """A stranger that keeps its jobs in this folder.

    Args:
        folder: Its own.
        character: What differs from a plain one, as JSON.
    """
    return Stranger(Pair(folder, Character.read(character)))
