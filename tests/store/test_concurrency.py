"""Threads: what was paid for is written down at once, whatever else this process is busy with."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from prefect_sora.handles import VideoJob
from prefect_sora.renders.finish.stills import put_stills
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.backends.filesystems import FileSystem
from prefect_sora.store.identity import new_owner
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import Reserved

KITE = VideoJob(
    key="0123456789ab",
    folder="a-red-kite-0123456789ab",
    video_id="video_1",
    provider="test",
    title="a red kite",
    submitted_at=1.0,
)
RESERVED = Reserved(
    key=KITE.key,
    attempt=1,
    at=1.0,
    fingerprint="0" * 64,
    request_digest="0" * 64,
    scope="tonight",
    server="server",
    provider="test",
    request={"prompt": "a red kite"},
    owner=new_owner(),
)
BUSY = 40


async def accepted(ledger: Ledger) -> None:
    assert await ledger.claim("server", KITE.video_id, KITE.key) == KITE.key
    assert await ledger.accept(KITE.folder, KITE) == KITE


async def is_accepted_at_once(ledger: Ledger) -> bool:
    # A write under way cannot be cancelled, so its task is left to end by itself.
    recording = asyncio.create_task(accepted(ledger))
    done, _ = await asyncio.wait([recording], timeout=5)
    _unfinished.add(recording)
    recording.add_done_callback(_unfinished.discard)
    return recording in done and recording.exception() is None


_unfinished: set[asyncio.Task[None]] = set()


class Slow(VideoFolder):
    """A store on a disk that answers nobody for a while."""

    released: ClassVar[threading.Event]

    def _locate(self, name: str) -> tuple[FileSystem, str]:
        self.released.wait(60)
        return super()._locate(name)


@pytest.fixture
def slow(disk: Ledger) -> Iterator[Slow]:
    """The same folder as `disk`, where who asks for a file waits for the end of the test."""
    Slow.released = threading.Event()
    yield Slow(disk.store.root)
    Slow.released.set()


async def until_busy(count: int, prefix: str) -> None:
    """Wait until so many threads of this kind are there."""
    async with asyncio.timeout(10):
        while sum(t.name.startswith(prefix) for t in threading.enumerate()) < count:  # noqa: ASYNC110 - threads tell nobody
            await asyncio.sleep(0.01)


async def test_an_acceptance_is_recorded_while_all_threads_draw(disk: Ledger, slow: Slow) -> None:
    drawing: list[asyncio.Task[object]] = [
        asyncio.create_task(put_stills(slow, "slow-000000000000", "video_0", None))
        for _ in range(BUSY)
    ]
    try:
        await until_busy(1, "")
        assert await is_accepted_at_once(disk)
        assert not any(task.done() for task in drawing)
    finally:
        slow.released.set()
        await asyncio.gather(*drawing)


async def test_an_acceptance_is_recorded_while_many_videos_are_on_their_way(disk: Ledger) -> None:
    release = threading.Event()

    class Slow:
        def feed(self, chunk: bytes) -> None:
            release.wait(60)

        def finish(self) -> None:
            pass

    async def body() -> AsyncIterator[bytes]:
        yield b"a fox"

    writing = [
        asyncio.create_task(disk.store.write(f"{n}-00000000000{n % 10}/v", body(), check=Slow()))
        for n in range(BUSY)
    ]
    try:
        await until_busy(5, "")
        assert await is_accepted_at_once(disk)
        assert not any(task.done() for task in writing)
    finally:
        release.set()
        await asyncio.gather(*writing)


async def test_an_acceptance_is_recorded_while_a_slow_store_is_read(
    disk: Ledger, slow: Slow
) -> None:
    assert await disk.reserve(KITE.folder, RESERVED)
    reading: list[asyncio.Task[object]] = [
        asyncio.create_task(slow.read("slow.json")) for _ in range(BUSY)
    ]
    try:
        await until_busy(5, "")
        assert await is_accepted_at_once(disk)
        assert not any(task.done() for task in reading)
    finally:
        slow.released.set()
        await asyncio.gather(*reading)


PROGRAM = """
import asyncio, os, sys
from prefect_sora.store.backends import VideoFolder
folder = VideoFolder(sys.argv[1])

async def use(name):
    assert await folder.create(name, b"record")
    assert await folder.read(name) == b"record"

asyncio.run(use("before.json"))
asyncio.run(use("again.json"))
if (child := os.fork()) == 0:
    asyncio.run(use("child.json"))
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
asyncio.run(use("after.json"))
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_loops_that_end_and_processes_that_fork_have_their_threads_and_end(tmp_path: Path) -> None:
    # Python warns of a fork beside threads: whether ours survive it is what is asked here.
    warnings = ("-Werror", "-Wignore:This process:DeprecationWarning")
    command = [sys.executable, *warnings, "-c", PROGRAM, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")
    assert sorted(VideoFolder(str(tmp_path)).root and os.listdir(tmp_path)) == [
        "after.json",
        "again.json",
        "before.json",
        "child.json",
    ]
