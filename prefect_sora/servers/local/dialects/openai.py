"""OpenAI: the protocol's own form, and the base of all other dialects.

Source: openai-openapi `openapi.yaml` (2026-08-21); the video guide for what it leaves out.
"""

import hmac
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute

from prefect_sora.servers.local.faults.rules import OPERATIONS
from prefect_sora.servers.local.launch.options import RendererOptions
from prefect_sora.servers.local.requests.fields import Fields, read_fields
from prefect_sora.servers.local.requests.image_orders import DEFAULT_IMAGE_MODEL
from prefect_sora.servers.local.requests.refusals import Refusal
from prefect_sora.servers.local.requests.video_orders import (
    DEFAULT_MODEL,
    EXTENSION_SECONDS,
    VideoOrder,
    read_video_order,
)
from prefect_sora.servers.local.state.jobs import Job, Jobs

KINDS = {"video": "video/mp4", "thumbnail": "image/webp", "spritesheet": "image/jpeg"}

VIDEO_OPERATIONS = frozenset({"create", "list", "retrieve", "delete", "content", "models"})
"""What every server has, or nearly."""

IMAGE_OPERATIONS = frozenset({"images", "image_edits", "image_content"})


class Guard(Protocol):
    """Wraps an endpoint, so that its requests are logged, need the key and meet the faults."""

    def __call__(self, operation: str, endpoint: Any, *, keyless: bool = False) -> Any:
        """Wrap the endpoint of an operation; a keyless one is open to all."""


