"""Drips: a download that does not come on ends, says so, and gives its place to another."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import pytest

from prefect_sora.errors import DownloadError
from prefect_sora.limits import limits
from prefect_sora.renders.finish.fetch import fetch
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import remote
from prefect_sora.store.ledger import Ledger
from tests.renders.test_keep import CLIP, KITE
from tests.support.limits import Limit
from tests.support.scripted import QUICK

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: %d\r\n\r\n"
WHOLE = HEAD % len(CLIP) + CLIP
ENDLESS = bytes(100_000)

Answer = Callable[[str], tuple[bytes, bytes]]
"""From a path: what is sent at once, and what a byte at a time."""


class Dripping(Protocol):
    """What the `dripping` fixture gives."""

    def __call__(self, answer: Answer, **account: Any) -> Awaitable[VideoClient]:
        """Start a server and make a client of it, with `remote`'s further arguments."""


@pytest.fixture(autouse=True)
def impatient(limit: Limit) -> None:
    """One attempt, and little time."""
    limit(headers_seconds=1.0, body_grace_seconds=1.0, body_bytes_per_second=1_000_000)
    limit(retry_pause_seconds=0.01, download_attempts=1)


@pytest.fixture
async def dripping() -> AsyncIterator[Dripping]:
    """Start servers that send something at once, and the rest a byte at a time."""
    servers: list[asyncio.Server] = []
    clients: list[VideoClient] = []
    at_work: set[asyncio.Task[Any] | None] = set()

    async def begin(answer: Answer, **account: Any) -> VideoClient:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            at_work.add(asyncio.current_task())
            try:
                asked = (await reader.readuntil(b"\r\n\r\n")).decode()
                at_once, slowly = answer(asked.split()[1])
                writer.write(at_once)
                for byte in slowly:
                    await writer.drain()
                    await asyncio.sleep(0.02)
                    writer.write(bytes([byte]))
                await writer.drain()
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass  # the client has heard enough, or the test
            finally:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        servers.append(server)
        port = server.sockets[0].getsockname()[1]
        server_at = remote(f"http://127.0.0.1:{port}/v1", profile=QUICK, **account)
        clients.append(VideoClient(server_at))
        return clients[-1]

    yield begin
    for client in clients:
        await client.close()
    for server in servers:
        server.close()
    tasks = [task for task in at_work if task]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def named(video_id: str) -> Any:
    return KITE.model_copy(update={"video_id": video_id})


@pytest.mark.parametrize(
    ("at_once", "slowly", "says"),
    [
        pytest.param(HEAD % 10**6 + CLIP[:100], ENDLESS, "too slowly", id="the body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: ", b"a" * 9999, "did not begin", id="the headers"),
        pytest.param(
            b"HTTP/1.1 500 No\r\nContent-Length: 90000\r\n\r\n", ENDLESS, "500", id="an error"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + CLIP[:100],
            ENDLESS,
            "too slowly",
            id="a body of no known length",
        ),
    ],
)
async def test_what_drips_ends_as_a_download_to_be_tried_again(
    dripping: Dripping, disk: Ledger, at_once: bytes, slowly: bytes, says: str
) -> None:
    client = await dripping(lambda _: (at_once, slowly))

    async with asyncio.timeout(20):
        with pytest.raises(DownloadError, match=says) as caught:
            await fetch(KITE, client, disk.store, "video.mp4")

    assert caught.value.retryable
    assert caught.value.paid == "yes"
    assert "resume" in str(caught.value.next_step)
    assert await disk.store.names() == []


async def test_drips_give_their_places_to_what_comes(dripping: Dripping, disk: Ledger) -> None:
    def answer(path: str) -> tuple[bytes, bytes]:
        return (HEAD % 10**6, ENDLESS) if "drip" in path else (WHOLE, b"")

    client = await dripping(answer)
    drips = [
        asyncio.create_task(fetch(named(f"drip_{n}"), client, disk.store, f"{n}.mp4"))
        for n in range(limits().downloads_at_once)
    ]
    await asyncio.sleep(0)  # they have taken all places
    try:
        async with asyncio.timeout(20):
            fetched = await fetch(named("good"), client, disk.store, "good.mp4")
    finally:
        for each in drips:
            each.cancel()
        ended = await asyncio.gather(*drips, return_exceptions=True)

    assert fetched.written.sha256 == hashlib.sha256(CLIP).hexdigest()
    assert DownloadError in {type(one) for one in ended}


async def test_a_slow_body_that_comes_fast_enough_is_fetched_whole(
    dripping: Dripping, disk: Ledger, limit: Limit
) -> None:
    slow = CLIP[-60:]  # more than a second, a byte every 20 ms
    client = await dripping(lambda _: (HEAD % len(CLIP) + CLIP[:-60], slow))
    limit(headers_seconds=9.0, body_grace_seconds=0.5, body_bytes_per_second=100, chunk_bytes=64)

    async with asyncio.timeout(20):
        fetched = await fetch(KITE, client, disk.store, "video.mp4")

    assert fetched.written.sha256 == hashlib.sha256(CLIP).hexdigest()


async def test_the_time_that_a_slow_store_takes_is_not_the_server_s(
    dripping: Dripping, disk: Ledger
) -> None:
    client = await dripping(lambda _: (WHOLE, b""))
    arrived = bytearray()

    async with client.content("video_1") as content:
        async for chunk in content.chunks:
            arrived += chunk
            await asyncio.sleep(limits().body_grace_seconds * 1.2)

    assert bytes(arrived) == CLIP
