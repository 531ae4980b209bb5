"""Stills: no picture of a video stands between the video, which is paid for, and its record."""

import asyncio
import os
import random
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import av
import pytest

from prefect_sora.errors import CorruptVideoError, SoraError
from prefect_sora.handles import StoredVideo
from prefect_sora.media import drawing, previews
from prefect_sora.media.mp4 import Mp4Scanner
from prefect_sora.renders.finish.keep import keep, kept
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from prefect_sora.tasks.artifacts import listening, show
from prefect_sora.tasks.listener import Listener
from tests.media.test_mp4 import clip
from tests.renders.test_keep import KITE
from tests.support.limits import Limit
from tests.support.scripted import Script

CLIP = clip("faststart")
MUTATIONS = int(os.environ.get("PREFECT_SORA_MUTATIONS", "150"))
"""How many damaged files are tried; 5,000 take about two minutes on two cores."""


def is_whole(body: bytes) -> bool:
    """Whether the scanner, which guards what is kept, takes the file for a whole video."""
    scanner = Mp4Scanner()
    with suppress(SoraError):
        scanner.feed(body)
        scanner.finish()
        return True
    return False


def damaged(seed: int) -> bytes:
    """The clip with a few bytes of its description changed, and still taken for whole."""
    chance = random.Random(seed)  # noqa: S311 - the same files every time
    end = CLIP.index(b"mdat") + 200
    while True:
        body = bytearray(CLIP)
        for _ in range(chance.choice([1, 1, 2, 4, 8])):
            body[chance.randrange(end)] = chance.randrange(256)
        if is_whole(bytes(body)):
            return bytes(body)


NAMED = {
    "a Latin-1 byte in the handler's name": CLIP.replace(b"VideoHandler", b"Vid\xe9oHandler"),
    "a codec that nobody knows": CLIP.replace(b"avc1", b"zzzz"),
    "no decoder's description": CLIP.replace(b"avcC", b"zzzz"),
}


@pytest.mark.parametrize("body", NAMED.values(), ids=NAMED)
async def test_a_video_that_cannot_be_drawn_is_kept_with_its_record(
    scripted: Script, ledger: Ledger, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    assert body != CLIP
    server, client = scripted(lambda *_: (200, {"Content-Type": "video/mp4"}, body))

    stored = await keep(KITE, client, ledger)

    assert stored.size_bytes == len(body)
    record = await ledger.stored(KITE.folder)
    assert record
    assert record.video == stored == await keep(KITE, client, ledger)
    assert len(server.seen) == 1
    if stored.preview_url is None:
        assert "No preview of" in caplog.text


async def test_a_name_in_no_known_coding_keeps_no_picture_back(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(NAMED["a Latin-1 byte in the handler's name"])
    assert previews.stills(path) == previews.stills(_written(tmp_path / "whole.mp4", CLIP))


def _written(path: Path, body: bytes) -> Path:
    path.write_bytes(body)
    return path


@pytest.mark.parametrize("files", range(3))
async def test_whatever_file_is_taken_for_whole_is_recorded_and_found_again(
    scripted: Script, files: int
) -> None:
    """Both ways: what arrives, and what stands in the store without its record."""
    av.logging.set_level(None)  # FFmpeg's own words about each of them
    bodies = [damaged(seed) for seed in range(files, MUTATIONS, 3)]
    asked = iter(bodies)
    _, client = scripted(lambda *_: (200, {"Content-Type": "video/mp4"}, next(asked)))
    for number, body in enumerate(bodies):
        ledger = Ledger(VideoFolder(f"memory://damaged-{uuid4().hex}"))
        if number % 2:
            await ledger.store.put(f"{KITE.folder}/video.mp4", body)
            next(asked)
            stored = await kept(KITE, client, ledger)
        else:
            stored = await keep(KITE, client, ledger)
        assert stored, number
        assert stored == await kept(KITE, client, ledger)
        assert await ledger.store.read(f"{KITE.folder}/video.mp4") == body


@pytest.mark.parametrize(
    "error", [MemoryError(), RecursionError("deep"), LookupError("codec"), StopIteration()]
)
async def test_whatever_drawing_raises_the_record_is_written(
    scripted: Script, disk: Ledger, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raising(*_: Any, **__: Any) -> dict[str, bytes]:
        raise error

    monkeypatch.setattr(drawing, "stills", raising)
    _, client = scripted(lambda *_: (200, {"Content-Type": "video/mp4"}, CLIP))

    stored = await keep(KITE, client, disk)

    assert (stored.thumbnail_url, stored.size_bytes) == (None, len(CLIP))
    assert await disk.stored(KITE.folder)


async def test_drawing_that_does_not_end_is_given_up_and_the_record_written(
    scripted: Script, disk: Ledger, monkeypatch: pytest.MonkeyPatch, limit: Limit
) -> None:
    release = threading.Event()

    def endless(*_: Any, **__: Any) -> dict[str, bytes]:
        release.wait(60)
        raise CorruptVideoError("let go")

    monkeypatch.setattr(drawing, "stills", endless)
    limit(stills_seconds=0.1)
    _, client = scripted(lambda *_: (200, {"Content-Type": "video/mp4"}, CLIP))
    try:
        async with asyncio.timeout(20):
            stored = await keep(KITE, client, disk)
        assert stored.thumbnail_url is None
        assert await disk.stored(KITE.folder)
    finally:
        release.set()


def test_decoding_ends_when_its_time_is_up(tmp_path: Path) -> None:
    path = _written(tmp_path / "clip.mp4", CLIP)
    with pytest.raises(CorruptVideoError, match="takes too long"):
        previews.stills(path, within_seconds=-1.0)
    with pytest.raises(CorruptVideoError, match="takes too long"):
        previews.preview(path, within_seconds=-1.0)


async def test_who_hears_of_a_kept_video_and_fails_keeps_it_from_nobody(
    scripted: Script, disk: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    class Deaf(Listener):
        def kept(self, video: StoredVideo) -> None:
            raise RuntimeError("the screen is gone")

    _, client = scripted(lambda *_: (200, {"Content-Type": "video/mp4"}, CLIP))
    with listening(Deaf()):
        await show(await keep(KITE, client, disk), disk.store)
    assert "the screen is gone" in caplog.text
