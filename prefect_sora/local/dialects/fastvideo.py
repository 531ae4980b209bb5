"""FastVideo: SGLang's form in an older shape, with lists that don't say where they end.

Source: fastvideo 0.2.1, `fastvideo/entrypoints/openai`: `video_api.py`, `protocol.py`, `stores.py`,
`common_api.py`, `api_server.py`. Status is never `in_progress`; `/content` does not look at it, and
serves a file that is still being written. The paths under `file_path` are made up, as are the
model and its default size.
"""

from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import uuid4

from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from prefect_sora.local.dialects.openai import VIDEO_OPERATIONS, cut
from prefect_sora.local.dialects.fastapi import (
    FastApiDialect,
    detail,
    edges,
    fitted,
    frames,
    measured,
    queried,
    refuse_text,
    said,
    told,
    unprocessable,
)
from prefect_sora.local.state.jobs import FILES, Job, Jobs
from prefect_sora.local.requests.video_orders import VideoOrder
from prefect_sora.local.requests.fields import Fields

_FPS = 24
_SECONDS = 4
_SIZE = (832, 480)


class _Form(BaseModel):
    """What is read of a form; all else is dropped."""

    reference_url: str | None = None
    model: str | None = None
    seconds: int | None = None
    size: str | None = None
    fps: int | None = None
    num_frames: int | None = None
    seed: int | None = 1024
    negative_prompt: str | None = None
    guidance_scale: float | None = None
    num_inference_steps: int | None = None
    enable_teacache: bool | None = False


class VideoGenerationsRequest(BaseModel):
    """The JSON body; its name stands in the server's errors. Other fields are dropped."""

    prompt: str
    input_reference: str | None = None
    reference_url: str | None = None
    model: str | None = None
    seconds: int | None = 4
    size: str | None = ""
    fps: int | None = None
    num_frames: int | None = None
    seed: int | None = 1024
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    guidance_scale_2: float | None = None
    true_cfg_scale: float | None = None
    negative_prompt: str | None = None
    enable_teacache: bool | None = False
    output_path: str | None = None


class _Query(BaseModel):
    after: str | None = None
    limit: int | None = Field(None, ge=1, le=100)
    order: str | None = "desc"


class FastVideo(FastApiDialect):
    """FastVideo's server of one model."""

    operations: ClassVar = VIDEO_OPERATIONS
    models: ClassVar = ("FastVideo/FastWan2.1-T2V-1.3B-Diffusers",)
    delete_stops: ClassVar = False

    async def order(self, request: Request) -> VideoOrder:
        """From a form or from JSON. What was not said stays open, and is shown so.

        Raises:
            Refusal: 422 for a form field of the wrong type, 400 for all else.
        """
        fields = await self.fields(request)
        read = _from_form(fields) if fields.is_form else _from_json(fields)
        named = read.model_fields_set
        fps = read.fps or _FPS
        length = read.seconds if "seconds" in named else None
        try:
            size = edges(*(measured(read.size) or _SIZE))
            count, seconds = frames(fps, read.num_frames, length, _SECONDS)
        except ValueError as error:
            raise detail(400, str(error)) from None
        open_length = read.fps == 0 or (read.num_frames is None and length is None)
        shown = 0 if open_length else round(count / fps)
        image: bytes | str | None = fields.file("input_reference") or said(
            dict(read), "reference_url", "input_reference"
        )
        try:
            reference = await fitted(image, size) if image else None
        except ValueError as error:
            raise detail(400, f"Failed to process image: {error}") from None
        return VideoOrder(
            prompt=read.prompt,
            model=read.model or self.served[0],
            seconds=seconds,
            size=size,
            reference=reference,
            extras={"seconds": str(shown), "size": size if measured(read.size) else ""},
        )

    def new_id(self) -> str:
        """Hexadecimal digits alone."""
        return uuid4().hex

    def video(self, job: Job, request: Request) -> dict[str, Any]:
        """VideoResponse: no prompt, no expiry, and queued until it ends."""
        done = job.status == "completed"
        return {
            "id": job.id,
            "object": "video",
            "model": job.model,
            "status": job.status if job.finished else "queued",
            "progress": 100 if done else 0,
            "created_at": job.created_at,
            "size": job.extras.get("size", job.size),
            "seconds": job.extras.get("seconds", str(job.seconds)),
            "quality": "standard",
            "url": None,
            "file_path": f"/fastvideo/outputs/videos/{job.id}.mp4",
            "completed_at": job.completed_at,
            "error": {"message": job.error["message"]} if job.error else None,
            "peak_memory_mb": None,
            "inference_time_s": None,
        }

    def page(self, jobs: Sequence[Job], request: Request) -> tuple[Sequence[Job], dict[str, Any]]:
        """As SGLang's, but nothing tells whether more follow; without a limit, all of them.

        Raises:
            Refusal: 422.
        """
        query = queried(_Query, request)
        downwards = (query.order or "desc").lower() != "asc"
        ordered = sorted(jobs, key=lambda job: job.created_at, reverse=downwards)
        page, _ = cut(ordered, query.after, query.limit)
        return page, {"object": "list"}

    def deleted(self, job: Job, request: Request) -> dict[str, Any]:
        """The Video, which says that it is deleted."""
        return self.video(job, request) | {"status": "deleted"}

    def content(self, job: Job, jobs: Jobs, request: Request) -> Response:
        """Whatever is there of the file, whether or not it is whole.

        Raises:
            Refusal: Nothing is there: 404, or 500 if the job failed.
        """
        name = f"{job.id}.mp4"
        path = jobs.files_of(job) / FILES["video"]
        if path.is_file():
            return FileResponse(path, media_type="video/mp4", filename=name)
        try:
            begun = (jobs.drawing_of(job) / FILES["video"]).read_bytes()
        except OSError:
            if job.status == "failed":
                raise detail(500, "Video generation failed") from None
            raise detail(404, "Video still being generated") from None
        disposition = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(begun, media_type="video/mp4", headers=disposition)

    def model_list(self) -> dict[str, Any]:
        """The one model, by its path."""
        name = self.served[0]
        made = {"object": "model", "created": 0, "owned_by": "fastvideo"}
        return {"object": "list", "data": [{"id": name, **made, "root": name}]}

    def pages(self) -> dict[str, Any]:
        """What the server says of itself."""
        info = {"title": "FastVideo OpenAI-Compatible API", "version": "0.1.0"}
        return {
            "/v1/model_info": {"model_path": self.served[0]},
            "/openapi.json": {"openapi": "3.1.0", "info": info},
        }


def _from_form(fields: Fields) -> VideoGenerationsRequest:
    try:
        form = _Form.model_validate(told(fields))
    except ValidationError as error:
        raise unprocessable(error, "body") from None
    refuse_text(fields, "input_reference")
    prompt = fields.values.get("prompt")
    if not prompt:
        raise detail(400, "prompt is required")
    given = form.model_dump(exclude_none=True)
    return VideoGenerationsRequest.model_validate({"seconds": 4, **given, "prompt": prompt})


def _from_json(fields: Fields) -> VideoGenerationsRequest:
    payload = dict(fields.values)
    for name in ("extra_body", "extra_json"):
        extra = payload.pop(name, None)
        if isinstance(extra, dict):
            payload.update(extra)
    try:
        return VideoGenerationsRequest.model_validate(payload)
    except ValidationError as error:
        raise detail(400, f"Invalid request body: {error}") from None
