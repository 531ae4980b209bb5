"""Too large: a file that has no end is stopped by what was asked for, and not by a full disk."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from prefect_sora.errors import CorruptVideoError
from prefect_sora.renders.finish.fetch import TooLargeError
from prefect_sora.renders.finish.keep import keep
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import remote
from prefect_sora.store.ledger import Ledger
from tests.media.test_mp4 import clip
from tests.renders.test_keep import KITE, video
from tests.support.limits import Limit
from tests.support.scripted import Script

CLIP = clip("faststart")
ASKED = KITE.model_copy(update={"size": "64x64", "seconds": 1})
ENDLESS = CLIP[: CLIP.index(b"mdat") - 4] + b"\0\0\0\0mdat"  # a box that runs to the file's end


async def test_an_endless_video_ends_before_the_disk_is_full(disk: Ledger, limit: Limit) -> None:
    limit(video_base_bytes=2**20, video_pixel_second_bytes=60.0)
    most, sent = 2**20 + 60 * 64 * 64, 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nConnection: close\r\n\r\n")
        writer.write(ENDLESS)
        with contextlib.suppress(OSError):
            while sent < 100 * most:
                writer.write(bytes(2**16))
                await writer.drain()
                sent += 2**16
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    client = VideoClient(remote(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"))
    try:
        with pytest.raises(TooLargeError, match=f"more than {most:,} bytes") as caught:
            await keep(ASKED, client, disk)
    finally:
        await client.close()
        server.close()
    assert (caught.value.paid, caught.value.video_id, caught.value.retryable) == (
        "yes",
        "video_1",
        False,
    )
    assert "video_base_bytes" in (caught.value.next_step or "")
    assert sent < 50 * most
    assert not [path for path in Path(disk.store.root).rglob("*") if path.is_file()]


async def test_a_length_that_is_announced_is_believed_to_be_too_large(
    scripted: Script, disk: Ledger, limit: Limit
) -> None:
    limit(video_base_bytes=1000, video_pixel_second_bytes=0.0)
    server, client = scripted(lambda *_: video())
    with pytest.raises(CorruptVideoError, match="more than 1,000 bytes"):
        await keep(ASKED, client, disk)
    assert len(server.asked("GET", "content")) == 1, "it is not fetched again"


async def test_what_may_be_so_large_is_kept(scripted: Script, disk: Ledger, limit: Limit) -> None:
    limit(video_base_bytes=1000, video_pixel_second_bytes=len(CLIP) / 64**2)
    _, client = scripted(lambda *_: video())
    assert (await keep(ASKED, client, disk)).size_bytes == len(CLIP)
    unknown = KITE.model_copy(update={"key": "abcdefabcdef", "folder": "a-kite-abcdefabcdef"})
    limit(video_base_bytes=1, video_max_bytes=len(CLIP))
    assert (await keep(unknown, client, disk)).size_bytes == len(CLIP)
