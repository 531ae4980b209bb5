"""One call per method: a request in, a value or a typed error out; nothing is retried here.

The openai SDK is the transport (authentication, encoding, errors). Its `videos.*`
methods are deprecated and retry creates, so the calls below are made on its
verbs, with its retries off.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Final
from urllib.parse import quote, urljoin, urlsplit
from weakref import WeakKeyDictionary

import httpx2
import openai
from openai import AsyncOpenAI

from prefect_sora.errors import (
    ApiError,
    AuthenticationError,
    ModerationError,
    QuotaError,
    RateLimitError,
    RejectedError,
    SoraError,
    UnavailableError,
    VideoNotFoundError,
)
from prefect_sora.references import Reference
from prefect_sora.requests import VideoRequest
from prefect_sora.server import Server
from prefect_sora.wire import (
    Failure,
    Video,
    VideoPage,
    read_failure,
    read_page,
    read_video,
)

CREATE_TIMEOUT_SECONDS: Final = 90.0
"""Longest create: a server decodes a reference image and queues, it does not render.
Ours; with `ledger.LEASE_SECONDS` it bounds how long another worker waits for a dead one."""

READ_TIMEOUT_SECONDS: Final = 30.0
"""Longest silence inside an answer, of a poll or of a download. Ours."""

_NEVER_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_CHUNK_BYTES: Final = 256 * 1024


@dataclass(frozen=True)
class Content:
    """A body on its way: what the server announced, and its bytes."""

    chunks: AsyncIterator[bytes]
    content_type: str
    expected_bytes: int | None


class VideoClient:
    """The video protocol's calls on one server.

    Take one from `connect`, which keeps one per server and event loop.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.watcher: object | None = None  # see watcher.watcher_of: it lives as long as we do
        self._http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(READ_TIMEOUT_SECONDS, connect=5.0, pool=60.0),
            limits=httpx2.Limits(max_connections=100, max_keepalive_connections=20),
        )
        key = server.api_key.get_secret_value() if server.api_key else ""
        self._openai = AsyncOpenAI(
            base_url=server.base_url,
            api_key=key or "none",
            max_retries=0,
            default_query=dict(server.query),
            http_client=self._http,
        )
        # The SDK fills these from the environment, which may mean another server.
        self._openai.organization = server.organization
        self._openai.project = server.project

    async def close(self) -> None:
        """Close its connections."""
        await self._openai.close()

    async def submit(
        self, request: VideoRequest, reference: Reference | None, idempotency_key: str
    ) -> Video:
        """Send the one request that costs money.

        Raises:
            ApiError: Refused, so nothing was paid, except `UnavailableError`
                without `never_sent`: it may have been accepted.
        """
        fields: dict[str, Any] = {"prompt": request.prompt}
        path = "/videos"
        if request.kind == "remix":
            path = f"/videos/{quote(str(request.source_video_id), safe='')}/remix"
        else:
            fields |= {
                "model": self.server.deployment or request.model,
                "size": request.size,
                "seconds": f"{request.seconds}",
            }
        fields = {k: v for k, v in {**fields, **request.extra}.items() if v is not None}
        headers = {**self._headers(), "Idempotency-Key": idempotency_key}
        files = None
        if reference:
            # In a form a nested value has no standard place: it goes as JSON text.
            fields = {k: v if isinstance(v, str) else json.dumps(v) for k, v in fields.items()}
            headers["Content-Type"] = "multipart/form-data"
            files = [
                ("input_reference", (reference.filename, reference.data, reference.content_type))
            ]
        try:
            async with asyncio.timeout(CREATE_TIMEOUT_SECONDS):
                response = await self._openai.post(
                    path,
                    cast_to=httpx2.Response,
                    body=fields,
                    files=files,
                    options={
                        "headers": headers,
                        "max_retries": 0,
                        "follow_redirects": False,
                        "timeout": httpx2.Timeout(CREATE_TIMEOUT_SECONDS, connect=5.0),
                    },
                )
        except TimeoutError as error:
            raise UnavailableError(f"{self._name} did not answer the create request.") from error
        except openai.APIError as error:
            raise self._error(error, verb="create") from error
        video = read_video(_json(response))
        if video is None:
            raise self._not_the_protocol(response)
        return video

    async def retrieve(self, video_id: str) -> Video:
        """Ask for one job.

        Raises:
            VideoNotFoundError: The server knows no such job.
            ApiError: Anything else that is no job.
        """
        try:
            response = await self._get(f"/videos/{quote(video_id, safe='')}")
        except openai.APIStatusError as error:
            # Some servers answer for a failed job with an error status and the job in it.
            body = _json(error.response)
            video = read_video(body)
            is_job = isinstance(body, Mapping) and (
                body.get("object") == "video" or "status" in body
            )
            if video and is_job:
                return video
            raise self._error(error, verb="retrieve", video_id=video_id) from error
        except openai.APIError as error:
            raise self._error(error, verb="retrieve", video_id=video_id) from error
        video = read_video(_json(response), _poll_after_s(response.headers))
        if video is None:
            raise self._not_the_protocol(response)
        return video

    async def list_page(self, after: str | None = None, limit: int = 100) -> VideoPage:
        """Ask for one page of the jobs, newest first.

        Raises:
            RejectedError: This server does not list.
            ApiError: Anything else that is no page.
        """
        params: dict[str, object] = {"limit": limit, "order": "desc"}
        if after:
            params["after"] = after
        try:
            response = await self._get("/videos", params)
        except openai.APIError as error:
            raise self._error(error, verb="list") from error
        page = read_page(_json(response), _poll_after_s(response.headers))
        if page is None:
            raise self._not_the_protocol(response)
        return page

    async def models(self) -> list[str]:
        """Ask which models the server names; harmless, and proves address and key.

        Raises:
            ApiError: No such list, or no access.
        """
        try:
            response = await self._get("/models")
        except openai.APIError as error:
            raise self._error(error, verb="models") from error
        body = _json(response)
        if not isinstance(body, Mapping) or not isinstance(body.get("data"), list):
            raise self._not_the_protocol(response)
        return [str(m["id"]) for m in body["data"] if isinstance(m, Mapping) and "id" in m]

    async def delete(self, video_id: str) -> None:
        """Delete one video at the server; one that is gone already is fine.

        Raises:
            ApiError: Refused, or this server cannot.
        """
        try:
            await self._openai.delete(
                f"/videos/{quote(video_id, safe='')}",
                cast_to=httpx2.Response,
                options={"headers": self._headers()},
            )
        except openai.NotFoundError:
            return
        except openai.APIError as error:
            raise self._error(error, verb="delete", video_id=video_id) from error

    @contextlib.asynccontextmanager
    async def content(
        self, video_id: str, variant: str | None = None, url: str | None = None
    ) -> AsyncIterator[Content]:
        """Open the finished file, or one of its variants, as a stream.

        Args:
            video_id: The finished video.
            variant: `thumbnail` or `spritesheet`; None for the video itself.
            url: Where the server said that the file lies, in place of `/content`.

        Raises:
            ApiError: No such file, or not now.
        """
        target = httpx2.URL(
            url or f"{self.server.base_url}/videos/{quote(video_id, safe='')}/content"
        ).copy_merge_params({} if url else dict(self.server.query))
        if variant:
            target = target.copy_merge_params({"variant": variant})
        try:
            async with self._follow(target) as response:
                if response.is_error:
                    await response.aread()
                    raise self._status_error(response, verb="content", video_id=video_id)
                encoded = "content-encoding" in response.headers
                length = response.headers.get("content-length", "")
                yield Content(
                    chunks=response.aiter_bytes(_CHUNK_BYTES),
                    content_type=response.headers.get("content-type", ""),
                    expected_bytes=int(length) if length.isdigit() and not encoded else None,
                )
        except httpx2.HTTPError as error:
            raise self._no_answer(error) from error

    @contextlib.asynccontextmanager
    async def _follow(self, url: httpx2.URL) -> AsyncIterator[httpx2.Response]:
        """Follow redirects by hand: credentials go to the server's own origin only."""
        for _ in range(6):
            own = _origin(str(url)) == _origin(self.server.base_url)
            headers = {"Accept-Encoding": "identity", **(self._credentials() if own else {})}
            async with self._http.stream(
                "GET", url, headers=headers, follow_redirects=False
            ) as response:
                if not response.has_redirect_location:
                    yield response
                    return
                url = httpx2.URL(urljoin(str(url), response.headers["location"]))
        raise UnavailableError(f"{self._name} redirects the download in circles.", paid="yes")

    async def _get(self, path: str, params: dict[str, object] | None = None) -> httpx2.Response:
        return await self._openai.get(
            path,
            cast_to=httpx2.Response,
            options={
                "params": params or {},
                "headers": self._headers(),
                "max_retries": 0,
                "follow_redirects": False,
            },
        )

    @property
    def _name(self) -> str:
        return f"The video server {self.server.base_url}"

    def _headers(self) -> dict[str, Any]:
        """Say the key where the SDK would not, and silence it where there is none."""
        if self.server.auth == "bearer" and self.server.api_key is not None:
            return {}
        return {**self._credentials(), "Authorization": openai.omit}

    def _credentials(self) -> dict[str, str]:
        if self.server.api_key is None:
            return {}
        key = self.server.api_key.get_secret_value()
        return (
            {"api-key": key}
            if self.server.auth == "api-key"
            else {"Authorization": f"Bearer {key}"}
        )

    def _error(
        self, error: openai.APIError, *, verb: str, video_id: str | None = None
    ) -> SoraError:
        if isinstance(error, openai.APIStatusError):
            return self._status_error(error.response, verb=verb, video_id=video_id)
        return self._no_answer(error.__cause__ or error)

    def _no_answer(self, cause: BaseException) -> UnavailableError:
        never_sent = isinstance(cause, _NEVER_SENT)
        return UnavailableError(
            f"{self._name} {'cannot be reached' if never_sent else 'gave no whole answer'} "
            f"({type(cause).__name__}{f': {cause}' if str(cause) else ''}).",
            never_sent=never_sent,
            next_step="Check base_url and that the server runs; `prefect-sora doctor` tells more.",
        )

    def _not_the_protocol(self, response: httpx2.Response) -> UnavailableError | RejectedError:
        kind = response.headers.get("content-type", "no type").partition(";")[0]
        message = f"{self._name} answered {response.status_code} with {kind}, not with a video job."
        if kind == "text/html":
            # A page comes from a proxy, a login or a website: the request went no further.
            return RejectedError(
                message,
                status=response.status_code,
                next_step="Point base_url at the API itself, such as https://host/v1.",
            )
        return UnavailableError(message, status=response.status_code)

    def _status_error(
        self, response: httpx2.Response, *, verb: str, video_id: str | None = None
    ) -> SoraError:
        status = response.status_code
        failure = read_failure(_json(response)) or Failure()
        said = failure.message.strip() or response.reason_phrase or "no reason given"
        if self.server.api_key:  # some servers repeat the key that they refuse
            said = said.replace(self.server.api_key.get_secret_value(), "********")
        about: dict[str, Any] = {
            "status": status,
            "code": failure.code,
            "request_id": response.headers.get("x-request-id"),
            "video_id": video_id,
        }
        message = f"{self._name} answered {status} to {verb}: {said[:500]}"
        if status in (401, 403):
            about["next_step"] = "Check api_key, and that it may use this model."
            return AuthenticationError(message, **about)
        if status == 402 or (status == 429 and failure.is_quota):
            about["next_step"] = "Add credit or raise the quota at the provider; waiting is no use."
            return QuotaError(message, **about)
        if status == 429:
            return RateLimitError(message, retry_after_s=_retry_after_s(response.headers), **about)
        if failure.is_moderation and status < 500:
            return ModerationError(
                message,
                code=failure.code,
                video_id=video_id,
                next_step="Change the prompt or the reference; the same request is refused again.",
            )
        if status in (404, 410) and verb in ("retrieve", "content", "delete"):
            return VideoNotFoundError(message, **about)
        if status in (408, 409) or status >= 500:
            return UnavailableError(
                message, retry_after_s=_retry_after_s(response.headers), **about
            )
        about["next_step"] = (
            "Check base_url: nothing renders there."
            if status in (301, 302, 307, 308, 404, 405)
            else "Change the request as the server says."
        )
        return RejectedError(message, **about)


def _json(response: httpx2.Response) -> object:
    try:
        return json.loads(response.content)
    except ValueError:
        return None


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port


def _poll_after_s(headers: Mapping[str, str]) -> float | None:
    value = headers.get("openai-poll-after-ms", "")
    return max(0.05, int(value) / 1000) if value.isdigit() else None


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Read how long to wait, in seconds, from a count or a date (RFC 9110, 10.2.3)."""
    if headers.get("retry-after-ms", "").isdigit():
        return int(headers["retry-after-ms"]) / 1000
    value = headers.get("retry-after") or headers.get("llm_provider-retry-after") or ""
    with contextlib.suppress(ValueError):
        return max(0.0, float(value))
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    return None


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


__all__ = ["ApiError", "Content", "VideoClient", "connect"]
