"""Proxies: HTTP goes as the environment says, and never to this machine itself through a proxy."""

import asyncio
import logging
import os
import ssl
import sys
from functools import cache
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx2

from prefect_sora.errors import InvalidRequestError
from prefect_sora.limits import limits
from prefect_sora.servers.protocol.http.arrivals import GatedClient
from prefect_sora.servers.server import Server

log = logging.getLogger(__name__)

_HERE: Final = ("*localhost", "127.0.0.0/8", "127.0.0.1", "[::1]", "0.0.0.0", "[::]")  # noqa: S104 - nothing listens there: some name their own machine so


def is_here(base_url: str) -> bool:
    """Say whether a server is this machine, which no proxy can reach for us."""
    host = urlsplit(base_url).hostname or ""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


async def reach(base_url: str) -> None:
    """Stop where nobody listens at an address, before the SDK is imported to find that out.

    Raises:
        httpx2.ConnectError: Nobody does. Through a proxy that shows later.
    """
    if "openai" in sys.modules or (getproxies() and not is_here(base_url)):
        return
    url = urlsplit(base_url)
    port = url.port or {"http": 80}.get(url.scheme, 443)
    try:
        async with asyncio.timeout(limits().connect_seconds):
            _, writer = await asyncio.open_connection(url.hostname, port)
    except ConnectionRefusedError:
        raise httpx2.ConnectError("nobody listens there") from None
    except OSError as error:
        raise httpx2.ConnectError(str(error) or "no connection in time") from None
    writer.close()


def certificates() -> ssl.SSLContext:
    """Return the certificates that are believed; they are read once, because that takes 20 ms."""
    return _read(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _read(file: str | None, folder: str | None) -> ssl.SSLContext:
    """Read the certificates by httpx2, which looks at the two variables itself."""
    return httpx2.create_ssl_context()


def http_client(server: Server, verify: ssl.SSLContext, **options: Any) -> httpx2.AsyncClient:
    """Make an HTTP client that asks a server, and where its files lie.

    Args:
        server: Who is asked.
        verify: Which certificates are believed.
        options: Further ones of `httpx2.AsyncClient`.

    Raises:
        InvalidRequestError: The environment names a proxy that cannot be used.
    """
    names, base_url = [*_HERE], server.base_url
    if is_here(base_url):
        host = urlsplit(base_url).hostname or ""
        names.append(f"[{host}]" if ":" in host else host)
    here = {f"all://{name}": None for name in names}
    try:
        return GatedClient(server, verify=verify, mounts=here, **options)
    except (ImportError, ValueError, httpx2.InvalidURL) as error:
        # The setting may hold a password: it is not repeated.
        missing = isinstance(error, ImportError)
        why = "is a SOCKS proxy, whose library is missing" if missing else "is none that is known"
        if is_here(base_url):
            log.warning("The proxy of HTTP_PROXY, HTTPS_PROXY or ALL_PROXY %s: not used.", why)
            return GatedClient(server, verify=verify, trust_env=False, **options)
    raise InvalidRequestError(
        f"The proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names {why}; nothing was sent.",
        next_step="Install it with `pip install socksio`, or take the setting away."
        if missing
        else "Write it as http://host:port, or take the setting away.",
    )
