"""FastVideo: SGLang's form in an older shape, with lists that don't say where they end.

Source: fastvideo 0.2.1, `fastvideo/entrypoints/openai`: `video_api.py`, `protocol.py`, `stores.py`,
`common_api.py`, `api_server.py`. Status is never `in_progress`; `/content` does not look at it, and
serves a file that is still being written. The paths under `file_path` are made up, as are the
model and its default size.
"""

from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import uuid4

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from prefect_sora.servers.local.dialects.diffusion import (
    FPS,
    SIZE,
    Asked,
    DiffusionServer,
    ListQuery,
    measured,
)
from prefect_sora.servers.local.dialects.fastapi import detail, read_json
from prefect_sora.servers.local.requests.fields import Fields
from prefect_sora.servers.local.requests.refusals import Refusal
from prefect_sora.servers.local.state.jobs import FILES, Job, Jobs


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


class _Query(ListQuery):
    limit: int | None = Field(None, ge=1, le=100)


class FastVideo(DiffusionServer):
    """FastVideo's server of one model."""

    models: ClassVar = ("FastVideo/FastWan2.1-T2V-1.3B-Diffusers",)
    delete_stops: ClassVar = False
    owner: ClassVar = "fastvideo"
    title: ClassVar = "FastVideo OpenAI-Compatible API"
    list_query: ClassVar = _Query

    async def asked(self, request: Request) -> Asked:
        """From a form or from JSON. What was not said stays open, and is shown so.

        Raises:
            Refusal: 422 for a form field of the wrong type, 400 for all else.
        """
        fields = await self.fields(request)
        read = self._from_form(fields) if fields.is_form else _from_json(fields)
        fps = read.fps or FPS
        length = read.seconds if "seconds" in read.model_fields_set else None
        size = measured(read.size)
        open_length = read.fps == 0 or (read.num_frames is None and length is None)
        return Asked(
            prompt=read.prompt,
            model=read.model,
            size=size or SIZE,
            fps=fps,
            frames=read.num_frames,
            seconds=length,
            image=fields.file("input_reference") or read.reference_url or read.input_reference,
            extras=lambda count: {
                "seconds": str(0 if open_length else round(count / fps)),
                "size": f"{size[0]}x{size[1]}" if size else "",
            },
        )

    def _from_form(self, fields: Fields) -> VideoGenerationsRequest:
        given = self.form(fields, _Form).model_dump(exclude_none=True)
        prompt = fields.values["prompt"]
        return VideoGenerationsRequest.model_validate({"seconds": 4, **given, "prompt": prompt})

    def unreadable(self, reason: str, request: Request) -> Refusal:
        """The reason, and what it is about."""
        return detail(400, f"Failed to process image: {reason}")

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
        """Nothing tells whether more follow; without a limit, all of them.

        Raises:
            Refusal: 422.
        """
        page, _ = super().page(jobs, request)
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
        path = jobs.file_of(job)
        if path is not None:
            return FileResponse(path, media_type="video/mp4", filename=name)
        try:
            begun = (jobs.drawing_of(job) / FILES["video"]).read_bytes()
        except OSError:
            if job.status == "failed":
                raise detail(500, "Video generation failed") from None
            raise detail(404, "Video still being generated") from None
        disposition = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(begun, media_type="video/mp4", headers=disposition)

    def card(self, name: str) -> dict[str, Any]:
        """By the model's path."""
        return super().card(name) | {"root": name}

    def pages(self) -> dict[str, Any]:
        """What the server says of itself."""
        return super().pages() | {"/v1/model_info": {"model_path": self.served[0]}}


def _from_json(fields: Fields) -> VideoGenerationsRequest:
    payload = dict(fields.values)
    for name in ("extra_body", "extra_json"):
        extra = payload.pop(name, None)
        if isinstance(extra, dict):
            payload.update(extra)
    return read_json(payload, VideoGenerationsRequest)
