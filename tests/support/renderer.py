"""Fixtures: the local renderer in a process of its own, with scripted faults.

`renderer` is one process for the whole session, emptied before each test. `start_renderer` makes
more of them, with options of their own.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, Protocol

import httpx2
import pytest

from prefect_sora.servers.local import (
    KEY_VARIABLE,
    WEBHOOK_SECRET_VARIABLE,
    DialectName,
    RendererAddress,
    RendererOptions,
    find_running,
)
from tests.support.asking import ask, client
from tests.support.processes import Forked

START_SECONDS = 20.0


def until(condition: Callable[[], Any], what: str, timeout_seconds: float = 15.0) -> Any:
    """Wait for a condition and return what it gave; fail with its name if it never comes."""
    begun = monotonic()
    while True:
        result = condition()
        if result:
            return result
        waited = monotonic() - begun
        if waited > timeout_seconds:
            pytest.fail(f"waited {timeout_seconds} s for this: {what}")
        # Whoever asks a server a hundred times a second takes the time of what is waited for.
        Event().wait(min(max(0.01, 0.05 * waited), 0.5))


@dataclass
class Renderer:
    """A local renderer under test: what it was asked, and how to hurt it."""

    folder: Path
    options: RendererOptions
    address: RendererAddress = field(init=False)
    _process: Forked | None = field(default=None, repr=False)

    @property
    def base_url(self) -> str:
        """What a client takes, `/v1` included."""
        return self.address.base_url

    @property
    def root(self) -> str:
        """The address without `/v1`: health and the control routes."""
        return "/".join(self.base_url.split("/")[:3])

    @property
    def pid(self) -> int:
        """The server's process."""
        return self.address.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How the process ended, or None while it runs."""
        return self._process.poll() if self._process else None

    @property
    def headers(self) -> dict[str, str]:
        """The key as a header, if the renderer demands one."""
        return {"Authorization": f"Bearer {self.options.api_key}"} if self.options.api_key else {}

    def start(self) -> "Renderer":
        """Start the process and wait until it answers."""
        environment = {k: v for k, v in os.environ.items() if k != KEY_VARIABLE}
        if self.options.api_key:
            environment[KEY_VARIABLE] = self.options.api_key
        if self.options.webhook_secret:
            environment[WEBHOOK_SECRET_VARIABLE] = self.options.webhook_secret
        log_path = self.folder / "renderer.log"
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            "-m",
            "prefect_sora.servers.local",
            "--folder",
            str(self.folder),
            *self.options.arguments(),
        ]
        with log_path.open("ab") as log:
            process = Forked(command, env=environment, stdout=log, stderr=log)
        self._process = process

        def answers() -> RendererAddress | None:
            if process.poll() is not None:
                pytest.fail(f"the renderer ended at once:\n{log_path.read_text('utf-8')}")
            return find_running(self.folder)

        self.address = until(answers, "the renderer answers", START_SECONDS)
        return self

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int | None:
        """Ask it to end, wait, and return its exit code."""
        if self._process is None:
            return None
        self._process.terminate()
        try:
            return self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def restart(self, **options: Any) -> "Renderer":
        """Start it again on the same folder and port, killed first if it still runs."""
        self.kill()
        port = int(self.root.rpartition(":")[2])
        self.options = replace(self.options, port=port, **options)
        return self.start()

    def client(self) -> httpx2.Client:
        """A plain HTTP client of this renderer, key included; close it."""
        return client(base_url=self.base_url, headers=self.headers)

    def create(self, prompt: str = "a fox", **fields: Any) -> dict[str, Any]:
        """Create a small job of one second behind the tested code's back; return its Video."""
        body = {"prompt": prompt, "size": "64x64", "seconds": "1", **fields}
        with self.client() as client:
            video: dict[str, Any] = client.post("/videos", json=body).raise_for_status().json()
        return video

    def finished(self, video_id: str) -> dict[str, Any]:
        """Wait for the end of a job; return its Video, completed or failed."""
        with self.client() as client:

            def ended() -> dict[str, Any] | None:
                video: dict[str, Any] = client.get(f"/videos/{video_id}").raise_for_status().json()
                return video if video["status"] in ("completed", "failed") else None

            video: dict[str, Any] = until(ended, f"{video_id} ends")
        return video

    def counts(self) -> dict[str, int]:
        """Jobs by what they are doing: accepted, queued, rendering, completed, failed."""
        counts: dict[str, int] = ask.get(f"{self.root}/health").json()["counts"]
        return counts

    def accepted(self) -> int:
        """How many jobs were ever accepted: what would have been paid."""
        return self.counts()["accepted"]

    def requests(self, operation: str | None = None) -> list[dict[str, Any]]:
        """The requests since the start, all or of one operation, the oldest first."""
        entries: list[dict[str, Any]] = ask.get(f"{self.root}/requests").json()["requests"]
        return [entry for entry in entries if operation in (None, entry["operation"])]

    def forget_requests(self) -> None:
        """Start counting requests anew."""
        ask.delete(f"{self.root}/requests").raise_for_status()

    def faults(self, rules: list[dict[str, Any]]) -> None:
        """Add rules of what goes wrong; `servers.local.faults.rules` lists what can."""
        answer = ask.post(f"{self.root}/faults", json=rules)
        assert answer.is_success, answer.text

    def faults_left(self) -> list[dict[str, Any]]:
        """The rules that are not used up."""
        left: list[dict[str, Any]] = ask.get(f"{self.root}/faults").json()["faults"]
        return left

    def clear_faults(self) -> None:
        """Let everything go right again."""
        ask.delete(f"{self.root}/faults").raise_for_status()

    def reset(self) -> None:
        """As new: no jobs, faults or requests; nothing accepted."""
        ask.post(f"{self.root}/reset").raise_for_status()


