"""Victims: the video server and the workers, as processes that are killed and started again."""

import json
import socket
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from random import SystemRandom
from threading import Event
from time import monotonic
from typing import Any, Protocol

import httpx2

from benchmarks.chaos import fault_injection
from benchmarks.chaos.orders import Order, Place
from benchmarks.chaos.worker import work
from benchmarks.processes import START_SECONDS, FailedError
from prefect_sora.servers.local import RendererOptions

_A_DAY_SECONDS = 86_400.0
# Below where systems take the ports of outgoing connections from: one of these might get the
# port while the renderer is down, and keep it.
_PORTS = range(20_000, 30_000)
_CONTEXT = get_context("forkserver")


class VideoServer(Protocol):
    """A video server that is killed and comes back, at one address.

    Attributes:
        met: The faults that it has counted, up to its last known numbers.
    """

    met: Counter[str]

    @property
    def root(self) -> str:
        """Its address, without `/v1`."""

    @property
    def runs(self) -> bool:
        """Whether its process lives."""

    def start(self, patience_s: float | None = None, seed: str = "") -> None:
        """Start it, to hinder clients of that patience, or none."""

    def count(self) -> bool:
        """Count the faults that were met, and say whether it answers."""

    def kill(self) -> None:
        """End it as a power cut would."""

    def is_up(self) -> None:
        """Wait until it answers."""

    def end(self) -> None:
        """End all that runs of it."""

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs that it has accepted: at least their id, prompt and status."""


@dataclass
class Renderer:
    """A local renderer that keeps its folder and its port through any death.

    Attributes:
        met: The faults that it has counted, up to its last known numbers.
    """

    folder: Path
    options: RendererOptions
    met: Counter[str] = field(default_factory=Counter)
    _met_now: Counter[str] = field(default_factory=Counter)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> str:
        """Its address, without `/v1`."""
        return f"http://127.0.0.1:{self.options.port}"

    @property
    def runs(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self, patience_s: float | None = None, seed: str = "") -> None:
        """Start the process; that it answers is not waited for.

        Args:
            patience_s: How long its clients wait, if they are to be hindered.
            seed: Of the faults.
        """
        rules = [] if patience_s is None else fault_injection.rules(patience_s)
        self.folder.mkdir(parents=True, exist_ok=True)
        script = self.folder / "faults.json"
        script.write_text(json.dumps({"faults": rules, "seed": seed}), "utf-8")
        words = replace(self.options, faults=str(script)).arguments()
        with (self.folder / "renderer.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "prefect_sora.servers.local",
                    "--folder",
                    str(self.folder),
                    *words,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def count(self) -> bool:
        """Ask for the faults that were met since its start, and say whether it answered."""
        with suppress(httpx2.HTTPError, ValueError):
            answer = httpx2.get(f"{self.root}/faults", timeout=1.0)
            self._met_now = Counter(answer.json()["met"])
            return True
        return False

    def kill(self) -> None:
        """End it as a power cut would."""
        self.count()
        self.met += self._met_now
        self._met_now = Counter()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def is_up(self) -> None:
        """Wait until it answers.

        Raises:
            FailedError: It does not.
        """
        until = monotonic() + START_SECONDS
        while monotonic() < until and self.runs:
            with suppress(httpx2.HTTPError):
                httpx2.get(f"{self.root}/health", timeout=5.0)
                return
            Event().wait(0.05)
        raise FailedError((self.folder / "renderer.log").read_text("utf-8")[-2000:])

    def end(self) -> None:
        """End all that runs of it."""
        self.kill()

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs that it has accepted."""
        jobs: list[dict[str, Any]] = []
        after: dict[str, str] = {}
        while True:
            query = {"limit": "100", "order": "asc", **after}
            answer = httpx2.get(f"{self.root}/v1/videos", params=query, timeout=30.0)
            page = answer.raise_for_status().json()
            jobs += page["data"]
            if not page["has_more"]:
                return jobs
            after = {"after": page["last_id"]}


def renderer_at(folder: Path) -> Renderer:
    """A renderer for this folder, on a port that stays free while it is dead."""
    # By no seed: another run with the same one might take it meanwhile.
    for port in SystemRandom().sample(_PORTS, 200):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            options = RendererOptions(port=port, control=True, ttl=_A_DAY_SECONDS)
            return Renderer(folder, options)
    raise FailedError("No port is free.")


@dataclass
class Worker:
    """One process that renders.

    Attributes:
        doing: The renders that it was handed and has not answered.
    """

    process: ForkServerProcess
    orders: Connection
    doing: set[int] = field(default_factory=set)

    def hand(self, order: Order) -> None:
        """Hand it a render."""
        self.doing.add(order.number)
        with suppress(OSError):  # it has died, which is noticed elsewhere
            self.orders.send(order)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.join()
        self.orders.close()


def hire(place: Place) -> Worker:
    """Start a worker."""
    ours, theirs = _CONTEXT.Pipe()
    process = _CONTEXT.Process(target=work, args=(theirs, place), daemon=True)
    process.start()
    theirs.close()
    return Worker(process, ours)


def prepare(*, flows: bool) -> None:
    """Have workers forked from a process that has imported everything, which takes seconds."""
    modules = ["benchmarks.chaos.worker"]
    _CONTEXT.set_forkserver_preload([*modules, "prefect_sora.flows"] if flows else modules)
    # One that does nothing: the storm begins when the others can be forked at once.
    first = _CONTEXT.Process(target=int)
    first.start()
    first.join()
