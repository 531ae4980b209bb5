"""A file on its way: opened wherever the server says that it lies, and read while it keeps coming.

The server may send us elsewhere, by a redirect or by a job's own `url`. Such an address is
often signed, so it goes into no log and no error, and our credentials are never sent there.

A download that is cut goes on where it was cut, if the server shows that the file is the same.
Otherwise an error tells the reader, who begins anew.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from time import monotonic
from urllib.parse import urljoin

import httpx2

from prefect_sora.errors import UnavailableError
from prefect_sora.errors.addresses import PrivateAddressError, pinned
from prefect_sora.errors.redaction import in_private
from prefect_sora.limits import limits
from prefect_sora.servers.protocol.http.arrivals import unpacked, whole
from prefect_sora.servers.protocol.http.proxies import is_here
from prefect_sora.servers.protocol.payload import path_of
from prefect_sora.servers.protocol.status_errors import no_answer, retry_after_s, status_error
from prefect_sora.servers.server import Server

_Ask = Callable[[Mapping[str, str]], contextlib.AbstractAsyncContextManager[httpx2.Response]]


@dataclass(frozen=True)
class Content:
    """A body on its way: what the server announced, and its bytes."""

    chunks: AsyncIterator[bytes]
    content_type: str
    expected_bytes: int | None


@contextlib.asynccontextmanager
async def opened(
    http: httpx2.AsyncClient, server: Server, video_id: str, variant: str | None, url: str | None
) -> AsyncIterator[Content]:
    """Open a file of a video.

    Args:
        http: Sends the request.
        server: Who has the video.
        video_id: Which video.
        variant: Which of its files; None: the video itself.
        url: Where the server said that the file is, in place of its own route.

    Raises:
        ApiError: No such file, or not now, or the connection breaks.
    """
    target, params, can = url, {}, server.profile
    if target is None:
        target = f"{server.base_url}{path_of(can, 'content', video_id)}"
        more = {"variant": variant} if variant else can.content_query
        params = {**dict(server.query), **more}

    is_keyed = url is None or can.url_auth == "same_origin_key"
    ask = partial(_answer, http, server, target, params, is_keyed)
    async with ask({}) as response:
        if response.is_error:
            try:
                async with asyncio.timeout(limits().headers_seconds):
                    response = await whole(response, limits().answer_max_bytes)
            except (httpx2.HTTPError, TimeoutError):  # the status says enough
                kept = {k: v for k, v in response.headers.items() if k == "retry-after"}
                status, request = response.status_code, response.request
                response = httpx2.Response(status, headers=kept, request=request)
            if url is None and _is_own(server, response.url):
                raise status_error(server, response, verb="content", video_id=video_id)
            # The signature has run out, or the file is not there yet: the job may name it anew.
            raise UnavailableError(
                f"The place where the video server {server.base_url} keeps the file answered "
                f"{response.status_code}.",
                status=response.status_code,
                retry_after_s=retry_after_s(response.headers),
            )
        async with contextlib.aclosing(_to_its_end(server, response, ask)) as chunks:
            yield Content(
                chunks=chunks,
                content_type=response.headers.get("content-type", ""),
                expected_bytes=_length(response),
            )


@contextlib.asynccontextmanager
async def _answer(
    http: httpx2.AsyncClient,
    server: Server,
    target: str,
    params: Mapping[str, str],
    is_keyed: bool,
    headers: Mapping[str, str],
) -> AsyncIterator[httpx2.Response]:
    """Follow redirects by hand: credentials go to the server's own origin only, if at all."""
    at = f"{server.base_url}/"
    stale = server.token  # it may have ended while we waited; it is renewed once
    for _ in range(2 + limits().redirects):
        try:
            at = urljoin(at, target)
            # Without parameters to add, a signed URL stays as it is, letter by letter.
            url = httpx2.URL(at, params=params) if params else httpx2.URL(at)
        except (ValueError, httpx2.InvalidURL):
            url = httpx2.URL("")
        if url.scheme not in ("http", "https") or not url.host or not (url.port or 1) < 2**16:
            raise UnavailableError(f"{_named(server)} names no address for the file.")
        own = _is_own(server, url)
        known = await server.authorisation() if own and is_keyed else {}
        try:
            with in_private():
                async with asyncio.timeout(limits().headers_seconds):
                    where, asked, more = await pinned(url, _configured(server))
                    asked = {**asked, **headers, **known}
                    request = http.build_request("GET", where, headers=asked, **more)
                    response = await http.send(request, stream=True, follow_redirects=False)
        except PrivateAddressError as error:
            raise UnavailableError(f"{_place(server, url)} {error}.") from None
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise UnavailableError(
                    f"{_place(server, url)} did not begin to send the file in "
                    f"{limits().headers_seconds:g} s."
                ) from None
            raise UnavailableError(f"{_place(server, url)} is not found: {error}.") from None
        except httpx2.HTTPError as error:
            raise _cut_off(server, url, error) from None
        try:
            if response.status_code == 401 and own and stale:
                stale.forget()
                target, stale = str(url), None
                params = {}
                continue
            if not response.has_redirect_location:
                yield response
                return
            target, params = response.headers["location"], {}
        finally:
            await response.aclose()
    raise UnavailableError(f"{_named(server)} redirects the download in circles.")


