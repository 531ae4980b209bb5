"""SGLang: a video server with bare ids, strings under `detail`, and jobs that outlive DELETE.

Source: sglang 0.5.23, `sglang/multimodal_gen/runtime/entrypoints`: `openai/video_api.py`,
`openai/protocol.py`, `openai/stores.py`, `openai/video_progress.py`, `openai/common_api.py`,
`http_server.py`. The paths under `file_path` are made up, as are the model and its default size
(those of Wan2.1 1.3B).
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from prefect_sora.servers.local.dialects.diffusion import (
    FPS,
    SIZE,
    Asked,
    DiffusionServer,
    ListQuery,
    measured,
)
from prefect_sora.servers.local.dialects.fastapi import detail, is_form, read_json
from prefect_sora.servers.local.dialects.openai import Guard
from prefect_sora.servers.local.requests.fields import Fields
from prefect_sora.servers.local.requests.refusals import Refusal
from prefect_sora.servers.local.state.jobs import Job, Jobs


class _Common(BaseModel):
    """Fields whose types are the same in a form and in JSON; more are taken and not used."""

    model_config = ConfigDict(extra="allow")

    enhance_prompt: bool | None = None
    reference_url: str | None = None
    video_path: str | None = None
    video_url: str | None = None
    model: str | None = None
    task_type: str | None = None
    n: int | None = 1
    seconds: int | None = None
    size: str | None = None
    fps: int | None = None
    num_frames: int | None = None
    width: int | None = None
    height: int | None = None
    negative_prompt: str | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    guidance_scale_2: float | None = None
    true_cfg_scale: float | None = None
    max_sequence_length: int | None = None
    flow_shift: float | None = None
    output_compression: int | None = None
    output_quality: str | None = None


class _Form(_Common):
    seed: int | None = None


class VideoGenerationsRequest(_Common):
    """The JSON body; its name stands in the server's errors."""

    prompt: str
    input_reference: str | None = None
    seed: int | list[int] | None = None


class _Query(ListQuery):
    limit: int = Field(20, ge=1, le=100)
    order: Literal["asc", "desc"] = "desc"