class StartRenderer(Protocol):
    """What the `start_renderer` fixture gives."""

    def __call__(self, folder: Path | None = None, **options: Any) -> Renderer:
        """Start a renderer with `RendererOptions` fields; it ends with the test."""


@pytest.fixture(scope="session")
def _session_renderer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Renderer]:
    options = RendererOptions(control=True, poll_after_ms=20)
    made = Renderer(tmp_path_factory.mktemp("renderer"), options)
    try:
        yield made
    finally:
        made.kill()


@pytest.fixture
def renderer(_session_renderer: Renderer) -> Renderer:
    """An empty renderer: one process for the session, started again if a test killed it."""
    if _session_renderer.alive:
        with suppress(httpx2.HTTPError):
            _session_renderer.reset()
            return _session_renderer
    _session_renderer.kill()
    _session_renderer.start()
    _session_renderer.reset()
    return _session_renderer


class SpeakDialect(Protocol):
    """What the `speak` fixture gives."""

    def __call__(self, dialect: DialectName, **options: Any) -> Renderer:
        """An empty renderer of this dialect: one process for each set of options."""


@pytest.fixture(scope="session")
def _speakers() -> Iterator[dict[RendererOptions, Renderer]]:
    made: dict[RendererOptions, Renderer] = {}
    yield made
    for renderer in made.values():
        renderer.kill()


@pytest.fixture
def speak(
    _speakers: dict[RendererOptions, Renderer], tmp_path_factory: pytest.TempPathFactory
) -> SpeakDialect:
    """Renderers that speak like other servers."""

    def speaking(dialect: DialectName, **options: Any) -> Renderer:
        wanted = RendererOptions(control=True, poll_after_ms=20, dialect=dialect, **options)
        if wanted not in _speakers:
            _speakers[wanted] = Renderer(tmp_path_factory.mktemp(dialect), wanted).start()
        _speakers[wanted].reset()
        return _speakers[wanted]

    return speaking


@pytest.fixture
def start_renderer(tmp_path: Path) -> Iterator[StartRenderer]:
    """Start renderers of the test's own, each in its own folder unless one is named."""
    started: list[Renderer] = []

    def start(folder: Path | None = None, **options: Any) -> Renderer:
        home = folder or tmp_path / f"renderer-{len(started) + 1}"
        settings: dict[str, Any] = {"control": True, "poll_after_ms": 20, **options}
        started.append(Renderer(home, RendererOptions(**settings)))
        return started[-1].start()

    yield start
    for made in started:
        made.kill()
