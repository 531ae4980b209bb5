"""Creates: requests that cost money leave once, each over a connection of its own.

An idle connection may be closing at the other end, and would leave unknown whether the
request was read. The openai SDK would use one, and read an answer of any length.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from typing import Any

import httpx2

from prefect_sora.departures import Departure
from prefect_sora.errors import InvalidRequestError, UnavailableError
from prefect_sora.limits import limits
from prefect_sora.outcomes import REFUSED
from prefect_sora.proxies import http_client
from prefect_sora.server import Server


class Creates:
    """The way of such requests to one server.

    Args:
        server: Who is asked.
        verify: Which certificates are believed.
        agent: What the requests say of who sends them.

    Raises:
        InvalidRequestError: The environment names a proxy that cannot be used.
    """

    def __init__(self, server: Server, verify: ssl.SSLContext, agent: str) -> None:
        self._server, self._agent = server, agent
        # Nothing waits in it, for the gate is before it, and nothing is used twice.
        self._http = http_client(
            server.base_url,
            verify,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
        )
        self._gate = asyncio.Semaphore(limits().creates_at_once)

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    def place(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Wait for a place among those under way, and have it while the block lasts.

        It is waited for before a reservation is stamped: under one, a request that others keep
        from leaving would soon be too late.
        """
        return self._gate

    async def send(
        self,
        path: str,
        fields: Mapping[str, Any],
        files: Any,
        more: Mapping[str, str] | None,
        departure: Departure,
        max_bytes: int,
    ) -> httpx2.Response:
        """Send something once, and anew with a new token where that was refused, unbegun.

        Args:
            path: Below /v1.
            fields: As JSON, or where `files` is a list, empty too, the texts of a form.
            files: Names, each with a file's name, bytes and type.
            more: Further headers.
            departure: Until when it may leave, and when it did.
            max_bytes: How long the answer may be.

        Returns:
            The answer, whatever its status, read to its end.

        Raises:
            InvalidRequestError: It cannot be written down; nothing was sent.
            AuthenticationError: No token is to be had; nothing was sent.
            UnavailableError: The answer has no end.
            Exception: No answer came.
        """
        async with contextlib.nullcontext() if departure.has_place else self._gate:
            departure.begin()
            return await self._sent(path, fields, files, more, departure, max_bytes)

    async def _sent(
        self,
        path: str,
        fields: Mapping[str, Any],
        files: Any,
        more: Mapping[str, str] | None,
        departure: Departure,
        max_bytes: int,
    ) -> httpx2.Response:
        body: dict[str, Any] = {"json": fields}
        if files is not None:
            texts = [(name, (None, text.encode())) for name, text in fields.items()]
            body = {"files": [*texts, *files]}
        for renewed in (False, True):
            headers = {
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": self._agent,
                **await self._server.authorisation(),
                **(more or {}),
            }
            try:
                request = self._http.build_request(
                    "POST",
                    f"{self._server.base_url}{path}",
                    params=dict(self._server.query) or None,
                    headers=headers,
                    # The departure bounds the whole of it.
                    timeout=httpx2.Timeout(None, connect=limits().connect_seconds),
                    extensions={"trace": departure},
                    **body,
                )
            except (TypeError, ValueError) as error:  # NaN, half a character
                raise InvalidRequestError(
                    f"The request cannot be written down ({type(error).__name__}).",
                    next_step="Look at the prompt and the extra fields; nothing was sent.",
                ) from None
            response = await self._http.send(request, stream=True, follow_redirects=False)
            try:
                whole = await _read(response, max_bytes)
            finally:
                await response.aclose()
            if whole.status_code != 401 or self._server.token is None or renewed:
                break
            self._server.token.forget()
            departure.refused()
        return whole


async def _read(response: httpx2.Response, max_bytes: int) -> httpx2.Response:
    """Read an answer to its end, decoded; of a refusal, what comes of it."""
    data = bytearray()
    try:
        async for chunk in response.aiter_bytes(64 * 1024):
            data += chunk
            if len(data) > max_bytes:
                raise UnavailableError("The answer has no end: it was cut off.")
    except httpx2.HTTPError:
        if response.status_code not in REFUSED:
            raise
    coded = ("content-encoding", "content-length", "transfer-encoding")
    headers = {name: value for name, value in response.headers.items() if name not in coded}
    return httpx2.Response(response.status_code, headers=headers, content=bytes(data))
