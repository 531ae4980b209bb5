"""Webhooks as servers sign them, and a receiver that listens where a test can be called."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from typing import Any, Final

import httpx2
import uvicorn
from standardwebhooks import Webhook

from prefect_sora.renders.recovery.webhooks.receiver import WebhookReceiver
from prefect_sora.servers.access.webhooks import Webhooks

SECRET: Final = "whsec_c2VjcmV0IG9mIG1pbmU="
OLD_SECRET: Final = "whsec_YW4gb2xkZXIgc2VjcmV0"
PLAIN: Final = "a plain secret".replace(" ", "-")


@dataclass(frozen=True)
class Sent:
    """A webhook on its way."""

    body: bytes
    headers: Mapping[str, str]


def standard(
    video_id: str = "video_1",
    kind: str = "video.completed",
    *,
    event_id: str = "evt_1",
    secret: str = SECRET,
    age: float = 0.0,
    body: bytes | None = None,
) -> Sent:
    """Sign as OpenAI does."""
    event: Any = {"id": event_id, "object": "event", "created_at": int(time()), "type": kind}
    body = json.dumps({**event, "data": {"id": video_id}}).encode() if body is None else body
    at = datetime.fromtimestamp(int(time() - age), UTC)
    signature = Webhook(secret).sign(event_id, at, body.decode())
    stamps = {"webhook-id": event_id, "webhook-timestamp": f"{at.timestamp():.0f}"}
    return Sent(body, {**stamps, "webhook-signature": signature})


def openrouter(
    video_id: str = "gen-vid-1", status: str = "completed", *, secret: str = PLAIN, age: float = 0.0
) -> Sent:
    """Sign as OpenRouter does."""
    kind = f"video.generation.{status}"
    body = json.dumps({"type": kind, "data": {"id": video_id, "status": status}}).encode()
    stamp = int(time() - age)
    digest = hmac.new(secret.encode(), f"{stamp},".encode() + body, hashlib.sha256).hexdigest()
    own = {"x-openrouter-idempotency-key": f"{video_id}-{status}"}
    return Sent(body, {**own, "x-openrouter-signature": f"t={stamp},v1={digest}"})


async def post(receiver: WebhookReceiver, sent: Sent, query: str = "") -> int:
    """Hand a webhook to a receiver, as a web server does; return the status of its answer."""
    transport = httpx2.ASGITransport(receiver)
    async with httpx2.AsyncClient(transport=transport, base_url="http://here") as client:
        url = f"/webhooks{query}"
        headers = [(name.encode(), value.encode("latin-1")) for name, value in sent.headers.items()]
        return (await client.post(url, content=sent.body, headers=headers)).status_code


@asynccontextmanager
async def listening(receiver: WebhookReceiver) -> AsyncIterator[str]:
    """Listen on a port of this machine; gives the address."""
    config = uvicorn.Config(receiver, port=0, lifespan="off", log_config=None, ws="none")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/webhooks"
    finally:
        server.should_exit = True
        await serving


def webhooks(*secrets: str, url: str | None = None) -> Webhooks | None:
    """What is known of a server's webhooks."""
    return Webhooks.of(url, " ".join(secrets or (SECRET,)))
