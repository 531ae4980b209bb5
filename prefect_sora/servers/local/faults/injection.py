"""Injection: a fault is carried out in an answer or on its live connection."""

import asyncio
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from prefect_sora.servers.local.faults.rules import Fault
from prefect_sora.servers.local.requests.refusals import Refusal

_CODES = {429: "rate_limit_exceeded", 401: "invalid_api_key", 404: "not_found"}
_PAGE = "<!doctype html><html><body><h1>Bad gateway</h1><p>Try again later.</p></body></html>"


class DroppableProtocol(H11Protocol):
    """Uvicorn's HTTP; the application reaches the connection, so that a fault can drop it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the connection in the state that every request of it carries."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class Drop(Response):
    """No answer at all: the connection closes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Close at once; nothing was written."""
        await _close(scope, receive)


class CutAfter(Response):
    """The first bytes of an answer whose full length was announced; then the connection closes."""

    def __init__(self, inner: ASGIApp, size: int) -> None:
        super().__init__()
        self.inner = inner
        self.left = size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the answer on until its bytes are used up."""

        async def send_some(message: Message) -> None:
            if message["type"] != "http.response.body":
                await send(message)
                return
            body = message.get("body", b"")[: self.left]
            self.left -= len(body)
            if self.left > 0 and not message.get("more_body"):
                await send({**message, "body": body})
                return
            await send({**message, "body": body, "more_body": True})
            if self.left == 0:
                raise _Enough

        try:
            await self.inner(scope, receive, send_some)
        except _Enough:
            await _close(scope, receive)


class _Enough(Exception):  # noqa: N818 - a way out of the inner answer
    pass


async def _close(scope: Scope, receive: Receive) -> None:
    scope["state"]["transport"].close()  # what was written is still sent
    while (await receive())["type"] != "http.disconnect":
        pass


def inject_instead(fault: Fault) -> Response | None:
    """The answer that this fault gives without any processing, if it is of that kind.

    Raises:
        Refusal: The answer is an error, which each dialect writes in its own way.
    """
    if fault.verb == "drop":
        return Drop()
    if fault.verb == "status":
        status = int(fault.number)
        code = fault.argument.partition(":")[2] or _CODES.get(status)
        message = f"Scripted answer with status {status}."
        raise Refusal(status, message, code=code, headers=fault.headers)
    if fault.verb == "html":
        return HTMLResponse(_PAGE, int(fault.argument or 200), headers=fault.headers)
    if fault.verb == "garbage":
        kinds = {"content": "video/mp4", "image_content": "image/png"}
        kind = kinds.get(fault.on, "application/json")
        return Response(b"\x8f" * 4096, media_type=kind, headers=fault.headers)
    return None


async def inject_after(fault: Fault, request: Request, response: Response) -> Response:
    """Turn a true answer into the one that the fault wants, after the request was processed."""
    if fault.verb == "drop_after":
        return Drop()
    if fault.verb == "delay_after":
        await asyncio.sleep(fault.number)
    if fault.verb == "unknown_status":
        response = _with_status(response, fault.argument or "dreaming")
    response.headers.update(fault.headers)
    if fault.verb == "short":
        body = (await _body_of(request, response))[: int(fault.number)]
        kind = response.headers.get("content-type")
        return Response(body, response.status_code, fault.headers, kind)
    if fault.verb == "cut":
        return CutAfter(response, int(fault.number))
    return response


def _with_status(response: Response, word: str) -> Response:
    answer = json.loads(bytes(response.body))
    for video in answer.get("data", [answer]):
        if "status" in video:
            video["status"] = word
    kept = {k: v for k, v in response.headers.items() if k != "content-length"}
    return Response(json.dumps(answer), response.status_code, kept)


async def _body_of(request: Request, response: Response) -> bytes:
    pieces: list[bytes] = []

    async def collect(message: Any) -> None:
        pieces.append(message.get("body", b""))

    await response({**request.scope, "headers": []}, request.receive, collect)
    return b"".join(pieces)