class Dialect:
    """How a server reads requests and writes answers: here, OpenAI's form.

    Attributes:
        options: How the renderer behaves.
        prefixes: What stands before `/videos`; clients are told the first.
        operations: Which routes there are.
        paths: Where they are, as far as it is elsewhere than in OpenAI's form.
        extension_seconds: What an extension may add.
        models: The names that `/models` lists, unless the options name others.
        owner: Who owns the models, as `/models` says.
        created_status: The status of an accepted create.
        delete_stops: A deleted job is not rendered any further.
        durable: Jobs outlive the process; else they are forgotten when it ends.
        advises_polling: Unfinished jobs come with advice when to ask again.
        answers_head: GET routes answer HEAD too.
        healthy: The word under `status` in `/health`.
    """

    prefixes: ClassVar[tuple[str, ...]] = ("/v1",)
    operations: ClassVar[frozenset[str]] = frozenset(OPERATIONS)
    paths: ClassVar[Mapping[str, str]] = {}
    extension_seconds: ClassVar[Sequence[int]] = EXTENSION_SECONDS
    models: ClassVar[tuple[str, ...]] = (DEFAULT_MODEL, DEFAULT_IMAGE_MODEL)
    owner: ClassVar[str] = "prefect-sora"
    created_status: ClassVar[int] = 200
    delete_stops: ClassVar[bool] = True
    durable: ClassVar[bool] = True
    advises_polling: ClassVar[bool] = True
    answers_head: ClassVar[bool] = True
    healthy: ClassVar[str] = "ok"

    def __init__(self, options: RendererOptions) -> None:
        self.options = options
        named = [name.strip() for name in (options.models or "").split(",")]
        self.served = tuple(filter(None, named)) or self.models

    # --- requests

    def authenticate(self, request: Request) -> None:
        """Refuse a request without the key, where the options name one.

        Raises:
            Refusal: It is missing or wrong.
        """
        key = self.options.api_key
        if key and not same(bearer(request), key):
            raise Refusal(401, "Incorrect API key provided.", code="invalid_api_key")

    async def fields(self, request: Request) -> Fields:
        """Read the fields of a request, once."""
        return await read_fields(request)

    async def translate(self, request: Request, verb: str) -> str:
        """Say what a create, edit or extension asks for, before its fields are read.

        Raises:
            Refusal: It cannot be read.
        """
        return verb

    async def order(self, request: Request) -> VideoOrder:
        """The create request, checked.

        Raises:
            Refusal: With what is wrong.
        """
        return await read_video_order(request)

    def retries(self, operation: str, request: Request) -> int:
        """How often a request that failed behind this server is sent there again."""
        return 0

    def when_dropped(self, request: Request) -> Response | None:
        """The answer where the server behind this one dropped the connection.

        None where there is no server behind: then this one drops the connection itself.
        """
        return None

    # --- ids

    def new_id(self) -> str:
        """The id of a new job."""
        return f"video_{uuid4().hex}"

    def internal_id(self, shown: str) -> str:
        """The renderer's own id of the job that clients call so."""
        return shown

    # --- answers

    def video(self, job: Job, request: Request) -> dict[str, Any]:
        """The Video object."""
        return job.video()

    def created(self, job: Job, request: Request) -> Response:
        """The answer to a create, remix, edit or extension."""
        return JSONResponse(self.video(job, request), self.created_status)

    def retrieved(self, job: Job, request: Request) -> Response:
        """The answer to GET /videos/{id}."""
        return JSONResponse(self.video(job, request))

    def ended_at(self, job: Job) -> int | None:
        """When a job ended, Unix seconds; `completed_at` has that of completed jobs alone."""
        return job.expires_at - int(self.options.ttl_seconds) if job.finished else None

    def page(self, jobs: Sequence[Job], request: Request) -> tuple[Sequence[Job], dict[str, Any]]:
        """A page of the list: its jobs, and the body but for `data`.

        Args:
            jobs: All of them, the oldest first.
            request: Its query.

        Raises:
            Refusal: No such page.
        """
        query = request.query_params
        limit, order = query.get("limit", "20"), query.get("order", "desc")
        if not limit.isdecimal() or int(limit) > 100:
            raise Refusal(400, "Invalid 'limit': 0 to 100.", param="limit", code="invalid_value")
        if order not in ("asc", "desc"):
            raise Refusal(400, "Invalid 'order': asc or desc.", param="order", code="invalid_value")
        jobs = jobs if order == "asc" else [*reversed(jobs)]
        page, more = page_after(jobs, query.get("after"), int(limit))
        return page, {"object": "list", **first_and_last(page), "has_more": more}

    def deleted(self, job: Job, request: Request) -> dict[str, Any]:
        """The answer to DELETE /videos/{id}."""
        return {"id": job.id, "object": "video.deleted", "deleted": True}

    def content(self, job: Job, jobs: Jobs, request: Request) -> Response:
        """The answer to GET /videos/{id}/content.

        Raises:
            Refusal: There is no such file, or not now.
        """
        variant = request.query_params.get("variant", "video")
        if variant not in KINDS:
            reason = f"Invalid 'variant': one of {', '.join(KINDS)}."
            raise Refusal(400, reason, param="variant", code="invalid_value")
        if job.status != "completed":
            message = f"Video {job.id} is not ready: it is {job.status}."
            raise Refusal(404, message, code="video_not_ready")
        path = jobs.file_of(job, variant)
        if path is None:
            raise Refusal(404, f"The {variant} of {job.id} is gone.", code="not_found")
        return FileResponse(path, media_type=KINDS[variant])

    def card(self, name: str) -> dict[str, Any]:
        """What GET /models says of one model."""
        return {"id": name, "object": "model", "created": 0, "owned_by": self.owner}

    def model_list(self) -> dict[str, Any]:
        """The answer to GET /models."""
        return {"object": "list", "data": [self.card(name) for name in self.served]}

    def pages(self) -> Mapping[str, Any]:
        """Further paths, from the root, that GET answers with this JSON, without a key."""
        return {}

    def routes(self, jobs: Jobs, guard: Guard) -> Sequence[BaseRoute]:
        """Further routes, from the root; `guard` makes an endpoint pass the gate."""
        return ()

    # --- errors

    def missing(self, video_id: str, request: Request) -> Refusal:
        """No such video."""
        message = f"Video with id '{video_id[:80]}' not found."
        return Refusal(404, message, param="video_id", code="not_found")

    def refuse(self, refusal: Refusal, request: Request) -> Response:
        """An error as this server writes it."""
        return refusal.response()

    def unrouted(self, request: Request, status: int) -> Response:
        """No such route (404), or not with this method (405)."""
        detail = "Not Found" if status == 404 else "Method Not Allowed"
        return self.refuse(Refusal(status, f"{detail}."), request)

    def add_headers(self, request: Request, response: Response) -> None:
        """Add the headers that every answer of this server has."""


def bearer(request: Request) -> str:
    """What follows `Bearer` in the Authorization header, or nothing."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""


def same(given: str, key: str) -> bool:
    """Compare two keys in constant time, so that the time tells nothing about them."""
    return hmac.compare_digest(given.encode(), key.encode())


def described(title: str, version: str) -> dict[str, Any]:
    """An OpenAPI description, as far as servers are told apart by it."""
    return {"openapi": "3.1.0", "info": {"title": title, "version": version}}


def page_after(
    jobs: Sequence[Job], after: str | None, limit: int | None
) -> tuple[Sequence[Job], bool]:
    """The page behind a cursor, and whether more follow; an unknown cursor is past the end."""
    if after is not None:
        place = next((i for i, job in enumerate(jobs) if job.id == after), len(jobs))
        jobs = jobs[place + 1 :]
    page = jobs if limit is None else jobs[:limit]
    return page, len(jobs) > len(page)


def first_and_last(page: Sequence[Job]) -> dict[str, str | None]:
    """The ids at both ends of a page."""
    return {
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
    }
