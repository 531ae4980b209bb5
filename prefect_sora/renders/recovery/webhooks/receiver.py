"""Receiver: an ASGI application that takes webhooks, checks them and makes them durable.

It believes a webhook in one thing, that there may be news of a job. What has become of the job its
server is asked. What is lost, late, doubled or out of order changes nothing but speed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from time import monotonic
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from prefect_sora.errors import InvalidRequestError, SoraError
from prefect_sora.handles import StoredVideo
from prefect_sora.limits import limits
from prefect_sora.renders.recovery.webhooks.deliveries import Deliveries
from prefect_sora.renders.recovery.webhooks.homecoming import Homecoming
from prefect_sora.renders.recovery.webhooks.schemes import Event, NotSignedError, Scheme, scheme_of
from prefect_sora.servers.access.webhooks import read_mark
from prefect_sora.servers.server import Server
from prefect_sora.store.backends import VideoFolder

log = logging.getLogger(__name__)

_POST_ONLY: Final = {"allow": "POST"}
_CLOSE: Final = {"connection": "close"}

ServerOf = Server | Callable[[], Awaitable[Server]]


class _RefusedError(Exception):
    """The answer to a request that is refused."""

    def __init__(self, status: int, why: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(why)
        self.status, self.headers = status, headers


class WebhookReceiver:
    """Takes the webhooks of video servers, and brings home what they tell of.

    It is an ASGI application that answers a POST at any path, so it can be mounted in another.
    `start` may be left out: the first webhook starts it.

    Args:
        stores: Where renders are kept: folders, URLs, or a block's `folder`.
        servers: Who sends: a server, or what gives one, such as a block's `get_server`.
        kept: Hears of each video that is home.
    """

    def __init__(
        self,
        stores: Sequence[str | VideoFolder],
        servers: Sequence[ServerOf],
        *,
        kept: Callable[[StoredVideo], object] | None = None,
    ) -> None:
        if not stores or not servers:
            raise InvalidRequestError("A receiver needs a store and a server at least.")
        self._folders = [VideoFolder(one) if isinstance(one, str) else one for one in stores]
        self._servers, self._kept = servers, kept
        self._sources: list[tuple[Server, Scheme]] = []
        self._homes: list[Homecoming] = []
        self._starting = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._told_at = float("-inf")

    async def start(self) -> None:
        """Find out who sends, and go on with what came before and was not acted on.

        Raises:
            InvalidRequestError: A server sends no webhooks, or its secret is not known.
            SoraError: A server, or a store, does not answer.
        """
        async with self._starting:
            if self._homes:
                return
            sources = []
            for one in self._servers:
                server = one if isinstance(one, Server) else await one()
                sources.append((server, scheme_of(server)))
            servers = [server for server, _ in sources]
            homes = [Homecoming(folder, servers, self._kept) for folder in self._folders]
            left = [(home, await Deliveries(home.ledger).left()) for home in homes]
            self._sources, self._homes = sources, homes
            for home, keys in left:
                for key in keys:
                    home.begin(key)

    async def close(self) -> None:
        """End what is under way; another start goes on with it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for home in self._homes:
            await home.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._lifespan(receive, send)
            return
        answer: Response
        try:
            await self._take(scope, receive)
            answer = Response(status_code=204)
        except _RefusedError as refused:
            self._tell(refused)
            answer = PlainTextResponse(str(refused), refused.status, refused.headers)
        except SoraError as error:
            log.warning("A webhook is refused for now, and will come again: %s", error)
            answer = PlainTextResponse("Not now.", 503, {"retry-after": "5"})
        await answer(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.start()
                except SoraError as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
            else:
                await self.close()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    def _tell(self, refused: _RefusedError) -> None:
        """Say why; not for each of a flood."""
        often = monotonic() - self._told_at < limits().log_seconds
        self._told_at = self._told_at if often else monotonic()
        log.log(logging.DEBUG if often else logging.WARNING, "A webhook was refused: %s", refused)

    async def _take(self, scope: Scope, receive: Receive) -> None:
        if scope["method"] != "POST":
            raise _RefusedError(405, "Webhooks are posted.", _POST_ONLY)
        headers = Headers(scope=scope)
        body = await _body(headers, receive)
        await self.start()
        told = self._read({name: headers[name] for name in headers}, body)
        news = [(server, event) for server, event in told if event.video_id]
        named = read_mark(scope.get("query_string", b"").decode("latin-1"))
        if not news or await self._recorded(news, named):
            return
        if len(self._tasks) < limits().webhooks_unknown:
            self._spawn(self._looked_for(news, named))

    def _read(self, headers: dict[str, str], body: bytes) -> list[tuple[Server, Event]]:
        """Read a webhook as each server that may have signed it."""
        told, why = [], "It is not signed as any server here signs."
        for server, scheme in self._sources:
            if scheme.header in headers:
                try:
                    told.append((server, scheme.read(headers, body)))
                except NotSignedError as error:
                    why = str(error)
        if not told:
            raise _RefusedError(400, why)
        return told

    async def _recorded(
        self, news: list[tuple[Server, Event]], named: tuple[str, int, str] | None
    ) -> bool:
        """Make durable what tells of a render that is known here, and begin to bring it home."""
        for server, event in news:
            for home in self._homes:
                deliveries = Deliveries(home.ledger)
                key = await deliveries.render_of(server.identity, event, named)
                if key is not None:
                    is_new = await deliveries.record(server.identity, event, key)
                    home.begin(key, anew=is_new)
                    return True
        return False

    async def _looked_for(
        self, news: list[tuple[Server, Event]], named: tuple[str, int, str] | None
    ) -> None:
        """Look again for a render whose acceptance may be recorded a moment later."""
        try:
            for pause_seconds in limits().webhook_looks_seconds:
                await asyncio.sleep(pause_seconds)
                if await self._recorded(news, named):
                    return
            for home in self._homes:
                await home.settle({server.identity for server, _ in news})
        except SoraError as error:
            log.info("What a webhook tells of was not found: %s", error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _body(headers: Headers, receive: Receive) -> bytes:
    """Read a body that is neither long nor slow."""
    most, said = limits().webhook_max_bytes, headers.get("content-length", "0")
    too_long = _RefusedError(413, f"Webhooks have {most} bytes at most.", _CLOSE)
    if not said.isdecimal() or int(said[:20]) > most:
        raise too_long
    body = b""
    try:
        async with asyncio.timeout(limits().webhook_seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise _RefusedError(400, "It broke off.", _CLOSE)
                body += bytes(message.get("body", b""))
                if len(body) > most:
                    raise too_long
                if not message.get("more_body"):
                    return body
    except TimeoutError:
        raise _RefusedError(408, "It did not arrive in time.", _CLOSE) from None
