"""Addresses: which of those that a stranger names may be reached, and where exactly.

A server's answer, a redirect or a file may name an address of a private network, and so make this
machine ask what only it can reach: a router, a database, a cloud's metadata. Such an address is
refused, unless the user has named its host. The name is resolved once, and what was checked is
what is connected to: another answer of the resolver changes nothing.
"""

import asyncio
import os
import socket
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final
from urllib.request import getproxies, proxy_bypass

VARIABLE: Final = "PREFECT_SORA_PRIVATE_HOSTS"
"""Hosts, addresses and networks that strangers may name though they are private: `10.0.0.0/8`."""

_METADATA: Final = frozenset({IPv4Address("168.63.129.16")})
"""Azure's, which is a public address (Microsoft, "What is IP address 168.63.129.16", 2026)."""

_NAT64: Final = ip_network("64:ff9b::/96")
"""IPv4 in IPv6 (RFC 6052)."""

_UNPACKED: Final = {"Accept-Encoding": "identity"}

_Address = IPv4Address | IPv6Address


class PrivateAddressError(Exception):
    """An address that a stranger named leads into a private network; it was not asked."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"leads to {host} in a private network, which was not asked: {VARIABLE} names those "
            "that may be"
        )


async def pinned(
    url: Any, trusted: Collection[str] = ()
) -> tuple[Any, dict[str, str], dict[str, Any]]:
    """Check an address, and say how to ask there, and nowhere else.

    Behind a proxy the proxy resolves names: then only what resolves here, too, is checked.

    Args:
        url: An `httpx2.URL`.
        trusted: Hosts that the user has configured.

    Returns:
        Where to connect, the headers to send, and further arguments of the request.

    Raises:
        PrivateAddressError: It is in a private network.
        OSError: Its name is not known.
    """
    host = url.raw_host.decode("ascii")
    if url.host in trusted:
        return url, _UNPACKED, {}
    is_proxied = _is_proxied(url.scheme, host)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, url.port, type=socket.SOCK_STREAM
        )
    except (OSError, UnicodeError) as error:
        if is_proxied:
            return url, _UNPACKED, {}
        raise OSError("its name is not known") from error
    addresses = [ip_address(str(each[4][0]).partition("%")[0]) for each in found]
    if not all(_may_be_asked(each, host) for each in addresses):
        raise PrivateAddressError(host)
    if is_proxied:
        return url, _UNPACKED, {}
    # A connection is known by its address alone: the next that leads there may be another's.
    headers = {**_UNPACKED, "Host": url.netloc.decode("ascii"), "Connection": "close"}
    at = url.copy_with(host=str(addresses[0]))
    return at, headers, {"extensions": {"sni_hostname": host}}


def _is_proxied(scheme: str, host: str) -> bool:
    proxies = getproxies()
    return bool(proxies.get(scheme) or proxies.get("all")) and not proxy_bypass(host)


def _may_be_asked(address: _Address, host: str) -> bool:
    inner = address
    if isinstance(address, IPv6Address):
        embedded = IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
        teredo = address.teredo[1] if address.teredo else None
        inner = address.ipv4_mapped or address.sixtofour or teredo or embedded or address
    public = inner.is_global and not inner.is_multicast and inner not in _METADATA
    return public or any(
        named == host or _lies_in(inner, named)
        for named in os.environ.get(VARIABLE, "").replace(",", " ").split()
    )


def _lies_in(address: _Address, network: str) -> bool:
    try:
        return address in ip_network(network, strict=False)
    except ValueError:  # a host's name
        return False
