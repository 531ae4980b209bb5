"""LiteLLM: its proxy in front of OpenAI's form, with ids and errors of its own making.

Source: litellm 1.109.1, `litellm/proxy/video_endpoints/*.py`, `litellm/types/videos/*.py`,
`litellm/llms/openai/videos/transformation.py`. Bodies and headers were also read off the real
proxy, run in front of this renderer, with a master key and without a database. What needs a server
that it does not know is sent to api.openai.com; the answers here are those of a proxy that cannot
reach it.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, ClassVar
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from prefect_sora.servers.local.dialects.fastapi import no_route
from prefect_sora.servers.local.dialects.openai import (
    IMAGE_OPERATIONS,
    VIDEO_OPERATIONS,
    Dialect,
    Guard,
    bearer,
    described,
    same,
)
from prefect_sora.servers.local.faults.rules import RENDERS
from prefect_sora.servers.local.requests.fields import Fields
from prefect_sora.servers.local.requests.refusals import Refusal
from prefect_sora.servers.local.requests.video_orders import VideoOrder, read_video_order
from prefect_sora.servers.local.state.jobs import Job, Jobs

VERSION = "1.109.1"

_RETRIES = 2
"""How often the proxy repeats a request on its own."""

_USD_PER_SECOND = {"sora-2": 0.1}
"""What it charges by its own table; 0.0 for a model that has no price there (run)."""

_FORWARDED = frozenset({*RENDERS, "retrieve", "content"})

_NO_PROMPT = "Missing required parameter: 'prompt'."

_CREATED = 1677610602  # DEFAULT_MODEL_CREATED_AT_TIME in litellm/constants.py

_ERRORS = {
    401: "AuthenticationError: ",
    404: "NotFoundError: ",
    429: "RateLimitError: RateLimitError: ",
    502: "BadGatewayError: BadGatewayError: ",
    503: "ServiceUnavailableError: ServiceUnavailableError: ",
    504: "Timeout: Timeout Error: ",
}
"""The names of its exceptions, which begin its messages, where they are no plain ones."""

_PLAIN = ("BadRequestError: ", "InternalServerError: InternalServerError: ")

_KINDS = {401: "authentication_error", 403: "permission_error", 429: "throttling_error"}


class LiteLLM(Dialect):
    """LiteLLM's proxy; the models are the names in its configuration."""

    prefixes: ClassVar = ("/v1", "")
    operations: ClassVar = (
        (VIDEO_OPERATIONS - {"delete"}) | IMAGE_OPERATIONS | {"remix", "edit", "extend"}
    )
    models: ClassVar = ("sora-2", "gpt-image-2", "test")
    owner: ClassVar = "openai"
    advises_polling: ClassVar = False
    answers_head: ClassVar = False

    def authenticate(self, request: Request) -> None:
        """A wrong key is no 401: without a database the proxy cannot look it up.

        Raises:
            Refusal: 401 without a key, 400 with a wrong one.
        """
        key, given = self.options.api_key, bearer(request)
        if key and not given:
            raise _own(401, "Authentication Error, No api key passed in.", "auth_error")
        if key and not same(given, key):
            raise _own(400, "No connected db.", "no_db_connection")
        request.state.let_in = True

    def retries(self, operation: str, request: Request) -> int:
        """Whatever failed is sent three times, unless a header forbids it."""
        told = request.headers.get("x-litellm-num-retries")
        if operation not in _FORWARDED:
            return 0
        return int(told) if told and told.isdecimal() else _RETRIES

    def when_dropped(self, request: Request) -> Response | None:
        """The proxy says so, after it has tried again."""
        text = _failed(500, "Server disconnected", self._group(request))
        return _own(500, text).response()

    async def fields(self, request: Request) -> Fields:
        """The proxy reads the body itself; an empty one says nothing.

        Raises:
            Refusal: It is no JSON object, nor a form.
        """
        if not await request.body():
            return Fields({})
        try:
            return await super().fields(request)
        except Refusal as refusal:
            request.state.let_in = False
            text = f"Invalid JSON payload: {refusal.message}"
            raise _own(400, text, param="request_body") from None

    async def order(self, request: Request) -> VideoOrder:
        """Look for a prompt and at the model's name; the server behind looks at the rest.

        Raises:
            Refusal: The configuration has no such model, or that server refuses.
        """
        values = (await self.fields(request)).values
        if "prompt" not in values:
            raise _own(400, f"/videos: {_NO_PROMPT}", param="prompt")
        model = values.get("model")
        if model not in self.served:
            text = (
                f"/videos: Invalid model name passed in model={model}. "
                "Call `/v1/models` to view available models for your key."
            )
            raise _own(400, text, provider_specific_fields={"error": text})
        request.state.model_group = model
        return await read_video_order(request)

    def internal_id(self, shown: str) -> str:
        """What stands in an id.

        Raises:
            Refusal: The proxy did not make it, and asks OpenAI.
        """
        try:
            text = base64.b64decode(shown.removeprefix("video_").encode() + b"==").decode()
            parts = dict(part.rsplit(":", 1) for part in text.split(";"))
            return parts["video_id"]
        except (binascii.Error, ValueError, KeyError):
            raise _unreachable() from None

    def shown_id(self, job: Job) -> str:
        """The id with its way back to the deployment."""
        deployment = sha256(job.model.encode()).hexdigest()
        text = (
            f"litellm:custom_llm_provider:openai;model_id:{job.model};video_id:{job.id};"
            f"deployment_id:{deployment}"
        )
        return f"video_{base64.b64encode(text.encode()).decode()}"

    def video(self, job: Job, request: Request) -> dict[str, Any]:
        """VideoObject: no prompt; what it was remixed from is the id of the server behind."""
        video = job.video()
        kept = ("object", "status", "created_at", "completed_at", "expires_at", "error")
        more = ("progress", "remixed_from_video_id", "seconds", "size", "model")
        return {
            "id": self.shown_id(job),
            **{name: video[name] for name in (*kept, *more)},
            "usage": None,
        }

    def created(self, job: Job, request: Request) -> Response:
        """With what will be charged, but for edits and extensions."""
        charged = job.verb in ("create", "remix")
        usage = {"duration_seconds": float(job.seconds)} if charged else None
        cost = _USD_PER_SECOND.get(job.model, 0.0) * job.seconds if charged else 0.0
        headers = {"x-litellm-response-cost": f"{cost}"}
        return JSONResponse({**self.video(job, request), "usage": usage}, headers=headers)

    def page(self, jobs: Sequence[Job], request: Request) -> tuple[Sequence[Job], dict[str, Any]]:
        """There is no list of one's own deployments.

        Raises:
            Refusal: Always.
        """
        if request.query_params.get("custom_llm_provider"):
            raise _unreachable()
        raise _own(
            400,
            "litellm.BadRequestError: LLM Provider NOT provided. Pass in the LLM provider you are "
            "trying to call. You passed model=\n Pass model as E.g. For 'Huggingface' inference "
            "endpoints pass in `completion(model='huggingface/starcoder',..)` Learn more: "
            "https://docs.litellm.ai/docs/providers",
        )

    def content(self, job: Job, jobs: Jobs, request: Request) -> Response:
        """The video, whatever variant or range was asked for.

        Raises:
            Refusal: What the server behind says.
        """
        request.state.model_group = job.model
        path = jobs.file_of(job)
        if job.status != "completed" or path is None:
            message = f"Video {job.id} is not ready: it is {job.status}."
            raise Refusal(404, message, code="video_not_ready")
        named = f"attachment; filename=video_{self.shown_id(job)}.mp4"
        return Response(
            path.read_bytes(), media_type="video/mp4", headers={"content-disposition": named}
        )

    def card(self, name: str) -> dict[str, Any]:
        """Every model is one of videos, and as old as the others."""
        return super().card(name) | {"created": _CREATED, "mode": "video_generation"}

    def pages(self) -> dict[str, Any]:
        """What the proxy says of itself without a key."""
        return {
            "/health/liveliness": "I'm alive!",
            "/health/readiness": {"status": "healthy", "db": "Not connected"},
            "/openapi.json": described("LiteLLM API", VERSION),
        }

    def routes(self, jobs: Jobs, guard: Guard) -> Sequence[BaseRoute]:
        """Characters belong to no model, so that they go to OpenAI."""

        async def elsewhere(_: Request) -> Response:
            raise _unreachable()

        return [
            Route(f"{prefix}/videos/characters{rest}", guard(name, elsewhere), methods=[method])
            for prefix in self.prefixes
            for rest, name, method in (
                ("", "characters", "POST"),
                ("/{character_id}", "character", "GET"),
            )
        ]

    def missing(self, video_id: str, request: Request) -> Refusal:
        """The server behind does not know it any more."""
        return super().missing(self.internal_id(video_id), request)

    def refuse(self, refusal: Refusal, request: Request) -> Response:
        """An error of its own, or one of the server behind, whole, inside its message."""
        if refusal.body is not None:
            return JSONResponse(refusal.body, refusal.status)
        lacking = refusal.param if refusal.code == "missing_required_parameter" else None
        if lacking == "video":
            return _unreachable().response()  # nothing says whose video
        if lacking == "prompt":
            return _own(400, f"{_ways(request)}: {_NO_PROMPT}", param="prompt").response()
        status = refusal.status
        behind = json.dumps(refusal.openai(), separators=(",", ":"), ensure_ascii=False)
        text = _failed(status, behind, self._group(request))
        given = {"content-type": "application/json", **(refusal.headers or {})}
        headers = {f"llm_provider-{name}": value for name, value in given.items()}
        return JSONResponse(_own(status, text).body, status, headers=headers)

    def _group(self, request: Request) -> str:
        return getattr(request.state, "model_group", None) or self.served[0]

    def unrouted(self, request: Request, status: int) -> Response:
        """FastAPI's own words, before any key is asked for."""
        return no_route(status)

    def add_headers(self, request: Request, response: Response) -> None:
        """Its version, on answers about videos to those who were let in, but not on a file."""
        response.headers["x-frame-options"] = "DENY"
        response.headers["content-security-policy"] = "frame-ancestors 'none'"
        inside = getattr(request.state, "let_in", False) and "/videos" in request.url.path
        if inside and not response.headers.get("content-type", "").startswith("video/"):
            response.headers["x-litellm-version"] = VERSION
            response.headers["x-litellm-call-id"] = str(uuid4())


def _failed(status: int, behind: str, group: str) -> str:
    """Its message about what the server behind it said."""
    name = _ERRORS.get(status, _PLAIN[status >= 500])
    return (
        f"litellm.{name}OpenAIException - {behind}\n\nLiteLLM: model group '{group}' failed with "
        "the error above. No fallback was attempted."
    )


def _ways(request: Request) -> str:
    """The route, as its errors name it."""
    if request.path_params:
        return "/videos/{video_id}/remix"
    return "/videos/" + request.url.path.rpartition("/")[2]


def _own(
    status: int, message: str, kind: str | None = None, param: str | None = None, **more: Any
) -> Refusal:
    """An error in the proxy's form, where even the code is a text."""
    usual = "internal_server_error" if status >= 500 else "invalid_request_error"
    kind = kind or _KINDS.get(status, usual)
    error = {"message": message, "type": kind, "param": param, "code": str(status), **more}
    return Refusal(status, message, body={"error": error})


def _unreachable() -> Refusal:
    return _own(
        500,
        "litellm.InternalServerError: InternalServerError: OpenAIException - Cannot connect to "
        "host api.openai.com:443 ssl:default [Name or service not known]",
    )
