"""Application: the routes of OpenAI's protocol for videos and images, over one folder."""

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

from prefect_sora.servers.local.dialects import Dialect
from prefect_sora.servers.local.drawing.workers import Workers
from prefect_sora.servers.local.faults.rules import FaultError, Faults
from prefect_sora.servers.local.http.door import Door
from prefect_sora.servers.local.http.gate import Gate
from prefect_sora.servers.local.http.idempotency import Idempotency
from prefect_sora.servers.local.http.image_routes import ImageRoutes
from prefect_sora.servers.local.http.video_routes import CharacterRoutes, VideoRoutes
from prefect_sora.servers.local.http.webhooks import Webhooks
from prefect_sora.servers.local.launch.options import RendererOptions
from prefect_sora.servers.local.requests.refusals import Refusal
from prefect_sora.servers.local.state.characters import Characters
from prefect_sora.servers.local.state.images import Images
from prefect_sora.servers.local.state.jobs import Jobs

_PURGE_SECONDS = 5.0


@dataclass
class Renderer:
    """One folder's renderer: its jobs, its workers and its routes."""

    jobs: Jobs
    options: RendererOptions
    about: dict[str, Any]
    dialect: Dialect
    webhooks: Webhooks = field(init=False)
    workers: Workers = field(init=False)
    gate: Gate = field(init=False)
    characters: Characters = field(init=False)
    images: Images = field(init=False)
    last_used: float = field(default_factory=monotonic)
    open_requests: int = 0

    def __post_init__(self) -> None:
        self.webhooks = Webhooks(self.options)
        self.workers = Workers(self.jobs, self.options, self.webhooks.tell)
        self.gate = Gate(self.jobs, self.dialect, Faults.read(self.options.faults))
        self.characters = Characters(self.jobs.home)
        self.characters.load()
        self.images = Images(self.jobs.home, self.options.ttl_seconds)
        self.images.load()

    @property
    def idle_seconds(self) -> float:
        """For how long nothing was asked and nothing was left to do."""
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
                await self.webhooks.close()

        routes = [*self._protocol(), Route("/health", self.health)]
        if self.options.control:
            routes += _ControlRoutes(self.gate, self._forget).routes()
        errors = {HTTPException: self._http_error, Exception: self._internal_error}
        inner = Starlette(routes=routes, lifespan=lifespan, exception_handlers=errors)
        return self._counted(Door(inner, self.options))

    async def _http_error(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        answer = self.gate.unrouted(request, status)
        if isinstance(error, HTTPException) and answer.status_code == error.status_code:
            answer.headers.update(error.headers or {})
        return answer

    async def _internal_error(self, request: Request, error: Exception) -> Response:
        message = f"The local renderer failed: {type(error).__name__}."
        return self.dialect.refuse(Refusal(500, message), request)

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
        once = Idempotency(self.options.idempotency)
        videos = VideoRoutes(
            self.jobs, self.characters, self.workers, self.options, self.dialect, once
        )
        characters = CharacterRoutes(self.characters, once)
        images = ImageRoutes(self.images, self.options, once)
        table: list[tuple[str, str, str, Any]] = [
            ("POST", "/videos", "create", videos.create),
            ("GET", "/videos", "list", videos.list),
            # Before those whose path has an id in the same place.
            ("POST", "/videos/edits", "edit", videos.edit),
            ("POST", "/videos/extensions", "extend", videos.extend),
            ("POST", "/videos/characters", "characters", characters.create),
            ("GET", "/videos/characters/{character_id}", "character", characters.retrieve),
            ("GET", "/videos/{video_id}", "retrieve", videos.retrieve),
            ("DELETE", "/videos/{video_id}", "delete", videos.delete),
            ("GET", "/videos/{video_id}/content", "content", videos.content),
            ("POST", "/videos/{video_id}/remix", "remix", videos.remix),
            ("POST", "/images/generations", "images", images.generate),
            ("POST", "/images/edits", "image_edits", images.edit),
            ("GET", "/images/{image_id}/{name}", "image_content", images.content),
            ("GET", "/models", "models", self.models),
        ]
        guard, there = self.gate.guard, self.dialect.operations
        own = self.dialect.paths
        routes: list[BaseRoute] = [  # the dialect's own come first: an id stands in the others
            *self.dialect.routes(self.jobs, guard)
        ]
        routes += [
            Route(
                prefix + own.get(operation, path),
                guard(operation, endpoint, keyless=operation == "image_content"),
                methods=[method],
            )
            for prefix in self.dialect.prefixes
            for method, path, operation, endpoint in table
            if operation in there
        ]
        for path, body in self.dialect.pages().items():
            routes.append(Route(path, guard("page", _page(body), keyless=True), methods=["GET"]))
        for route in routes:
            if isinstance(route, Route) and route.methods and not self.dialect.answers_head:
                route.methods.discard("HEAD")
        return routes

    async def models(self, _: Request) -> Response:
        """GET /models: the models' names."""
        return JSONResponse(self.dialect.model_list())

    async def health(self, _: Request) -> Response:
        """GET /health: who answers, and how much there is to do."""
        counts = dict.fromkeys(("queued", "rendering", "completed", "failed"), 0)
        for job in self.jobs.all():
            counts["rendering" if job.status == "in_progress" else job.status] += 1
        counts["accepted"] = self.jobs.accepted
        counts["images"] = self.images.accepted
        counts["characters"] = len(self.characters)
        return JSONResponse(
            {"status": self.dialect.healthy, **self.about, "pid": os.getpid(), "counts": counts}
        )

    async def _forget(self) -> None:
        for job in self.jobs.all():
            self.workers.cancel(job)
        await self.jobs.reset()
        await self.characters.reset()
        await self.images.reset()


@dataclass
class _ControlRoutes:
    """`/faults`, `/requests` and `/reset`.

    Attributes:
        gate: Has the faults and the log.
        forget: Forgets all jobs, characters and images.
    """

    gate: Gate
    forget: Callable[[], Awaitable[None]]

    def routes(self) -> list[BaseRoute]:
        """All of them, open to this machine alone."""
        return [
            Route("/faults", _local(self.faults), methods=["GET", "POST", "DELETE"]),
            Route("/requests", _local(self.requests), methods=["GET", "DELETE"]),
            Route("/reset", _local(self.reset), methods=["POST"]),
        ]

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
        await self.forget()
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


def _page(body: Any) -> Callable[[Request], Awaitable[Response]]:
    async def page(_: Request) -> Response:
        return JSONResponse(body)

    return page
