"""Crash points: a flow dies at each of its moments in turn, is run again, and nothing is lost.

Every flow, on a disk and on S3; the process of the flow dies, or the video server in its
place. It takes minutes: `python -m pytest -m crash_points -s` prints what was tried.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

import pytest
from PIL import Image

from prefect_sora.ledger import Ledger
from prefect_sora.local import find_running
from prefect_sora.storage import VideoFolder
from tests.support.prefect_server import prefect_home
from tests.support.renderer import Renderer, StartRenderer, until
from tests.support.s3 import S3, traces

pytestmark = [pytest.mark.crash_points, pytest.mark.timeout(3600)]

FLOWS = {"text_to_video": 1, "image_to_video": 1, "remix_chain": 2}
"""Each flow, and how many renders it is to pay for."""

KILLED = -9
PROCESSES = 2


@dataclass
class Nursery:
    """A process that forks one child for each run."""

    process: subprocess.Popen[str]

    def run(self, order: dict[str, Any]) -> int:
        """Run a flow to its end or its death, and return its exit code."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@dataclass
class Workshop:
    """All that a run needs, and what came of it."""

    folder: Path
    renderer: Renderer
    nurseries: SimpleQueue[Nursery]
    picture: Path
    names: Counter[str] = field(default_factory=Counter)

    def run(self, flow: str, store: VideoFolder, kill_at: int | None, *, serve: bool) -> int:
        """Run a flow once; `serve` has the video server die in its place."""
        name = store.root.rpartition("/")[2]
        log = self.folder / f"{name}.boundaries"
        log.unlink(missing_ok=True)
        nursery = self.nurseries.get()
        try:
            code = nursery.run(
                {
                    "flow": flow,
                    "prompt": f"{name} kites",
                    "picture": str(self.picture),
                    "renderer": str(self.renderer.folder),
                    "server": self.renderer.root,
                    "store": store.root,
                    "options": dict(store.options),
                    "log": str(log),
                    "output": str(self.output(store)),
                    "kill_at": kill_at,
                    "victim": self.server_pid() if serve else None,
                }
            )
        finally:
            self.nurseries.put(nursery)
        if kill_at is not None:
            passed = log.read_text().splitlines()
            if len(passed) >= kill_at:
                self.names[passed[kill_at - 1]] += 1
        return code

    def server_pid(self) -> int:
        """The video server's process now, whoever has started it."""
        return int(until(lambda: find_running(self.renderer.folder), "the server runs").pid)

    def output(self, store: VideoFolder) -> Path:
        """What the processes of a store's flow have printed."""
        return self.folder / f"{store.root.rpartition('/')[2]}.output"

    async def is_whole(self, flow: str, store: VideoFolder) -> None:
        """Hold the promise: each render accepted once, kept with its hash, nothing left over."""
        prompt = f"{store.root.rpartition('/')[2]} kites"
        with self.renderer.client() as client:
            listed = client.get("/videos", params={"limit": 100}).json()["data"]
        accepted = [job["id"] for job in listed if prompt in job["prompt"]]
        assert len(accepted) == FLOWS[flow], f"paid {len(accepted)} times"
        ledger = Ledger(store)
        states = [await ledger.state(name) for name in await ledger.folders()]
        assert sorted(s.stored.video.video_id for s in states if s.stored) == sorted(accepted)
        for state in states:
            assert state.stored is not None
            data = await store.read(f"{state.folder}/video.mp4")
            assert data is not None
            assert hashlib.sha256(data).hexdigest() == state.stored.video.sha256
        left = [name for name in traces(store) if name.endswith(".part") or "unfinished" in name]
        assert left == []


@pytest.fixture
def workshop(tmp_path: Path, prefect_api: str, start_renderer: StartRenderer) -> Iterator[Workshop]:
    picture = tmp_path / "frame.png"
    Image.new("RGB", (64, 64), "teal").save(picture)
    environment = prefect_home(tmp_path / "prefect", prefect_api) | {
        "PREFECT_LOGGING_LEVEL": "WARNING"
    }
    nurseries: SimpleQueue[Nursery] = SimpleQueue()
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.crash.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(PROCESSES)
    ]
    for process in started:
        nurseries.put(Nursery(process))
    made = Workshop(tmp_path, start_renderer(), nurseries, picture)
    yield made
    for process in started:
        process.communicate()
    with suppress(ProcessLookupError):
        os.kill(made.server_pid(), signal.SIGKILL)


@pytest.fixture(params=["disk", "s3"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Make a store for each point."""
    if request.param == "disk":
        return lambda name: VideoFolder(str(tmp_path / "stores" / name))
    s3: S3 = request.getfixturevalue("s3")
    return lambda name: VideoFolder(f"s3://{s3.bucket}/{name}", s3.options)


@pytest.mark.parametrize("flow", FLOWS)
async def test_a_flow_that_dies_anywhere_and_is_run_again_has_paid_once_and_kept_all(
    workshop: Workshop, stores: Any, flow: str
) -> None:
    def at(point: int) -> tuple[VideoFolder, int, int]:
        store = stores(f"point-{point:04d}")
        died = workshop.run(flow, store, point, serve=False)
        return store, died, workshop.run(flow, store, None, serve=False)

    point, reached_the_end = 0, False
    with ThreadPoolExecutor(PROCESSES) as pool:
        while not reached_the_end:
            points = range(point + 1, point + 1 + 2 * PROCESSES)
            for point, (store, died, ended) in zip(points, pool.map(at, points), strict=True):
                said = workshop.output(store).read_text()
                assert ended == 0, f"point {point}: {said}"
                await workshop.is_whole(flow, store)
                # A run that passes fewer boundaries than `point` comes to its end.
                reached_the_end = died == 0
                assert died in (0, KILLED), f"point {point}: {said}"
    _report(f"{flow}: {point} points", workshop.names)


async def test_a_video_server_that_dies_anywhere_and_comes_back_has_been_paid_once(
    workshop: Workshop, tmp_path: Path
) -> None:
    point, died = 0, True
    while died:
        point += 1
        store = VideoFolder(str(tmp_path / "stores" / f"point-{point:04d}"))
        before = workshop.server_pid()
        with _brought_back(workshop.renderer):
            ended = workshop.run("text_to_video", store, point, serve=True)
        said = workshop.output(store).read_text()
        assert ended == 0, f"point {point}: {said}"
        await workshop.is_whole("text_to_video", store)
        died = workshop.server_pid() != before
    _report(f"text_to_video, the server dies: {point} points", workshop.names)


@contextmanager
def _brought_back(renderer: Renderer) -> Iterator[None]:
    """Start the renderer again when it dies, unless its block has been quicker."""
    done = Event()

    def watch() -> None:
        while not done.wait(0.05):
            if find_running(renderer.folder) is None:
                with suppress(pytest.fail.Exception):
                    renderer.restart()

    watcher = Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _report(title: str, names: Counter[str]) -> None:
    print(f"\n{title}")
    for name, times in sorted(names.items()):
        print(f"{times:5d}  {name}")