class SGLang(DiffusionServer):
    """SGLang's diffusion server, of one model that is called as its options say."""

    models: ClassVar = ("Wan-AI/Wan2.1-T2V-1.3B-Diffusers",)
    delete_stops: ClassVar = False
    owner: ClassVar = "sglang"
    list_query: ClassVar = _Query

    async def fields(self, request: Request) -> Fields:
        """As FastAPI's; JSON that is no object is refused as one.

        Raises:
            Refusal: 400.
        """
        try:
            return await super().fields(request)
        except Refusal as refusal:
            if refusal.status != 500:
                raise
            text = "cannot convert dictionary update sequence element #0 to a sequence"
            raise detail(400, f"Invalid request body: {text}") from None

    async def asked(self, request: Request) -> Asked:
        """From a form or from JSON, each with errors of its own.

        Raises:
            Refusal: 422 for a form field of the wrong type, 400 for all else.
        """
        fields = await self.fields(request)
        read = self._from_form(fields) if fields.is_form else _from_json(fields)
        fps = read.fps if read.fps is not None else FPS
        if read.size and measured(read.size) is None:
            raise detail(400, "size must be formatted as positive WIDTHxHEIGHT")
        width, height = measured(read.size) or SIZE
        return Asked(
            prompt=read.prompt,
            model=read.model,
            size=(read.width or width, read.height or height),
            fps=fps,
            frames=read.num_frames,
            seconds=read.seconds,
            image=fields.file("input_reference") or read.reference_url or read.input_reference,
            extras=lambda count: {"seconds": str(round(count / (fps or FPS)))},
        )

    def _from_form(self, fields: Fields) -> VideoGenerationsRequest:
        given = self.form(fields, _Form).model_dump(exclude_unset=True)
        given.pop("input_reference", None)  # a file or nothing, in a form
        prompt = fields.values["prompt"]
        return VideoGenerationsRequest.model_validate({**given, "prompt": prompt})

    def unreadable(self, reason: str, request: Request) -> Refusal:
        """With JSON, the server catches its own refusal and refuses that."""
        text = f"Failed to process image source: {reason}"
        return detail(400, text if is_form(request) else f"Invalid request body: 400: {text}")

    def new_id(self) -> str:
        """A bare UUID."""
        return str(uuid4())

    def video(self, job: Job, request: Request) -> dict[str, Any]:
        """VideoResponse: no prompt, and paths of the server."""
        done, failed = job.status == "completed", job.status == "failed"
        url = f"{request.base_url}cloud/{job.id}.mp4" if done and self.options.cloud else None
        path = None if url or failed else f"/sglang/outputs/{job.id}.mp4"
        # Queued until the first step is reported, which a quick job never does.
        status = "queued" if job.status == "in_progress" and not job.progress else job.status
        return {
            "id": job.id,
            "object": "video",
            "model": job.model,
            "status": status,
            "progress": job.progress,
            "created_at": job.created_at,
            "size": job.size,
            "seconds": job.extras.get("seconds", str(job.seconds)),
            "quality": "standard",
            "url": url,
            "urls": [url] if done else None,
            "remixed_from_video_id": None,
            "completed_at": job.completed_at,
            "expires_at": None,
            "error": {"message": job.error["message"]} if job.error else None,
            "file_path": path,
            "file_paths": [path] if done else None,
            "num_outputs": 1 if done else None,
            "peak_memory_mb": None,
            "inference_time_s": None,
            "revised_prompt": None,
            "action": None,
            "lidar": None,
        }

    def deleted(self, job: Job, request: Request) -> dict[str, Any]:
        """The Video, which says that it is deleted."""
        return self.video(job, request) | {"status": "deleted"}

    def content(self, job: Job, jobs: Jobs, request: Request) -> Response:
        """The file; `variant` is the number of an output.

        Raises:
            Refusal: 400 with a URL in cloud mode, else 404.
        """
        variant = request.query_params.get("variant")
        first = variant is None or (variant.strip().isdecimal() and int(variant) == 0)
        url = self.video(job, request)["url"]
        if url and first:
            text = f"Video has been uploaded to cloud storage. Please use the cloud URL: {url}"
            raise detail(400, text)
        if not job.finished:
            raise detail(404, "Generation is still in-progress")
        path = jobs.file_of(job)
        if not first or path is None:
            raise detail(404, f"Video variant {variant} not found")
        return FileResponse(path, media_type="video/mp4", filename=f"{job.id}.mp4")

    def card(self, name: str) -> dict[str, Any]:
        """With what the model does."""
        return super().card(name) | {
            "root": name,
            "parent": None,
            "max_model_len": None,
            "num_gpus": 1,
            "task_type": "T2V",
            "supported_task_types": ["T2V"],
            "dit_precision": "bf16",
            "vae_precision": "fp32",
            "pipeline_name": "WanPipeline",
            "pipeline_class": "WanPipeline",
        }

    def pages(self) -> dict[str, Any]:
        """What the server says of itself."""
        name = self.served[0]
        return super().pages() | {
            "/liveness": {"status": "ok"},
            "/server_info": {
                "model_path": name,
                "served_model_name": name,
                "tp_size": 1,
                "dp_size": 1,
                "version": "0.5.23",
            },
        }

    def routes(self, jobs: Jobs, guard: Guard) -> Sequence[BaseRoute]:
        """In cloud mode, where the finished videos lie: keyless, as a signed link is."""

        async def stored(request: Request) -> Response:
            name: UUID = request.path_params["name"]
            job = jobs.get(str(name))
            path = jobs.file_of(job) if job else None
            if path is None:
                return Response(status_code=404)
            return FileResponse(path, media_type="video/mp4")

        guarded = guard("cloud", stored, keyless=True)
        return [Route("/cloud/{name:uuid}.mp4", guarded)] if self.options.cloud else []


def _from_json(fields: Fields) -> VideoGenerationsRequest:
    payload = dict(fields.values)
    for name in ("extra_body", "extra_json", "extra_params"):
        extra = payload.pop(name, None)
        if isinstance(extra, dict):
            payload = {**extra, **payload}
    return read_json(payload, VideoGenerationsRequest)
