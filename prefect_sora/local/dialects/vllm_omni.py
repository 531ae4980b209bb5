"""vLLM-Omni: forms alone, its own model's name or none, and failed jobs as HTTP errors.

Source: vllm-omni 0.30.0, `vllm_omni/entrypoints/openai`: `api_server.py`, `protocol/videos.py`,
`video/generation/helpers.py`; and under it vllm 0.33.0, `vllm/entrypoints/serve`:
`exception_handling/handlers/*.py`, `middleware/authenticate.py`, `engine/protocol.py`. Its handler
of errors does not see the router's own 404 and 405.
"""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Literal
from uuid import uuid4

from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from prefect_sora.local.dialects.openai import VIDEO_OPERATIONS, bearer, cut, ends, same
from prefect_sora.local.dialects.fastapi import (
    FastApiDialect,
    edges,
    fitted,
    frames,
    is_form,
    measured,
    problems,
    told,
)
from prefect_sora.local.dialects.vllm_omni_form import VideoForm, VideoGenerationRequest
from prefect_sora.local.state.jobs import FILES, Job, Jobs
from prefect_sora.local.requests.video_orders import VideoOrder
from prefect_sora.local.requests.fields import Fields
from prefect_sora.local.requests.refusals import Refusal

_FPS = 24.0
_SECONDS = 4
_SIZE = (832, 480)
_GUARDED = ("/v1", "/v2", "/inference", "/cohere")


class _Query(BaseModel):
    after: str | None = None
    limit: int | None = Field(None, ge=0, le=100)
    order: Literal["asc", "desc"] = "desc"


