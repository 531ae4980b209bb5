"""Connect: one client per server and event loop, closed when the loop ends."""

import asyncio
from weakref import WeakKeyDictionary

from prefect_sora.client import VideoClient
from prefect_sora.server import Server

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Server, VideoClient]] = (
    WeakKeyDictionary()
)
_keepers: set[asyncio.Task[None]] = set()


def connect(server: Server) -> VideoClient:
    """Return this event loop's one client of the server; the loop's end closes it."""
    loop = asyncio.get_running_loop()
    clients = _clients.setdefault(loop, {})
    if server not in clients:
        client = clients[server] = VideoClient(server)
        keeper = loop.create_task(_close_with_the_loop(client), name="prefect-sora client keeper")
        _keepers.add(keeper)
        keeper.add_done_callback(_keepers.discard)
    return clients[server]


async def _close_with_the_loop(client: VideoClient) -> None:
    """Wait to be cancelled, as `asyncio.run` cancels what is left, then close."""
    try:
        await asyncio.Event().wait()
    finally:
        _clients.get(asyncio.get_running_loop(), {}).pop(client.server, None)
        await client.close()
