"""TensorRT-LLM: strict fields, 202, lengths with fractions, errors without an envelope.

Source: NVIDIA/TensorRT-LLM, `tensorrt_llm/serve`: `openai_video_routes.py`, `openai_server.py`,
`visual_gen_utils.py`, and the newest stored `openai_protocol.py` (2026), which has the statuses
`generating` and `postprocessing` and `response_format` as `file` or `path`. The model, its size
and its frame rate are those of Wan2.1 1.3B; the paths are made up.
"""

import json
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from prefect_sora.servers.local.dialects.diffusion import SIZE, Asked, DiffusionServer, measured
from prefect_sora.servers.local.dialects.fastapi import filled, is_form
from prefect_sora.servers.local.requests.fields import Fields
from prefect_sora.servers.local.requests.refusals import Refusal
from prefect_sora.servers.local.state.jobs import Job, Jobs

_FPS = 16.0
_ENCODING_AT = 70
"""Progress, in percent, from which a job counts as being encoded."""

_FILES = ("image_reference", "video_reference", "audio_reference", "input_reference")


class _Reference(BaseModel):
    model_config = ConfigDict(extra="forbid")
    content: str
    role: str | None = None


_Media = str | _Reference | list[str | _Reference] | None


class VideoGenerationRequest(BaseModel):
    """The whole request: whatever is not here is refused."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    prompt: str
    response_format: Literal["file", "path"] = "file"
    format: Literal["mp4", "avi", "auto", "safetensors", "pt"] = "auto"
    seed: int | None = Field(None, ge=0)
    image_reference: _Media = None
    video_reference: _Media = None
    audio_reference: _Media = None
    input_reference: str | None = None
    size: str | None = Field(None, pattern=r"^(\d+x\d+|auto)$")
    width: int | None = Field(None, gt=0)
    height: int | None = Field(None, gt=0)
    num_frames: int | None = Field(None, gt=0, le=7200)
    seconds: float | None = Field(None, gt=0, le=60)
    frame_rate: float | None = Field(None, alias="fps", gt=0, le=120)
    num_inference_steps: int | None = Field(None, gt=0)
    guidance_scale: float | None = Field(None, gt=0)
    max_sequence_length: int | None = Field(None, gt=0)
    negative_prompt: str | None = None
    extra_params: dict[str, Any] | None = None
    model: str | None = None

    @model_validator(mode="after")
    def _paired(self) -> "VideoGenerationRequest":
        if (self.width is None) != (self.height is None):
            raise ValueError(
                "width and height must be sent together; got width="
                f"{self.width!r}, height={self.height!r}"
            )
        return self


class TensorRT(DiffusionServer):
    """`trtllm-serve` with a visual model."""

    models: ClassVar = ("Wan2.1-T2V-1.3B-Diffusers",)
    created_status: ClassVar = 202
    owner: ClassVar = "tensorrt_llm"

    async def asked(self, request: Request) -> Asked:
        """From a form or from JSON, with the same errors.

        Raises:
            Refusal: 422 for a field of the wrong name or type, 400 for all else.
        """
        read, uploads = await self._read(request)
        fps = read.frame_rate or _FPS
        if read.extra_params:  # this model declares none
            unknown = ", ".join(sorted(read.extra_params))
            raise _error(400, f"Unknown extra_params keys: {unknown}")
        paired = (read.width, read.height) if read.width and read.height else None
        upload = uploads.get("image_reference") or uploads.get("input_reference")
        given = upload or _text_of(read.image_reference) or read.input_reference
        return Asked(
            prompt=read.prompt,
            model=read.model,
            size=paired or measured(read.size) or SIZE,
            fps=fps,
            frames=read.num_frames,
            seconds=read.seconds,
            image=_with_scheme(given) if given else None,
            extras=lambda count: {
                "duration": read.seconds,
                "fps": fps,
                "num_frames": count,
                "response_format": read.response_format,
            },
        )

    def undrawable(self, reason: str) -> Refusal:
        """The reason as it is."""
        return _error(400, reason)

    async def _read(self, request: Request) -> tuple[VideoGenerationRequest, dict[str, bytes]]:
        kind = request.headers.get("content-type", "")
        fields = Fields({})
        if is_form(request):
            fields = await self.fields(request)
            values = filled(fields)
            if "extra_params" in values:
                try:
                    values["extra_params"] = json.loads(values["extra_params"])
                except ValueError as error:
                    text = f"'extra_params' must be a JSON object string; {error}"
                    raise _error(400, text) from None
        elif "application/json" in kind:
            values = await _json(request)
        else:
            use = "Use 'application/json' or 'multipart/form-data'"
            raise _error(400, f"Unsupported content-type: {kind}. {use}")
        uploads = {name: fields.files[name][0] for name in _FILES if name in fields.files}
        extra = {name: "" for name in fields.files if name not in _FILES}
        try:
            return VideoGenerationRequest.model_validate({**values, **extra}), uploads
        except ValidationError as error:
            raise _error(422, "; ".join(map(_problem, error.errors()))) from None

    def video(self, job: Job, request: Request) -> dict[str, Any]:
        """VideoJob: `duration` for seconds, and an error that is a text."""
        status = job.status
        if status == "in_progress":
            status = "postprocessing" if job.progress >= _ENCODING_AT else "generating"
        return {
            "completed_at": self.ended_at(job),
            "created_at": job.created_at,
            "error": job.error["message"] if job.error else None,
            "expires_at": None,
            "id": job.id,
            "model": job.model,
            "object": "video",
            "progress": None,
            "prompt": job.prompt,
            "status": status,
            "duration": job.extras.get("duration"),
            "fps": job.extras.get("fps"),
            "size": job.size,
            "response_format": job.extras.get("response_format"),
        }

    def page(self, jobs: Sequence[Job], request: Request) -> tuple[Sequence[Job], dict[str, Any]]:
        """Everything, the oldest first, whatever was asked for."""
        return jobs, {"object": "list"}

    def deleted(self, job: Job, request: Request) -> dict[str, Any]:
        """Not even the id."""
        return {"deleted": True}

    def content(self, job: Job, jobs: Jobs, request: Request) -> Response:
        """The file, or its path on the server where the create asked for that.

        Raises:
            Refusal: 400 while it is not finished, and for a failed job.
        """
        if job.status != "completed":
            status = self.video(job, request)["status"]
            raise _error(400, f"Video {job.id} is not ready (status: {status})")
        path = jobs.file_of(job)
        if path is None:
            raise self.missing(job.id, request)
        name = f"{job.id}_0.mp4"
        if job.extras.get("response_format") == "path":
            return JSONResponse({"id": job.id, "output_path": f"/tmp/trtllm_generated/{name}"})  # noqa: S108 - theirs
        return FileResponse(path, media_type="video/mp4", filename=name)

    def pages(self) -> dict[str, Any]:
        """What the server says of itself."""
        return super().pages() | {"/version": {"version": "1.3.0"}}

    def missing(self, video_id: str, request: Request) -> Refusal:
        """No such video."""
        return _error(404, f"Video {video_id} not found", kind="NotFoundError")

    def refuse(self, refusal: Refusal, request: Request) -> Response:
        """Flat, or the body that was made for it."""
        if refusal.body is None:
            kind = "InternalServerError" if refusal.status >= 500 else "BadRequestError"
            refusal.body = _error(refusal.status, refusal.message, kind=kind).body
        return super().refuse(refusal, request)


def _error(status: int, message: str, *, kind: str = "BadRequestError") -> Refusal:
    body = {"object": "error", "message": message, "type": kind, "param": None, "code": status}
    return Refusal(status, message, body=body)


def _problem(error: Any) -> str:
    place, message = ".".join(map(str, error["loc"])), str(error["msg"])
    if error["type"] == "extra_forbidden":
        return (
            f"Unknown request field {place!r}. Pass model-specific parameters via 'extra_params' "
            "instead."
        )
    return f"{place}: {message}" if place else message


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except (ValueError, RecursionError) as error:
        raise _error(400, str(error)) from None
    if not isinstance(body, dict):
        text = "the body is no JSON object"
        raise _error(500, text, kind="InternalServerError")
    return body


def _text_of(reference: _Media) -> str | None:
    first = reference[0] if isinstance(reference, list) and reference else reference
    if isinstance(first, _Reference):
        return first.content
    return first if isinstance(first, str) else None


def _with_scheme(given: bytes | str) -> bytes | str:
    """Bare base64 is taken as well as a data URL."""
    bare = isinstance(given, str) and ":" not in given[:30]
    return f"data:image/png;base64,{given!s}" if bare else given