class VllmOmni(FastApiDialect):
    """vLLM-Omni's server of one model."""

    operations: ClassVar = VIDEO_OPERATIONS
    models: ClassVar = ("Wan-AI/Wan2.2-T2V-A14B-Diffusers",)
    healthy: ClassVar = "healthy"

    def authenticate(self, request: Request) -> None:
        """One text for all that is wrong.

        Raises:
            Refusal: 401.
        """
        if self.options.api_key and not same(bearer(request), self.options.api_key):
            raise Refusal(401, "Unauthorized", body={"error": "Unauthorized"})

    async def order(self, request: Request) -> VideoOrder:
        """From a form; a body of JSON looks like a form without a prompt.

        Raises:
            Refusal: 400.
        """
        fields = await self.fields(request) if is_form(request) else Fields({})
        try:
            form = VideoForm.model_validate(told(fields))
        except ValidationError as error:
            raise _invalid(error, "body") from None
        nested = {name: _nested(getattr(form, name)) for name in ("lora", "extra_params")}
        if any(value is not None and not isinstance(value, dict) for value in nested.values()):
            raise _error(400, "Invalid JSON in form field: expected dict.")
        reference = _nested(form.image_reference)
        upload = fields.file("input_reference")
        if upload is not None and reference is not None:
            text = "Provide only one of input_reference, image_reference, or video_reference."
            raise _error(400, text)
        try:
            VideoGenerationRequest.model_validate(
                {**form.model_dump(exclude_none=True), "image_reference": reference}
            )
        except ValidationError as error:
            raise _error(400, str(error), kind="BadRequestError") from None
        if form.model is not None and form.model != self.served[0]:
            text = (
                f"Model mismatch: request specifies '{form.model}' but server is running "
                f"'{self.served[0]}'."
            )
            raise _error(400, text)
        return await self._drawn(form, upload or _link_of(reference))

    async def _drawn(self, form: VideoForm, image: bytes | str | None) -> VideoOrder:
        fps = form.fps or _FPS
        width, height = measured(form.size) or (form.width or _SIZE[0], form.height or _SIZE[1])
        length = int(form.seconds) if form.seconds else None
        try:
            size = edges(width, height)
            count, seconds = frames(fps, form.num_frames, length, _SECONDS)
        except ValueError as error:
            raise _error(400, str(error), kind="BadRequestError") from None
        try:
            reference = await fitted(image, size) if image else None
        except ValueError:
            raise _error(400, "Invalid input reference.") from None
        known = form.num_frames is not None or length is not None
        return VideoOrder(
            prompt=form.prompt,
            model=self.served[0],
            seconds=seconds,
            size=size,
            reference=reference,
            extras={
                "size": form.size,
                "seconds": form.seconds or str(_SECONDS),
                "quality": form.quality or "default",
                "fps": fps,
                "num_frames": count if known else None,
                "duration_s": float(length or count / fps) if known else None,
            },
        )

    def new_id(self) -> str:
        """With a prefix of its own."""
        return f"video_gen_{uuid4().hex}"

    def video(self, job: Job, request: Request) -> dict[str, Any]:
        """VideoResponse; its error's code is a number."""
        done = job.status == "completed"
        error = None
        if job.error:
            code = 400 if job.error["code"] == "moderation_blocked" else 500
            error = {"code": code, "message": job.error["message"]}
        return {
            "model": job.model,
            "prompt": job.prompt,
            "id": job.id,
            "object": "video",
            "status": job.status,
            "size": job.extras.get("size"),
            "progress": 100 if done else 0,
            "seconds": job.extras.get("seconds", str(job.seconds)),
            "quality": job.extras.get("quality", "default"),
            "completed_at": self.ended_at(job),
            "created_at": job.created_at,
            "remixed_from_video_id": None,
            "error": error,
            "media_type": "video/mp4",
            "expires_at": job.expires_at if done and self.options.ttl is not None else None,
            "file_name": f"{job.id}.mp4" if done else None,
            "inference_time_s": None,
            "fps": job.extras.get("fps"),
            "num_frames": job.extras.get("num_frames"),
            "duration_s": job.extras.get("duration_s"),
            "metrics": None,
            "stage_durations": {},
            "peak_memory_mb": 0.0,
            "action": None,
        }

    def retrieved(self, job: Job, request: Request) -> Response:
        """A failed job is an HTTP error with the Video in it."""
        video = self.video(job, request)
        return JSONResponse(video, video["error"]["code"] if video["error"] else 200)

    def page(self, jobs: Sequence[Job], request: Request) -> tuple[Sequence[Job], dict[str, Any]]:
        """All of them, unless a limit is named.

        Raises:
            Refusal: 400.
        """
        try:
            query = _Query.model_validate(dict(request.query_params))
        except ValidationError as error:
            raise _invalid(error, "query") from None
        ordered = sorted(jobs, key=lambda job: job.created_at, reverse=query.order == "desc")
        page, more = cut(ordered, query.after, query.limit)
        return page, {**ends(page), "has_more": more, "object": "list"}

    def content(self, job: Job, jobs: Jobs, request: Request) -> Response:
        """The file, whatever variant was asked for.

        Raises:
            Refusal: 422 for a failed job, 404 for an unfinished one.
        """
        if job.status == "failed":
            text = "Video generation failed. Check job status for error details."
            raise _error(422, text)
        path = jobs.files_of(job) / FILES["video"]
        if job.status != "completed":
            raise _error(404, "Generation is still in-progress")
        if not path.is_file():
            raise _error(404, "Generated video file not found on disk")
        return FileResponse(path, media_type="video/mp4", filename=f"{job.id}.mp4")

    def model_list(self) -> dict[str, Any]:
        """VLLM's own card of the one model."""
        permission = {
            "id": "modelperm-0",
            "object": "model_permission",
            "created": 0,
            "allow_create_engine": False,
            "allow_sampling": True,
            "allow_logprobs": True,
            "allow_search_indices": False,
            "allow_view": True,
            "allow_fine_tuning": False,
            "organization": "*",
            "group": None,
            "is_blocking": False,
        }
        card = {
            "id": self.served[0],
            "object": "model",
            "created": 0,
            "owned_by": "vllm",
            "root": self.served[0],
            "parent": None,
            "max_model_len": None,
            "permission": [permission],
        }
        return {"object": "list", "data": [card]}

    def pages(self) -> dict[str, Any]:
        """What the server says of itself: the version is vLLM's."""
        info = {"title": "FastAPI", "version": "0.1.0"}
        return {
            "/version": {"version": "0.33.0"},
            "/openapi.json": {"openapi": "3.1.0", "info": info},
        }

    def missing(self, video_id: str, request: Request) -> Refusal:
        """No such video."""
        return _error(404, "Video not found")

    def refuse(self, refusal: Refusal, request: Request) -> Response:
        """VLLM's ErrorResponse, or the body that was made for it."""
        if refusal.body is None:
            refusal.body = _error(refusal.status, refusal.message).body
        return super().refuse(refusal, request)

    def stray(self, request: Request, status: int) -> Response:
        """Behind the key, there is nothing to see without it."""
        if request.url.path.startswith(_GUARDED):
            try:
                self.authenticate(request)
            except Refusal as refusal:
                return self.refuse(refusal, request)
        return super().stray(request, status)


def _error(status: int, message: str, *, kind: str | None = None, param: Any = None) -> Refusal:
    kind = kind or HTTPStatus(status).phrase
    error = {"message": message, "type": kind, "param": param, "code": status}
    return Refusal(status, message, body={"error": error})


def _invalid(error: ValidationError, place: str) -> Refusal:
    """FastAPI's problems in vLLM's words: 400, one line each, the first field as `param`."""
    found = [{**one, "loc": ".".join(map(str, one["loc"]))} for one in problems(error, place)]
    for one in found:
        if one["type"] == "missing":
            one["input"] = None
    label = "error" if len(found) == 1 else "errors"
    lines = "\n".join(f"  {one}" for one in found)
    return _error(400, f"{len(found)} validation {label}:\n{lines}", param=found[0]["loc"])


def _nested(text: str | None) -> Any:
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        raise _error(400, "Invalid JSON in form field.") from None


def _link_of(reference: Any) -> str | None:
    first = reference[0] if isinstance(reference, list) and reference else reference
    return (first.get("image_url") or "file_id") if isinstance(first, dict) else None
