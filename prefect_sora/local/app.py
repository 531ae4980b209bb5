"""App: the routes of OpenAI's video protocol over the jobs of one folder."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from time import monotonic
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from prefect_sora.local.faults import FaultError, Faults
from prefect_sora.local.gate import Gate
from prefect_sora.local.jobs import FILES, Job, Jobs
from prefect_sora.local.options import RendererOptions
from prefect_sora.local.wire import DEFAULT_MODEL, Refusal, checked_prompt, read_fields, read_order
from prefect_sora.local.workers import Workers

_KINDS = {"video": "video/mp4", "thumbnail": "image/webp", "spritesheet": "image/jpeg"}
_PURGE_SECONDS = 5.0


@dataclass
class Renderer:
    """One folder's renderer: its jobs, who works on them, and how to ask."""

    jobs: Jobs
    options: RendererOptions
    about: dict[str, Any]
    workers: Workers = field(init=False)
    gate: Gate = field(init=False)
    last_used: float = field(default_factory=monotonic)
    open_requests: int = 0

    def __post_init__(self) -> None:
        self.workers = Workers(self.jobs, self.options)
        self.gate = Gate(self.jobs, self.options, Faults.read(self.options.faults))
        self._by_key: dict[str, asyncio.Lock] = {}

    @property
    def idle_seconds(self) -> float:
        """Since when nothing was asked and nothing is left to do."""
        if self.open_requests or self.jobs.unfinished:
            self.last_used = monotonic()
        return monotonic() - self.last_used

    def app(self) -> ASGIApp:
        """The ASGI application; its lifespan does the rendering."""

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            tasks = [asyncio.create_task(self.workers.run()), asyncio.create_task(self._purge())]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                with suppress(asyncio.CancelledError):
                    await asyncio.gather(*tasks)

        routes = [*self._protocol(), Route("/health", self.health)]
        if self.options.control:
            routes += self._control()
        errors = {HTTPException: _http_error, Exception: _internal_error}
        return self._counted(Starlette(routes=routes, lifespan=lifespan, exception_handlers=errors))

    def _counted(self, app: ASGIApp) -> ASGIApp:
        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            self.open_requests += 1
            try:
                await app(scope, receive, send)
            finally:
                self.open_requests -= 1
                self.last_used = monotonic()

        return counted

    async def _purge(self) -> None:
        while True:
            await asyncio.sleep(min(_PURGE_SECONDS, max(0.2, self.jobs.ttl / 2)))
            await self.jobs.purge()

    def _protocol(self) -> list[BaseRoute]:
        def route(method: str, path: str, name: str, endpoint: Any) -> Route:
            return Route(f"/v1{path}", self.gate.guard(name, endpoint), methods=[method])

        return [
            route("POST", "/videos", "create", self.create),
            route("GET", "/videos", "list", self.list),
            route("GET", "/videos/{video_id}", "retrieve", self.retrieve),
            route("DELETE", "/videos/{video_id}", "delete", self.delete),
            route("GET", "/videos/{video_id}/content", "content", self.content),
            route("POST", "/videos/{video_id}/remix", "remix", self.remix),
            route("GET", "/models", "models", self.models),
        ]

    def _control(self) -> list[BaseRoute]:
        return [
            Route("/faults", _local(self.faults), methods=["GET", "POST", "DELETE"]),
            Route("/requests", _local(self.requests), methods=["GET", "DELETE"]),
            Route("/reset", _local(self.reset), methods=["POST"]),
        ]

    async def create(self, request: Request) -> Response:
        """POST /videos."""
        order = await read_order(request)
        return await self._accept(
            request,
            prompt=order.prompt,
            model=order.model,
            seconds=order.seconds,
            size=order.size,
            image=order.reference,
        )

    async def remix(self, request: Request) -> Response:
        """POST /videos/{id}/remix."""
        parent = self._job(request)
        prompt = checked_prompt(await read_fields(request))
        if parent.status != "completed":
            raise Refusal(400, f"Video {parent.id} is not completed: it is {parent.status}.")
        return await self._accept(
            request,
            prompt=prompt,
            model=parent.model,
            seconds=parent.seconds,
            size=parent.size,
            parent=parent,
        )

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

    async def models(self, _: Request) -> Response:
        """GET /models: one, though every name is accepted and echoed."""
        model = {"id": DEFAULT_MODEL, "object": "model", "created": 0, "owned_by": "prefect-sora"}
        return JSONResponse({"object": "list", "data": [model]})

    async def health(self, _: Request) -> Response:
        """GET /health: who answers, and how much there is to do."""
        counts = dict.fromkeys(("queued", "rendering", "completed", "failed"), 0)
        for job in self.jobs:
            counts["rendering" if job.status == "in_progress" else job.status] += 1
        counts["accepted"] = self.jobs.accepted
        return JSONResponse({"status": "ok", **self.about, "pid": os.getpid(), "counts": counts})

    async def faults(self, request: Request) -> Response:
        """The scripted faults: what is left and what was met, more of them, none."""
        faults = self.gate.faults
        if request.method == "DELETE":
            faults.rules.clear()
        if request.method == "POST":
            try:
                faults.add(await request.json())
            except (FaultError, ValueError) as error:
                return Refusal(400, str(error)).response()
        left = [fault.as_rule() for fault in faults.rules]
        return JSONResponse({"faults": left, "met": faults.met})

    async def requests(self, request: Request) -> Response:
        """The requests so far, oldest first."""
        if request.method == "DELETE":
            self.gate.requests.clear()
        return JSONResponse({"requests": [*self.gate.requests]})

    async def reset(self, _: Request) -> Response:
        """As new: no jobs, no faults, no requests, nothing accepted."""
        self.gate.reset()
        for job in self.jobs:
            self.workers.cancel(job)
        await self.jobs.reset()
        return JSONResponse({"reset": True})

    def _job(self, request: Request) -> Job:
        video_id = request.path_params["video_id"]
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


def _local(endpoint: Callable[[Request], Awaitable[Response]]) -> Any:
    async def local(request: Request) -> Response:
        host = request.client.host if request.client else ""
        try:
            near = ip_address(host).is_loopback
        except ValueError:
            near = False
        if not near or "origin" in request.headers:
            return Refusal(403, "Only from this machine, and not from a web page.").response()
        return await endpoint(request)

    return local


async def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else "Internal error"
    return Refusal(status, f"{detail}.").response()


async def _internal_error(_: Request, error: Exception) -> Response:
    return Refusal(500, f"The local renderer failed: {type(error).__name__}.").response()
