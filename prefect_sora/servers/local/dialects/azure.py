"""Azure: OpenAI's form at `/openai/v1`, with deployments for models and two kinds of credentials.

Sources: MicrosoftDocs/azure-ai-docs, `articles/foundry/openai/concepts/video-generation.md` (paths,
remix alone, sizes, seconds, 24 hours) and the schedule of retirements of 07/2026. The 404 of an
unknown deployment: MicrosoftLearning/mslearn-ai-vision#81 (2026-06-18). The 401:
SciSharp/BotSharp#386. No answer for a retired model was found on record: 410 and its body are ours.
"""

import base64
import binascii
import hashlib
import hmac
import json
import time
from typing import Any, ClassVar
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from prefect_sora.servers.local.dialects.openai import (
    IMAGE_OPERATIONS,
    VIDEO_OPERATIONS,
    Dialect,
    bearer,
    same,
)
from prefect_sora.servers.local.requests.refusals import Refusal
from prefect_sora.servers.local.requests.video_orders import VideoOrder, read_video_order
from prefect_sora.servers.local.state.jobs import Job

AUDIENCE = "https://cognitiveservices.azure.com"
"""For whom tokens are made; the scope is this and `/.default`."""

RETIRED = frozenset({"sora", "sora-2-2025-10-06", "sora-2-2025-12-08"})
"""Deployments whose model was retired: 2026-07-15 and 2026-09-15 for the two of sora-2."""

_SIZES = ("720x1280", "1280x720")
_SECONDS = (4, 8, 12)
_DENIED = (
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a "
    "valid key for an active subscription and use a correct regional API endpoint for your "
    "resource."
)


class Azure(Dialect):
    """Sizes and seconds are Azure's where the deployment is named like a model of OpenAI's.

    Other deployments take any, so that small and short videos can be tried. A key is always asked
    for, as `api-key` or as Bearer; a Bearer may also be a token as `entra_token` makes it. Without
    a key in the options every key is right, and every token that has not expired.
    """

    prefixes: ClassVar = ("/openai/v1",)
    operations: ClassVar = VIDEO_OPERATIONS | IMAGE_OPERATIONS | {"remix"}
    models: ClassVar = ("sora-2", "gpt-image-2", "test")
    advises_polling: ClassVar = False

    def authenticate(self, request: Request) -> None:
        """Either header will do.

        Raises:
            Refusal: Neither is there, or it is wrong, or the token has expired.
        """
        key, token = request.headers.get("api-key", ""), bearer(request)
        wanted = self.options.api_key
        if any(given and (not wanted or same(given, wanted)) for given in (key, _plain(token))):
            return
        if token and _valid(token, wanted):
            return
        raise Refusal(401, _DENIED, body={"error": {"code": "401", "message": _DENIED}})

    async def order(self, request: Request) -> VideoOrder:
        """Check the deployment before anything else.

        Raises:
            Refusal: There is none of this name, its model is retired, or a value is wrong.
        """
        model = (await self.fields(request)).values.get("model")
        if model in RETIRED:
            message = f"The model of the deployment '{model}' has been retired."
            error = {"code": "ModelDeprecated", "message": message}
            raise Refusal(410, message, body={"error": error})
        if model not in self.served:
            message = (
                f"The API deployment '{model}' for this resource does not exist. If you created "
                "the deployment within the last 5 minutes, please wait a moment and try again."
            )
            raise _refusal(404, message)
        order = await read_video_order(request)
        if order.model.startswith("sora-"):
            if order.size not in _SIZES:
                raise _refusal(400, f"Invalid size: {order.size}. One of {', '.join(_SIZES)}.")
            if order.seconds not in _SECONDS:
                raise _refusal(400, f"Invalid seconds: {order.seconds}. One of 4, 8, 12.")
        return order

    def video(self, job: Job, request: Request) -> dict[str, Any]:
        """Expiry is a day after creation, not after completion."""
        kept = self.options.ttl_seconds
        return super().video(job, request) | {"expires_at": job.created_at + int(kept)}

    def unrouted(self, request: Request, status: int) -> Response:
        """Azure's gateway knows no such resource, whatever the method."""
        error = {"code": "404", "message": "Resource not found"}
        return self.refuse(
            Refusal(404 if status == 405 else status, "", body={"error": error}), request
        )

    def add_headers(self, request: Request, response: Response) -> None:
        """Each answer has the gateway's id."""
        response.headers["apim-request-id"] = str(uuid4())
        response.headers["x-ms-region"] = "Local"


def entra_token(key: str, lifetime_seconds: float = 3600.0) -> str:
    """Make a token that this dialect takes in place of the key.

    It is a JSON Web Token for Azure's audience (RFC 7519, HS256), signed with the renderer's key:
    a test can check that a client refreshes it in time.
    """
    now = int(time.time())
    claims = {"aud": AUDIENCE, "iat": now, "exp": now + lifetime_seconds}
    signed = ".".join(_encoded(part) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{signed}.{_signature(signed, key)}"


def _plain(token: str) -> str:
    return "" if token.count(".") == 2 else token


def _valid(token: str, key: str | None) -> bool:
    signed, _, signature = token.rpartition(".")
    if key and not same(signature, _signature(signed, key)):
        return False
    payload = signed.partition(".")[2]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return bool(claims["aud"] == AUDIENCE and claims["exp"] > time.time())
    except (binascii.Error, ValueError, TypeError, KeyError):
        return False


def _encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def _signature(signed: str, key: str) -> str:
    digest = hmac.digest(key.encode(), signed.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _refusal(status: int, message: str) -> Refusal:
    """An error of the video service itself, as `video_generation_user_error`."""
    kind = "video_generation_user_error"
    error = {"message": message, "type": kind, "param": None, "code": None}
    return Refusal(status, message, body={"error": error})
