"""Door: what is turned away before it is read: foreign names, endless bodies, silent callers."""

import asyncio
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

import h11
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prefect_sora.servers.local.faults.injection import DroppableProtocol
from prefect_sora.servers.local.launch.options import RendererOptions, is_loopback
from prefect_sora.servers.local.requests.fields import BODY_LIMIT_BYTES
from prefect_sora.servers.local.requests.refusals import Refusal

_HEAD_SECONDS: Final = 10.0
"""For all headers of a request, from its connection or its first byte on. Ours."""

_SILENT_SECONDS: Final = 30.0
"""Longest silence inside a body. Ours."""


@dataclass
class Door:
    """Passes on the requests that may come in.

    A page in somebody's browser may make a name of its own lead to this machine, and so read what
    is answered here. The browser sends that name as Host.
    """

    app: ASGIApp
    options: RendererOptions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 421 to a foreign name; bound the body of any other request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif not self._is_ours(Request(scope).headers.get("host", "")):
            refused = Refusal(421, "This server does not answer under that name.").response()
            await refused(scope, receive, send)
        else:
            await self.app(scope, _bounded(receive), send)

    def _is_ours(self, named: str) -> bool:
        # Who reaches another machine's address under any name needs the key to it.
        if not is_loopback(self.options.host):
            return True
        host = named.rpartition(":")[0] if named[-1:] != "]" and ":" in named else named
        host = host.strip("[]").lower()
        try:
            ip_address(host)
        except ValueError:
            return host in ("", "localhost") or host.endswith(".localhost")
        return True


def _bounded(receive: Receive) -> Receive:
    size, is_whole = 0, False

    async def bounded() -> Message:
        nonlocal size, is_whole
        if is_whole:  # what comes then tells that the caller has gone
            return await receive()
        try:
            async with asyncio.timeout(_SILENT_SECONDS):
                message = await receive()
        except TimeoutError:
            raise Refusal(408, "The body did not come on.") from None
        size += len(message.get("body", b""))
        is_whole = not message.get("more_body", False)
        if size > BODY_LIMIT_BYTES:
            raise Refusal(413, f"The body is larger than {BODY_LIMIT_BYTES} bytes.")
        return message

    return bounded


class ImpatientProtocol(DroppableProtocol):
    """Uvicorn's HTTP, which closes a connection whose request does not begin, or never ends to."""

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for headers."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait no longer than at first, until all headers are there."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait()
        else:
            self._heard()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._heard()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._head is None and not self.transport.is_closing():
            self._head = self.loop.call_later(_HEAD_SECONDS, self.transport.close)

    def _heard(self) -> None:
        if self._head:
            self._head.cancel()
        self._head = None
