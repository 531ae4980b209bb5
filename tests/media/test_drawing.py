"""Drawing: what a video does to a decoder ends with a child process, and never with this one."""

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import psutil
import pytest

from prefect_sora.errors import CorruptVideoError
from prefect_sora.limits.guarded import GuardedError, call
from prefect_sora.media import drawing, previews
from prefect_sora.media.join import contact_sheets
from prefect_sora.renders.finish.keep import keep
from prefect_sora.store.ledger import Ledger
from tests.media.test_mp4 import clip
from tests.renders.test_keep import KITE
from tests.support.limits import Limit
from tests.support.scripted import Script

CLIP = clip("faststart")
MIB = 2**20


def child_pid() -> bytes:
    return str(os.getpid()).encode()


def endless() -> bytes:
    while True:
        pass


def eats() -> bytes:
    return bytes(2**34)


def dies() -> bytes:
    os.abort()


def talks() -> bytes:
    os.write(1, b"a library's words")
    return b"the answer"


def environment() -> bytes:
    return "\n".join(f"{n}={v}" for n, v in os.environ.items()).encode()


def lies() -> Iterator[bytes]:
    yield b"\0" * (2 * MIB)


def fails(file: BinaryIO, why: str) -> bytes:
    file.seek(4)
    raise ValueError(f"{why} {file.read(4)!r}")


def guarded(work: Any, *given: Any, seconds: float = 30, **how: Any) -> list[bytes]:
    name = f"{__name__}:{work.__name__}"
    return call(name, *given, within_seconds=seconds, memory_bytes=256 * MIB, **how)


@pytest.mark.slow
def test_pictures_drawn_in_a_child_are_those_that_are_drawn_here(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(CLIP)
    here = previews.stills(path)
    for file in (path, io.BytesIO(CLIP)):
        drawn = drawing.stills(file)
        assert drawn == {
            "thumbnail": here.thumbnail,
            "spritesheet": here.spritesheet,
            "preview": here.preview,
        }
    assert drawing.preview(io.BytesIO(CLIP)) == {"preview": here.preview}
    assert drawing.last_frame(io.BytesIO(CLIP)) == contact_sheets.last_frame(path)


def test_one_child_serves_many_calls_and_is_no_fork() -> None:
    first, second = guarded(child_pid), guarded(child_pid)
    assert first == second != [str(os.getpid()).encode()]
    assert "prefect_sora.limits.guarded" in psutil.Process(int(first[0])).cmdline()


@pytest.mark.parametrize(
    ("work", "why"), [(endless, "longer than 0.5 s"), (eats, "memory"), (dies, "its process ended")]
)
def test_work_beyond_its_bounds_ends_and_the_next_has_a_new_child(work: Any, why: str) -> None:
    guarded(child_pid)
    with pytest.raises(GuardedError, match=why):
        guarded(work, seconds=0.5 if work is endless else 30)
    (pid,) = guarded(child_pid)
    assert psutil.pid_exists(int(pid))


def test_a_child_that_is_gone_by_itself_is_replaced() -> None:
    (pid,) = guarded(child_pid)
    gone = psutil.Process(int(pid))
    gone.kill()
    psutil.wait_procs([gone], timeout=10)
    assert guarded(child_pid) != [pid]


def test_what_a_child_says_is_bounded_and_what_it_prints_is_no_answer(limit: Limit) -> None:
    assert guarded(talks) == [b"the answer"]
    limit(guarded_answer_bytes=MIB)
    with pytest.raises(GuardedError):
        guarded(lies)


def test_a_child_has_none_of_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GuardedError):
        guarded(dies)  # so that the next is a new one
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    assert b"canary" not in guarded(environment)[0]


def test_a_child_reads_what_it_asks_for_and_its_error_is_told() -> None:
    with pytest.raises(GuardedError, match=r"no video b'efgh'"):
        guarded(fails, "no video", file=io.BytesIO(b"abcdefghij"))


def test_many_threads_have_a_child_each() -> None:
    told: list[bytes] = []
    threads = [threading.Thread(target=lambda: told.extend(guarded(child_pid))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 3


@pytest.mark.parametrize(
    ("bound", "why"),
    [
        ({"draw_frames": 3}, "more frames"),
        ({"draw_memory_bytes": 1}, "cannot be read"),
        ({"draw_seconds": 0.0}, "took longer"),
    ],
)
async def test_a_video_that_goes_beyond_a_bound_is_kept_without_its_pictures(
    scripted: Script, disk: Ledger, limit: Limit, bound: dict[str, Any], why: str
) -> None:
    limit(**bound)
    with pytest.raises(CorruptVideoError, match=why):
        drawing.stills(io.BytesIO(CLIP))
    _, client = scripted(lambda *_: (200, {"Content-Type": "video/mp4"}, CLIP))
    stored = await keep(KITE, client, disk)
    assert (stored.thumbnail_url, stored.preview_url, stored.size_bytes) == (None, None, len(CLIP))
    assert await disk.stored(KITE.folder)