async def _to_its_end(
    server: Server, response: httpx2.Response, ask: _Ask
) -> AsyncGenerator[bytes]:
    """Pass a body on; where it is cut or stalls, go on with the rest of the same file."""
    first, at_byte, clock = response, 0, _Clock()
    cut = UnavailableError(f"{_place(server, response.url)} does not send the whole file.")
    async with contextlib.AsyncExitStack() as connection:
        for resumes in range(1 + limits().body_resumes):
            try:
                if resumes:
                    await connection.aclose()
                    await first.aclose()
                    with clock.running():
                        await asyncio.sleep(limits().retry_pause_seconds * 2 ** (resumes - 1))
                        rest = ask(_rest_of(first, at_byte))
                        response = await connection.enter_async_context(rest)
                    if response.status_code == 429 or response.is_server_error:
                        continue
                    if not _goes_on(first, response, at_byte):
                        break
                async for chunk in _steady(server, response, clock):
                    at_byte += len(chunk)
                    yield chunk
            except UnavailableError as error:
                cut = error
            else:
                return
            if clock.left_seconds <= 0 or not at_byte or _length(first) is None:
                break  # no time left, nothing to go on from, or no known end
    raise cut


def _rest_of(first: httpx2.Response, at_byte: int) -> dict[str, str]:
    """Ask for the rest of the very file that was begun (RFC 9110, 13.1.5 and 14.2)."""
    tag = first.headers.get("etag", "W/")
    same = first.headers.get("last-modified") if tag.startswith("W/") else tag
    return {"Range": f"bytes={at_byte}-", **({"If-Range": same} if same else {})}


def _goes_on(first: httpx2.Response, rest: httpx2.Response, at_byte: int) -> bool:
    """Say whether an answer is the rest of this very file."""
    length, tags = _length(first), [r.headers.get("etag") for r in (first, rest)]
    return (
        rest.status_code == 206
        and length is not None
        and rest.headers.get("content-range") == f"bytes {at_byte}-{length - 1}/{length}"
        and "content-encoding" not in rest.headers
        and (None in tags or tags[0] == tags[1])
    )


def _length(response: httpx2.Response) -> int | None:
    length = response.headers.get("content-length", "")
    encoded = "content-encoding" in response.headers
    return int(length) if length.isdigit() and not encoded else None


class _Clock:
    """Counts the time spent waiting for a body, and not the time that its reader takes.

    A body that drips is never silent: with no limit it would hold its place among the
    downloads for hours.
    """

    def __init__(self) -> None:
        self._within = limits()
        self._waited_seconds = 0.0
        self.bytes = 0

    @property
    def left_seconds(self) -> float:
        """How much longer to wait for the body, given the bytes that have come."""
        due_s = self.bytes / self._within.body_bytes_per_second
        return self._within.body_grace_seconds + due_s - self._waited_seconds

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Count the time inside the block."""
        began = monotonic()
        try:
            yield
        finally:
            self._waited_seconds += monotonic() - began


async def _steady(server: Server, response: httpx2.Response, clock: _Clock) -> AsyncIterator[bytes]:
    """Pass a body on while it keeps coming fast enough."""
    chunks = unpacked(response, limits().chunk_bytes)
    while True:
        longest = min(limits().chunk_seconds, max(clock.left_seconds, 0.0))
        try:
            with clock.running():
                async with asyncio.timeout(longest):
                    chunk = await anext(chunks, None)
        except TimeoutError:
            place = _place(server, response.url)
            if clock.left_seconds <= 0:
                pace = f"{clock.bytes} bytes of it came so far"
                raise UnavailableError(f"{place} sends the file too slowly: {pace}.") from None
            raise UnavailableError(
                f"{place} sent less than {limits().chunk_bytes // 1024} KiB of the "
                f"file in {limits().chunk_seconds:g} s."
            ) from None
        except httpx2.HTTPError as error:
            raise _cut_off(server, response.url, error) from None
        if chunk is None:
            return
        clock.bytes += len(chunk)
        yield chunk


def _cut_off(server: Server, url: httpx2.URL, error: httpx2.HTTPError) -> UnavailableError:
    if _is_own(server, url):
        return no_answer(server, error)
    return UnavailableError(
        f"{_place(server, url)} broke the connection too early ({type(error).__name__})."
    )


def _is_own(server: Server, url: httpx2.URL) -> bool:
    # Read by httpx2's parser, which also decides where the request goes.
    base = httpx2.URL(server.base_url)
    return (url.scheme, url.host, url.port) == (base.scheme, base.host, base.port)


def _configured(server: Server) -> tuple[str, ...]:
    """Name the hosts that the user has named: the server's, and this machine where that is it."""
    host = httpx2.URL(server.base_url).host
    return (host, "localhost", "127.0.0.1", "::1") if is_here(server.base_url) else (host,)


def _place(server: Server, url: httpx2.URL) -> str:
    """Name where a file lies, without the address."""
    named = _named(server)
    return (
        named
        if _is_own(server, url)
        else f"The place where {named[0].lower()}{named[1:]} keeps the file"
    )


def _named(server: Server) -> str:
    return f"The video server {server.base_url}"
