"""vLLM-Omni: forms alone, its own model's name or none, and failed jobs as HTTP errors.

Source: vllm-omni 0.30.0, `vllm_omni/entrypoints/openai`: `api_server.py`, `protocol/videos.py`,
`video/generation/helpers.py`; and under it vllm 0.33.0, `vllm/entrypoints/serve`:
`exception_handling/handlers/*.py`, `middleware/authenticate.py`, `engine/protocol.py`. Its handler
of errors does not see the router's own 404 and 405.
"""

import json
from http import HTTPStatus
from typing import Any, ClassVar, Literal
from uuid import uuid4

from pydantic import Field, ValidationError
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from prefect_sora.servers.local.dialects.diffusion import (
    FPS,
    SECONDS,
    SIZE,
    Asked,
    DiffusionServer,
    ListQuery,
    measured,
)
from prefect_sora.servers.local.dialects.fastapi import filled, is_form, problems
from prefect_sora.servers.local.dialects.openai import bearer, same
from prefect_sora.servers.local.dialects.vllm_omni_form import VideoForm, VideoGenerationRequest
from prefect_sora.servers.local.requests.fields import Fields
from prefect_sora.servers.local.requests.refusals import Refusal
from prefect_sora.servers.local.state.jobs import Job, Jobs

_GUARDED = ("/v1", "/v2", "/inference", "/cohere")


class _Query(ListQuery):
    limit: int | None = Field(None, ge=0, le=100)
    order: Literal["asc", "desc"] = "desc"


class VllmOmni(DiffusionServer):
    """vLLM-Omni's server of one model."""

    models: ClassVar = ("Wan-AI/Wan2.2-T2V-A14B-Diffusers",)
    healthy: ClassVar = "healthy"
    owner: ClassVar = "vllm"
    list_query: ClassVar = _Query

    def authenticate(self, request: Request) -> None:
        """One text for all that is wrong.

        Raises:
            Refusal: 401.
        """
        if self.options.api_key and not same(bearer(request), self.options.api_key):
            raise Refusal(401, "Unauthorized", body={"error": "Unauthorized"})

    async def asked(self, request: Request) -> Asked:
        """From a form; a body of JSON looks like a form without a prompt.

        Raises:
            Refusal: 400.
        """
        fields = await self.fields(request) if is_form(request) else Fields({})
        try:
            form = VideoForm.model_validate(filled(fields))
        except ValidationError as error:
            raise self.invalid(error, "body") from None
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
        fps = form.fps or float(FPS)
        length = int(form.seconds) if form.seconds else None
        known = form.num_frames is not None or length is not None
        return Asked(
            prompt=form.prompt,
            model=None,
            size=measured(form.size) or (form.width or SIZE[0], form.height or SIZE[1]),
            fps=fps,
            frames=form.num_frames,
            seconds=length,
            image=upload or _link_of(reference),
            extras=lambda count: {
                "size": form.size,
                "seconds": form.seconds or str(SECONDS),
                "quality": form.quality or "default",
                "fps": fps,
                "num_frames": count if known else None,
                "duration_s": float(length or count / fps) if known else None,
            },
        )

    def undrawable(self, reason: str) -> Refusal:
        """The reason, as a bad request."""
        return _error(400, reason, kind="BadRequestError")

    def unreadable(self, reason: str, request: Request) -> Refusal:
        """No reason."""
        return _error(400, "Invalid input reference.")

    def invalid(self, error: ValidationError, place: str) -> Refusal:
        """FastAPI's problems in vLLM's words: 400, one line each, the first field as `param`."""
        found = [{**one, "loc": ".".join(map(str, one["loc"]))} for one in problems(error, place)]
        for one in found:
            if one["type"] == "missing":
                one["input"] = None
        label = "error" if len(found) == 1 else "errors"
        lines = "\n".join(f"  {one}" for one in found)
        return _error(400, f"{len(found)} validation {label}:\n{lines}", param=found[0]["loc"])

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

    def content(self, job: Job, jobs: Jobs, request: Request) -> Response:
        """The file, whatever variant was asked for.

        Raises:
            Refusal: 422 for a failed job, 404 for an unfinished one.
        """
        if job.status == "failed":
            text = "Video generation failed. Check job status for error details."
            raise _error(422, text)
        if job.status != "completed":
            raise _error(404, "Generation is still in-progress")
        path = jobs.file_of(job)
        if path is None:
            raise _error(404, "Generated video file not found on disk")
        return FileResponse(path, media_type="video/mp4", filename=f"{job.id}.mp4")

    def card(self, name: str) -> dict[str, Any]:
        """With vLLM's permissions."""
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
        return super().card(name) | {
            "root": name,
            "parent": None,
            "max_model_len": None,
            "permission": [permission],
        }

    def pages(self) -> dict[str, Any]:
        """What the server says of itself: the version is vLLM's."""
        return super().pages() | {"/version": {"version": "0.33.0"}}

    def missing(self, video_id: str, request: Request) -> Refusal:
        """No such video."""
        return _error(404, "Video not found")

    def refuse(self, refusal: Refusal, request: Request) -> Response:
        """VLLM's ErrorResponse, or the body that was made for it."""
        if refusal.body is None:
            refusal.body = _error(refusal.status, refusal.message).body
        return super().refuse(refusal, request)

    def unrouted(self, request: Request, status: int) -> Response:
        """Behind the key, there is nothing to see without it."""
        if request.url.path.startswith(_GUARDED):
            try:
                self.authenticate(request)
            except Refusal as refusal:
                return self.refuse(refusal, request)
        return super().unrouted(request, status)


def _error(status: int, message: str, *, kind: str | None = None, param: Any = None) -> Refusal:
    kind = kind or HTTPStatus(status).phrase
    error = {"message": message, "type": kind, "param": param, "code": status}
    return Refusal(status, message, body={"error": error})


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
