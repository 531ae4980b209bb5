"""Fixtures: the real command in a process of its own, with an environment that names nothing."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from prefect_sora.cli import main
from prefect_sora.handles import VideoJob
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.renders.submit.prepare import identify
from prefect_sora.renders.submit.submit import submit
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import Server, local_server, remote
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from tests.support.prefect_server import prefect_home
from tests.support.processes import Forked
from tests.support.renderer import Renderer, until

TINY = ("--model", "", "--size", "64x64", "--seconds", "1", "--poll-interval", "0.1")


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def json(self) -> Any:
        """Standard output, which is one JSON document."""
        return json.loads(self.out)


class Running:
    """A command that runs."""

    def __init__(
        self, words: tuple[str, ...], environment: dict[str, str], folder: Path, *, fresh: bool
    ) -> None:
        self._began = monotonic()
        self._out, self._err = (folder / name for name in ("stdout.txt", "stderr.txt"))
        command = ["-m", "prefect_sora.cli", *words]
        self.process: subprocess.Popen[bytes] | Forked
        with self._out.open("wb") as out, self._err.open("wb") as err:
            if fresh:
                self.process = subprocess.Popen(
                    [sys.executable, *command],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env=environment,
                    cwd=folder,
                    start_new_session=True,
                )
            else:
                self.process = Forked(command, env=environment, cwd=folder, stdout=out, stderr=err)

    def until_it_says(self, words: str) -> None:
        """Wait for words on standard error."""
        until(lambda: words in self._err.read_text("utf-8"), f"stderr says {words!r}", 40)

    def stdout(self) -> str:
        """What stands on standard output by now."""
        return self._out.read_text("utf-8")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the command's process."""
        os.kill(self.process.pid, number)

    def end(self, timeout_seconds: float = 60) -> Ended:
        """Wait for its end."""
        code = self.process.wait(timeout_seconds)
        took = monotonic() - self._began
        return Ended(code, self.stdout(), self._err.read_text("utf-8"), took)


@dataclass(frozen=True)
class Cli:
    """The command, as a person's shell sees it."""

    folder: Path
    environment: dict[str, str]
    started: list[Running]

    def __call__(self, *words: str, **variables: str) -> Ended:
        """Run a command to its end."""
        return self.start(*words, **variables).end()

    def start(self, *words: str, **variables: str) -> Running:
        """Start a command."""
        # Another path may name other modules than those that are imported already.
        return self._start(words, variables, fresh="PYTHONPATH" in variables)

    def typed(self, *words: str, **variables: str) -> Ended:
        """Run a command as a shell does: nothing is imported yet."""
        return self.typing(*words, **variables).end()

    def typing(self, *words: str, **variables: str) -> Running:
        """Start a command as a shell does."""
        return self._start(words, variables, fresh=True)

    def _start(self, words: tuple[str, ...], variables: dict[str, str], *, fresh: bool) -> Running:
        folder = self.folder / f"run-{len(self.started)}"
        folder.mkdir()
        self.started.append(Running(words, {**self.environment, **variables}, folder, fresh=fresh))
        return self.started[-1]


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    """Commands without a provider, a store or a Prefect server of their own."""
    environment = prefect_home(tmp_path / "prefect")
    for name in list(environment):
        if name.startswith(("OPENAI_", "AZURE_")):
            del environment[name]
    environment["PREFECT_SORA_LOCAL_FOLDER"] = str(tmp_path / "local")
    environment["PYTHONWARNINGS"] = ""
    started: list[Running] = []
    yield Cli(tmp_path, environment, started)
    for running in started:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait(10)


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A folder for videos that is not there yet."""
    return str(tmp_path / "renders")


@dataclass(frozen=True)
class Begin:
    """Leaves renders as a run leaves them that was killed while it waited."""

    store: str

    def __call__(
        self, renderer: Renderer, prompt: str = "a red kite", *, local: bool = False
    ) -> VideoJob:
        """Have a tiny render of a prompt accepted and recorded.

        Args:
            renderer: Where.
            prompt: What.
            local: As the renderer of this machine, not as a server at an address.
        """
        server = local_server(renderer.address) if local else remote(renderer.base_url)
        return self._begun(VideoRequest(prompt=prompt, model=None, size="64x64", seconds=1), server)

    def request(self, renderer: Renderer, request: VideoRequest) -> VideoJob:
        """Have any request accepted and recorded."""
        return self._begun(request, remote(renderer.base_url))

    def _begun(self, request: VideoRequest, server: Server) -> VideoJob:
        async def work() -> VideoJob:
            client = VideoClient(server)
            try:
                prepared = await identify(request, client, "last night")
                return await submit(
                    prepared, client, Ledger(VideoFolder(self.store)), RenderOptions("last night")
                )
            finally:
                await client.close()

        return asyncio.run(work())


@pytest.fixture
def begin(store: str) -> Begin:
    """Begin renders in the test's store."""
    return Begin(store)


@dataclass(frozen=True)
class Told:
    """What a command has said."""

    code: int
    said: str


Tell = Callable[..., Told]


@pytest.fixture
def tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Tell]:
    """Run a command in this process, in a folder of its own, where nothing is configured."""
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "AZURE_", "PREFECT_SORA_", "AWS_")) or name.endswith(
            "_API_URL"
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("PREFECT_SORA_LOCAL_FOLDER", str(tmp_path / "local"))
    monkeypatch.chdir(tmp_path)

    def run(*words: str, **variables: str) -> Told:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        code = main(words)
        shown = capsys.readouterr()
        return Told(code, shown.out + shown.err)

    # What a command changes in its process, which is the tests' own here.
    log, made = logging.getLogger("prefect_sora"), logging.getLogRecordFactory()
    before, passes, stop = [*log.handlers], log.propagate, signal.getsignal(signal.SIGTERM)
    yield run
    log.handlers[:], log.propagate = before, passes
    logging.setLogRecordFactory(made)
    signal.signal(signal.SIGTERM, stop)
