"""Videos: the routes that make, show and remove them."""

import asyncio
import io
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from prefect_sora.local.characters import Characters
from prefect_sora.local.jobs import FILES, Job, Jobs
from prefect_sora.local.options import RendererOptions
from prefect_sora.local.orders import (
    EDGE_LIMIT,
    EXTENSIONS_LIMIT,
    SECONDS_LIMIT,
    checked_extension,
    checked_model,
    checked_source,
    read_order,
)
from prefect_sora.local.wire import Fields, Refusal, bad, checked_prompt, read_fields
from prefect_sora.local.workers import Workers

_KINDS = {"video": "video/mp4", "thumbnail": "image/webp", "spritesheet": "image/jpeg"}


@dataclass
class Videos:
    """The endpoints under `/videos`, but for characters."""

    jobs: Jobs
    characters: Characters
    workers: Workers
    options: RendererOptions
    _by_key: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def create(self, request: Request) -> Response:
        """POST /videos."""
        order = await read_order(request)
        scene: dict[str, Any] = {"kind": "held", "prompt": order.prompt}
        if order.reference is None:
            scene = {**scene, "kind": "drawn", "seconds": order.seconds, "looks": []}
        return await self._accept(
            request,
            prompt=order.prompt,
            model=order.model,
            seconds=order.seconds,
            size=order.size,
            image=order.reference,
            characters=list(self.characters.cast(order.characters, order.prompt)),
            scene=scene,
        )

    async def remix(self, request: Request) -> Response:
        """POST /videos/{id}/remix."""
        parent = self._job(request)
        prompt = checked_prompt(await read_fields(request))
        return await self._accept(request, prompt=prompt, **_after(parent, "remix", prompt))

    async def edit(self, request: Request) -> Response:
        """POST /videos/edits."""
        fields = await read_fields(request)
        prompt = checked_prompt(fields)
        source = await self._source(fields, "edit", prompt)
        return await self._accept(request, prompt=prompt, **source)

    async def extend(self, request: Request) -> Response:
        """POST /videos/extensions: the answer's seconds are those of the whole."""
        fields = await read_fields(request)
        prompt, added = checked_prompt(fields), checked_extension(fields)
        source = await self._source(fields, "extend", prompt)
        source["extensions"] = source.get("extensions", 0) + 1
        source["seconds"] += added
        if source["extensions"] > EXTENSIONS_LIMIT:
            raise bad("video", f"it was extended {EXTENSIONS_LIMIT} times, which is the most")
        if source["seconds"] > SECONDS_LIMIT:
            whole, most = source["seconds"], SECONDS_LIMIT
            raise bad("seconds", f"the whole would have {whole} s, at most {most} are allowed")
        return await self._accept(request, prompt=prompt, added=added, **source)

    async def retrieve(self, request: Request) -> Response:
        """GET /videos/{id}."""
        return self._answer(self._job(request))

    async def list(self, request: Request) -> Response:
        """GET /videos: pages, the newest first unless `order=asc`."""
        query = request.query_params
        limit, order, after = (
            query.get("limit", "20"),
            query.get("order", "desc"),
            query.get("after"),
        )
        if not limit.isdecimal() or int(limit) > 100:
            raise Refusal(400, "Invalid 'limit': 0 to 100.", param="limit", code="invalid_value")
        if order not in ("asc", "desc"):
            raise Refusal(400, "Invalid 'order': asc or desc.", param="order", code="invalid_value")
        jobs = [*self.jobs]
        if order == "desc":
            jobs.reverse()
        if after is not None:
            place = next((i for i, job in enumerate(jobs) if job.id == after), len(jobs))
            jobs = jobs[place + 1 :]
        page = jobs[: int(limit)]
        body = {
            "object": "list",
            "data": [job.video() for job in page],
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
            "has_more": len(jobs) > len(page),
        }
        return JSONResponse(body, headers=self._advice(*page))

    async def delete(self, request: Request) -> Response:
        """DELETE /videos/{id}: a running one is stopped."""
        job = self._job(request)
        self.workers.cancel(job)
        await self.jobs.remove(job)
        return JSONResponse({"id": job.id, "object": "video.deleted", "deleted": True})

    async def content(self, request: Request) -> Response:
        """GET /videos/{id}/content."""
        job = self._job(request)
        variant = request.query_params.get("variant", "video")
        if variant not in _KINDS:
            reason = f"Invalid 'variant': one of {', '.join(_KINDS)}."
            raise Refusal(400, reason, param="variant", code="invalid_value")
        path = self.jobs.files_of(job) / FILES[variant]
        if job.status != "completed":
            message = f"Video {job.id} is not ready: it is {job.status}."
            raise Refusal(404, message, code="video_not_ready", headers=self._advice(job))
        if not path.is_file():
            raise Refusal(404, f"The {variant} of {job.id} is gone.", code="not_found")
        return FileResponse(path, media_type=_KINDS[variant])

    async def _accept(self, request: Request, **order: Any) -> Response:
        key = request.headers.get("idempotency-key") if self.options.idempotency else None
        fate = getattr(request.state, "fate", None)
        if key is None:
            return self._answer(await self.jobs.accept(fate=fate, **order))
        async with self._by_key.setdefault(key, asyncio.Lock()):
            job = self.jobs.by_idempotency_key(key)
            if job is None:
                job = await self.jobs.accept(fate=fate, idempotency_key=key, **order)
        return self._answer(job)

    async def _source(self, fields: Fields, verb: str, prompt: str) -> dict[str, Any]:
        """What an edit or an extension takes over from its source, as fields of a job."""
        source = checked_source(fields)
        if isinstance(source, str):
            return _after(self._known(source), verb, prompt)
        from prefect_sora.local.footage import shape_of

        try:
            shape = await asyncio.to_thread(shape_of, io.BytesIO(source))
        except ValueError as error:
            raise bad("video", str(error)) from None
        if not all(16 <= edge <= EDGE_LIMIT for edge in (shape.width, shape.height)):
            size = f"{shape.width}x{shape.height}"
            raise bad("video", f"it is {size}; edges of 16 to {EDGE_LIMIT} are allowed")
        if shape.seconds > SECONDS_LIMIT:
            raise bad("video", f"it has {shape.seconds} s, at most {SECONDS_LIMIT} are allowed")
        return {
            "verb": verb,
            "upload": source,
            "model": checked_model(fields),
            "seconds": shape.seconds,
            "size": f"{shape.width}x{shape.height}",
            "scene": {"kind": "held", "prompt": prompt},
        }

    def _job(self, request: Request) -> Job:
        return self._known(request.path_params["video_id"])

    def _known(self, video_id: str) -> Job:
        job = self.jobs.get(video_id)
        if job is None:
            message = f"Video with id '{video_id[:80]}' not found."
            raise Refusal(404, message, param="video_id", code="not_found")
        return job

    def _answer(self, job: Job) -> Response:
        return JSONResponse(job.video(), headers=self._advice(job))

    def _advice(self, *jobs: Job) -> dict[str, str]:
        if self.options.poll_after_ms <= 0 or all(job.finished for job in jobs):
            return {}
        return {"openai-poll-after-ms": str(self.options.poll_after_ms)}


def _after(parent: Job, verb: str, prompt: str) -> dict[str, Any]:
    """What a job takes over from the finished one that it starts from.

    Raises:
        Refusal: That one is not finished.
    """
    if parent.status != "completed":
        raise Refusal(400, f"Video {parent.id} is not completed: it is {parent.status}.")
    scene = parent.scene
    if scene is not None and scene["kind"] == "drawn" and verb != "extend":
        scene = {**scene, "looks": [*scene["looks"], [verb, prompt]]}
    return {
        "verb": verb,
        "parent": parent,
        "model": parent.model,
        "seconds": parent.seconds,
        "size": parent.size,
        "extensions": parent.extensions,
        "characters": parent.characters,
        "scene": scene,
    }
