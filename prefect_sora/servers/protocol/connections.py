"""Connections: one client per server and event loop, closed when the loop ends."""

import asyncio
import logging
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.http.proxies import is_here
from prefect_sora.servers.server import Server

log = logging.getLogger(__name__)

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Server, VideoClient]] = (
    WeakKeyDictionary()
)
_keepers: set[asyncio.Task[None]] = set()


def connect(server: Server) -> VideoClient:
    """Return this event loop's one client of the server; the loop's end closes it."""
    loop = asyncio.get_running_loop()
    clients = _clients.setdefault(loop, {})
    if server not in clients:
        _warn_of_an_open_way(server)
        client = clients[server] = VideoClient(server)
        keeper = loop.create_task(_close_with_the_loop(client), name="prefect-sora client keeper")
        _keepers.add(keeper)
        keeper.add_done_callback(_keepers.discard)
    return clients[server]


def _warn_of_an_open_way(server: Server) -> None:
    """Warn where a key would travel unencrypted to another machine."""
    url = urlsplit(server.base_url)
    if url.scheme != "http" or not (server.api_key or server.token or server.query):
        return
    if not is_here(server.base_url):
        log.warning(
            "The key to %s travels unencrypted: base_url is http://, and not on this machine.",
            server.label,
        )


async def _close_with_the_loop(client: VideoClient) -> None:
    """Wait to be cancelled, as `asyncio.run` cancels what is left, then close."""
    try:
        await asyncio.Event().wait()
    finally:
        _clients.get(asyncio.get_running_loop(), {}).pop(client.server, None)
        await client.close()
