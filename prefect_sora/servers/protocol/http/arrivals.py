"""Arrivals: the one gate through which every answer of a server comes in.

Behind it no text holds a secret of ours, an answer has an end, in time and in bytes, it is packed
in no other way than was asked for, and no cookie is kept.
"""

import asyncio
import contextlib
import json
import zlib
from collections.abc import AsyncIterator, Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx2

from prefect_sora.limits import limits
from prefect_sora.servers.protocol.http.json_values import parsed
from prefect_sora.servers.server import Server

REFUSED: Final = frozenset(
    # RFC 9110, 15.4 and 15.5, and RFC 6585; 451 is RFC 7725. Left out: 408, 409, 425 and 499
    # (nginx), because the request may be under way; 424, because a server behind failed; 302
    # and 303, because they also answer a form that was carried out.
    {301, 307, 308}
    | {400, 401, 402, 403, 404, 405, 406, 407, 410, 411, 412, 413, 414, 415, 416, 417}
    | {421, 422, 423, 426, 428, 429, 431, 451}
)
"""Statuses after which nothing was begun, whoever answers."""

_REDACT: Final = "prefect_sora.redact"
_DEFAULT: Final = httpx2.USE_CLIENT_DEFAULT
_PACKING: Final = (b"content-encoding", b"content-length", b"transfer-encoding")


class GatedClient(httpx2.AsyncClient):
    """An HTTP client of one server.

    Args:
        server: Whose secrets are cut out of what comes.
        options: As of `httpx2.AsyncClient`.
    """

    def __init__(self, server: Server, **options: Any) -> None:
        super().__init__(cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())), **options)
        if "Accept-Encoding" not in (options.get("headers") or {}):
            self.headers["Accept-Encoding"] = "gzip"
        self._server = server

    async def send(
        self,
        request: httpx2.Request,
        *,
        stream: bool = False,
        auth: Any = _DEFAULT,
        follow_redirects: Any = _DEFAULT,
    ) -> httpx2.Response:
        """Send a request; what is not taken as a stream ends within `Limits.answer_seconds`.

        Raises:
            httpx2.HTTPError: No whole answer, or one that is too large.
        """
        ask = super().send(request, stream=True, auth=auth, follow_redirects=follow_redirects)
        if stream:
            return self._passed(await ask)
        # Whoever asks for a list says how much of it.
        is_list = "limit" in request.url.params
        most = limits().list_max_bytes if is_list else limits().answer_max_bytes
        try:
            async with asyncio.timeout(limits().answer_seconds):
                response = self._passed(await ask)
                try:
                    return await whole(response, most)
                finally:
                    await response.aclose()
        except TimeoutError:
            late = f"it did not end within {limits().answer_seconds:g} s"
            raise httpx2.ReadTimeout(late, request=request) from None

    def _passed(self, response: httpx2.Response) -> httpx2.Response:
        """Cut our secrets out of what a server says before its body, and mark it for the rest."""
        redact = self._server.redacted
        # Where a redirect leads is followed as it is, and never shown.
        response.headers = httpx2.Headers(
            [
                (name, value if name.lower() == b"location" else _redacted(value, redact))
                for name, value in response.headers.raw
            ]
        )
        response.extensions = {
            **response.extensions,
            "reason_phrase": redact(response.reason_phrase).encode("ascii", "ignore"),
            _REDACT: redact,
        }
        return response


async def whole(response: httpx2.Response, max_bytes: int) -> httpx2.Response:
    """Read an answer that came as a stream to its end, unpacked; a refusal may break off before.

    Raises:
        httpx2.HTTPError: It broke off, it is longer than `max_bytes`, or packed otherwise than
            was asked for.
    """
    data = bytearray()
    try:
        async for chunk in unpacked(response, 64 * 1024):
            data += chunk
            if len(data) > max_bytes:
                long = f"the answer has no end: it was cut off after {max_bytes} bytes"
                raise httpx2.RemoteProtocolError(long, request=response.request)
    except httpx2.HTTPError:
        if response.status_code not in REFUSED:
            raise
    headers = [pair for pair in response.headers.raw if pair[0].lower() not in _PACKING]
    return httpx2.Response(
        response.status_code,
        headers=headers,
        content=_said(bytes(data), response),
        request=response.request,
        extensions={k: v for k, v in response.extensions.items() if k != "network_stream"},
    )


async def unpacked(response: httpx2.Response, chunk_bytes: int) -> AsyncIterator[bytes]:
    """Yield a body in chunks of at most so many bytes, however tightly it was packed.

    Raises:
        httpx2.HTTPError: It broke off, or is packed otherwise than by gzip, once.
    """
    packing = response.headers.get("content-encoding", "identity").strip().lower()
    if packing in ("identity", ""):
        async for chunk in response.aiter_raw(chunk_bytes):
            yield chunk
        return
    if packing not in ("gzip", "x-gzip"):
        other = "the answer is packed in a way that was not asked for"
        raise httpx2.DecodingError(other, request=response.request)
    unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        async for chunk in response.aiter_raw(chunk_bytes):
            while chunk and not unpack.eof:
                if out := unpack.decompress(chunk, chunk_bytes):
                    yield out
                chunk = unpack.unconsumed_tail
    except zlib.error as error:
        raise httpx2.DecodingError(str(error), request=response.request) from None
    if not unpack.eof:
        raise httpx2.RemoteProtocolError("the packed body is cut", request=response.request)


def _said(data: bytes, response: httpx2.Response) -> bytes:
    """Cut our secrets out of a body; the SDK's errors hold that of a refusal, read as JSON."""
    redact = response.extensions.get(_REDACT, str)
    if response.is_error and b"\\" in data:  # JSON can write a character in several ways
        with contextlib.suppress(ValueError):
            data = json.dumps(parsed(data, redact)).encode()
    return _redacted(data, redact)


def _redacted(data: bytes, redact: Callable[[str], str]) -> bytes:
    """Cut our secrets out of what came: Latin-1 keeps each byte."""
    text = data.decode("latin-1")
    said = redact(text)
    return data if said == text else said.encode("latin-1")


def json_of(response: httpx2.Response) -> Any:
    """Read a body as JSON, without our secrets; None where it is none, or where it broke off."""
    try:
        escaped = b"\\" in response.content  # what was not has lost our secrets already
        redact = response.extensions.get(_REDACT, str) if escaped else str
        return parsed(response.content, redact)
    except (ValueError, httpx2.StreamError):
        return None
