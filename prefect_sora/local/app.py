"""App: the routes of OpenAI's protocol for videos and images, over one folder."""

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
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from prefect_sora.local.characters import Characters
from prefect_sora.local.faults import FaultError, Faults
from prefect_sora.local.gate import Gate
from prefect_sora.local.image_orders import DEFAULT_IMAGE_MODEL
from prefect_sora.local.images import Images
from prefect_sora.local.jobs import Jobs
from prefect_sora.local.options import RendererOptions
from prefect_sora.local.orders import DEFAULT_MODEL
from prefect_sora.local.videos import Videos
from prefect_sora.local.wire import Refusal
from prefect_sora.local.workers import Workers

_PURGE_SECONDS = 5.0


@dataclass
class Renderer:
    """One folder's renderer: its jobs, who works on them, and how to ask."""

    jobs: Jobs
    options: RendererOptions
    about: dict[str, Any]
    workers: Workers = field(init=False)
    gate: Gate = field(init=False)
    characters: Characters = field(init=False)
    images: Images = field(init=False)
    videos: Videos = field(init=False)
    last_used: float = field(default_factory=monotonic)
    open_requests: int = 0

    def __post_init__(self) -> None:
        self.workers = Workers(self.jobs, self.options)
        self.gate = Gate(self.jobs, self.options, Faults.read(self.options.faults))
        self.characters = Characters(self.jobs.home, self.options)
        self.characters.load()
        self.images = Images(self.jobs.home, self.options)
        self.images.load()
        self.videos = Videos(self.jobs, self.characters, self.workers, self.options)

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
            await self.images.purge()

    def _protocol(self) -> list[BaseRoute]:
        def route(method: str, path: str, name: str, endpoint: Any, **how: bool) -> Route:
            return Route(f"/v1{path}", self.gate.guard(name, endpoint, **how), methods=[method])

        videos, characters, images = self.videos, self.characters, self.images
        return [
            route("POST", "/videos", "create", videos.create),
            route("GET", "/videos", "list", videos.list),
            # Before those whose path has an id in the same place.
            route("POST", "/videos/edits", "edit", videos.edit),
            route("POST", "/videos/extensions", "extend", videos.extend),
            route("POST", "/videos/characters", "characters", characters.create),
            route("GET", "/videos/characters/{character_id}", "character", characters.retrieve),
            route("GET", "/videos/{video_id}", "retrieve", videos.retrieve),
            route("DELETE", "/videos/{video_id}", "delete", videos.delete),
            route("GET", "/videos/{video_id}/content", "content", videos.content),
            route("POST", "/videos/{video_id}/remix", "remix", videos.remix),
            route("POST", "/images/generations", "images", images.generate),
            route("POST", "/images/edits", "image_edits", images.edit),
            route(
                "GET",
                "/images/{image_id}/{name}",
                "image_content",
                images.content,
                keyless=True,
            ),
            route("GET", "/models", "models", self.models),
        ]

    def _control(self) -> list[BaseRoute]:
        return [
            Route("/faults", _local(self.faults), methods=["GET", "POST", "DELETE"]),
            Route("/requests", _local(self.requests), methods=["GET", "DELETE"]),
            Route("/reset", _local(self.reset), methods=["POST"]),
        ]

    async def models(self, _: Request) -> Response:
        """GET /models: what draws here, though every name is accepted and echoed."""
        names = (DEFAULT_MODEL, DEFAULT_IMAGE_MODEL)
        made = {"object": "model", "created": 0, "owned_by": "prefect-sora"}
        return JSONResponse({"object": "list", "data": [{"id": name, **made} for name in names]})

    async def health(self, _: Request) -> Response:
        """GET /health: who answers, and how much there is to do."""
        counts = dict.fromkeys(("queued", "rendering", "completed", "failed"), 0)
        for job in self.jobs:
            counts["rendering" if job.status == "in_progress" else job.status] += 1
        counts["accepted"] = self.jobs.accepted
        counts["images"] = self.images.accepted
        counts["characters"] = len(self.characters)
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
        await self.characters.reset()
        await self.images.reset()
        return JSONResponse({"reset": True})


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
