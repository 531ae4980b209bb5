"""Crash points: a flow dies at each of its moments in turn, is run again, and nothing is lost.

Every flow, on a disk and on S3, on the local renderer and on a stranger behind a gateway; the
process of the flow dies, or the video server in its place. It takes minutes:
`python -m pytest -m crash_points -s` prints what was tried.
"""

import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from PIL import Image

from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from tests.crash.servers import Local, Payee, Strange
from tests.support.prefect_server import prefect_home
from tests.support.renderer import StartRenderer
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
    payee: Payee
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
                    "provider": self.payee.provider(name),
                    "server": self.payee.root,
                    "store": store.root,
                    "options": dict(store.options),
                    "log": str(log),
                    "output": str(self.output(store)),
                    "kill_at": kill_at,
                    "victim": self.payee.pid if serve else None,
                }
            )
        finally:
            self.nurseries.put(nursery)
        if kill_at is not None:
            passed = log.read_text().splitlines()
            if len(passed) >= kill_at:
                self.names[passed[kill_at - 1]] += 1
        return code

    def output(self, store: VideoFolder) -> Path:
        """What the processes of a store's flow have printed."""
        return self.folder / f"{store.root.rpartition('/')[2]}.output"

    async def is_whole(self, flow: str, store: VideoFolder) -> None:
        """Hold the promise: each render accepted once, kept with its hash, nothing left over."""
        prompt = f"{store.root.rpartition('/')[2]} kites"
        accepted = self.payee.accepted(prompt)
        assert len(accepted) == FLOWS[flow], f"paid {len(accepted)} times"
        ledger = Ledger(store)
        states = [await ledger.state(name) for name in await ledger.folders()]
        assert sorted(s.stored.video.video_id for s in states if s.stored) == sorted(accepted)
        for state in states:
            assert state.stored is not None
            data = await store.read(f"{state.folder}/video.mp4")
            assert data is not None
            assert hashlib.sha256(data).hexdigest() == state.stored.video.sha256
        await store.sweep_parts()  # at the store's root a whole sweep alone tidies up
        left = [name for name in traces(store) if name.endswith(".part") or "unfinished" in name]
        assert left == []
        assert await ledger.unfinished(tidy=True) == []
        assert [name for name in await store.names(".open") if "~" in name] == []


@pytest.fixture(params=["local", "stranger"])
def payee(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Payee]:
    """The video server; its end is the test's."""
    made: Payee
    if request.param == "local":
        start_renderer: StartRenderer = request.getfixturevalue("start_renderer")
        made = Local(start_renderer())
    else:
        made = Strange(tmp_path / "stranger")
    yield made
    made.end()


@pytest.fixture
def workshop(tmp_path: Path, prefect_api: str, payee: Payee) -> Iterator[Workshop]:
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
    made = Workshop(tmp_path, payee, nurseries, picture)
    yield made
    for process in started:
        process.communicate()


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
    _report(f"{flow}, {_place(workshop, store)}: {point} points", workshop.names)


async def test_a_video_server_that_dies_anywhere_and_comes_back_has_been_paid_once(
    workshop: Workshop, tmp_path: Path
) -> None:
    point, died = 0, True
    while died:
        point += 1
        store = VideoFolder(str(tmp_path / "stores" / f"point-{point:04d}"))
        before = workshop.payee.pid
        with workshop.payee.brought_back():
            ended = workshop.run("text_to_video", store, point, serve=True)
        said = workshop.output(store).read_text()
        assert ended == 0, f"point {point}: {said}"
        await workshop.is_whole("text_to_video", store)
        died = workshop.payee.pid != before
    title = f"text_to_video, {_place(workshop, store)}, the server dies"
    _report(f"{title}: {point} points", workshop.names)


def _place(workshop: Workshop, store: VideoFolder) -> str:
    kept = "S3" if store.root.startswith("s3:") else "disk"
    return f"{type(workshop.payee).__name__.lower()}, {kept}"


def _report(title: str, names: Counter[str]) -> None:
    print(f"\n{title}")
    for name, times in sorted(names.items()):
        print(f"{times:5d}  {name}")
