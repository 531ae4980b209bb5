"""new-api: a gateway with tasks of its own, few routes, and errors in three shapes.

Source: QuantumNous/new-api (stored versions of 2026): `router/{video,relay,web}-router.go`,
`relay/relay_task.go`, `relay/channel/task/sora/adaptor.go`, `controller/{relay,model,misc}.go`,
`controller/video_proxy.go`, `middleware/{auth,distributor,utils,cors}.go`, `dto/task.go`,
`i18n/locales/en.yaml`. The server behind it is OpenAI's form.
"""

import secrets
import string
from typing import Any, ClassVar
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response

from prefect_sora.servers.local.dialects.openai import IMAGE_OPERATIONS, Dialect, bearer, same
from prefect_sora.servers.local.requests.refusals import Refusal
from prefect_sora.servers.local.requests.video_orders import VideoOrder, read_video_order
from prefect_sora.servers.local.state.jobs import Job, Jobs

_SIZES = {
    "sora-2": ("720x1280", "1280x720"),
    "sora-2-pro": ("720x1280", "1280x720", "1792x1024", "1024x1792"),
}
_TASK_WORDS = {"queued": "QUEUED", "in_progress": "IN_PROGRESS", "failed": "FAILURE"}
_LETTERS = string.ascii_letters + string.digits
_SATURATED = "当前分组上游负载已饱和，请稍后再试"  # noqa: RUF001 - its words for every 429


class NewApi(Dialect):
    """The gateway; the models are those that its channels offer."""

    operations: ClassVar = IMAGE_OPERATIONS | {"create", "retrieve", "content", "remix", "models"}
    models: ClassVar = ("sora-2", "sora-2-pro", "gpt-image-2", "test")
    owner: ClassVar = "custom"
    advises_polling: ClassVar = False

    def authenticate(self, request: Request) -> None:
        """Tokens are compared without their `sk-`.

        Raises:
            Refusal: 401.
        """
        key = self.options.api_key
        if key and not same(bearer(request).removeprefix("sk-"), key.removeprefix("sk-")):
            raise _gateway(401, "Invalid token")

    async def order(self, request: Request) -> VideoOrder:
        """The gateway looks at the model, then at the prompt, then at sizes of Sora.

        Raises:
            Refusal: In the shape of whoever refuses.
        """
        try:
            values = (await self.fields(request)).values
        except Refusal:
            raise _gateway(400, "Invalid request: invalid JSON request body") from None
        model = values.get("model")
        if not model:
            raise _gateway(400, "Model name not specified, model name cannot be empty")
        if model not in self.served:
            text = f"No available channel for model {model} under group default (distributor)"
            raise _gateway(503, text, "model_not_found")
        _asked(values.get("prompt"))
        size = values.get("size") or "720x1280"
        if size not in _SIZES.get(model, (size,)):
            raise _task(400, "invalid_size", "sora-2 size is invalid")
        return await read_video_order(request)

    def new_id(self) -> str:
        """A task's."""
        return "task_" + "".join(secrets.choice(_LETTERS) for _ in range(32))

    def created(self, job: Job, request: Request) -> Response:
        """The task, without what is empty."""
        video = job.video()
        names = ("object", "model", "status", "progress", "created_at", "expires_at")
        more = ("seconds", "size", "remixed_from_video_id")
        shown = {name: video[name] for name in (*names, *more) if video[name] is not None}
        return JSONResponse({"id": job.id, "task_id": job.id, **shown})

    def content(self, job: Job, jobs: Jobs, request: Request) -> Response:
        """The video, whatever variant was asked for.

        Raises:
            Refusal: 400 until it is finished, and for a failed one.
        """
        path = jobs.file_of(job)
        if job.status != "completed":
            word = _TASK_WORDS[job.status]
            raise _file_error(400, f"Task is not completed yet, current status: {word}")
        if path is None:
            raise _file_error(502, "Upstream service returned status 404", "server_error")
        kept = {"cache-control": "public, max-age=86400"}
        return FileResponse(path, media_type="video/mp4", headers=kept)

    def card(self, name: str) -> dict[str, Any]:
        """With the routes that it is asked by."""
        kinds = {"supported_endpoint_types": ["openai-video"]}
        return super().card(name) | {"created": 1626777600, **kinds}

    def model_list(self) -> dict[str, Any]:
        """Its list has a word of success."""
        return super().model_list() | {"success": True}

    def pages(self) -> dict[str, Any]:
        """What the gateway says of itself."""
        data = {"version": "v1.0.0", "system_name": "New API", "setup": True}
        return {"/api/status": {"success": True, "message": "", "data": data}}

    def missing(self, video_id: str, request: Request) -> Refusal:
        """400 for a task, 404 for its file."""
        if request.url.path.endswith("/content"):
            return _file_error(404, "Task not found")
        name = "task_origin_not_exist" if request.method == "POST" else "task_not_exist"
        return _task(400, "task_not_exist", name)

    def refuse(self, refusal: Refusal, request: Request) -> Response:
        """Its own errors as they are; those of the server behind as a text in a task's error."""
        if refusal.body is None and "/videos" in request.url.path:
            if refusal.param == "prompt" and refusal.code == "missing_required_parameter":
                refusal = _task(400, "invalid_request", "field prompt is required")
            else:
                behind = bytes(refusal.response().body).decode()
                refusal = _task(refusal.status, "fail_to_fetch_task", behind)
        return refusal.response()

    def unrouted(self, request: Request, status: int) -> Response:
        """404 whatever the method; outside of the API, the page of its dashboard."""
        if request.url.path.startswith(("/v1", "/api", "/assets")):
            text = f"Invalid URL ({request.method} {request.url.path})"
            error = {"message": text, "type": "invalid_request_error", "param": "", "code": ""}
            return JSONResponse({"error": error}, 404 if status == 405 else status)
        return HTMLResponse("<!doctype html><title>New API</title>")

    def add_headers(self, request: Request, response: Response) -> None:
        """Its version and the number of the request."""
        response.headers["x-new-api-version"] = "v1.0.0"
        response.headers["x-oneapi-request-id"] = uuid4().hex


def _asked(prompt: object) -> None:
    if not isinstance(prompt, str) or not prompt.strip():
        raise _task(400, "invalid_request", "prompt is required")


def _task(status: int, code: str, message: str) -> Refusal:
    """An error of the task's own routes."""
    message = _SATURATED if status == 429 else message
    return Refusal(status, message, body={"code": code, "message": message, "data": None})


def _gateway(status: int, message: str, code: str = "") -> Refusal:
    """An error before any task: the key, the model."""
    text = f"{message} (request id: {uuid4().hex})"
    error = {"message": text, "type": "new_api_error", "code": code}
    return Refusal(status, message, body={"error": error})


def _file_error(status: int, message: str, kind: str = "invalid_request_error") -> Refusal:
    """An error about a task's file."""
    return Refusal(status, message, body={"error": {"message": message, "type": kind}})
