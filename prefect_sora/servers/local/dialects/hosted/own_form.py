"""Own form: servers that take JSON alone, in words of their own, and keep files at URLs."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from prefect_sora.servers.local.dialects.openai import Dialect, Guard
from prefect_sora.servers.local.requests.fields import Fields
from prefect_sora.servers.local.requests.refusals import Refusal, bad, missing_parameter
from prefect_sora.servers.local.requests.video_orders import VideoOrder, read_video_order
from prefect_sora.servers.local.state.jobs import Job, Jobs

USD_PER_SECOND = 0.05
"""What a second costs here, whatever is rendered. Ours."""

_FILE = re.compile(r"/files/([^/]+)\.mp4$")


class OwnForm(Dialect):
    """Reads a request in the server's own words, and writes it as the renderer reads it."""

    advises_polling: ClassVar = False

    def read(self, values: Mapping[str, Any], verb: str) -> tuple[str, dict[str, Any]]:
        """What is asked for, and the same in OpenAI's form.

        Raises:
            Refusal: A field is missing or of another type.
        """
        raise NotImplementedError

    async def translate(self, request: Request, verb: str) -> str:
        """Put the fields of OpenAI's form in the place of those that were sent.

        Raises:
            Refusal: It is no JSON, or what `read` says.
        """
        fields = await self.fields(request)
        if fields.is_form:
            raise Refusal(415, "Content-Type must be application/json.")
        model = fields.values.get("model")
        if not isinstance(model, str):
            raise missing_parameter("model")
        if model not in self.served:
            raise self.no_model(model)
        verb, wanted = self.read(fields.values, verb)
        given = {name: value for name, value in wanted.items() if value is not None}
        request.state.fields = Fields({"model": model, **given})
        request.state.verb = verb
        callback = fields.values.get("callback_url")
        request.state.callback_url = callback if isinstance(callback, str) else None
        return verb

    async def order(self, request: Request) -> VideoOrder:
        """The create request, as `translate` has left it."""
        return await read_video_order(request)

    def no_model(self, name: str) -> Refusal:
        """There is no such model here."""
        return Refusal(404, f"Model '{name}' not found.", code="model_not_found")

    def cost_usd(self, job: Job) -> float:
        """What a job costs."""
        return round(USD_PER_SECOND * (job.added or job.seconds), 6)

    def file_url(self, job: Job, request: Request) -> str | None:
        """Where a finished video lies; whoever knows the address has it."""
        done = job.status == "completed"
        return f"{request.base_url}files/{job.id}.mp4" if done else None

    def routes(self, jobs: Jobs, guard: Guard) -> Sequence[BaseRoute]:
        """The files; like signed links they refuse a request that brings a key as well."""

        async def file(request: Request) -> Response:
            job = jobs.get(request.path_params["video_id"])
            path = jobs.file_of(job) if job else None
            if "authorization" in request.headers or path is None:
                return Response(status_code=400 if path else 404)
            return FileResponse(path, media_type="video/mp4")

        guarded = guard("content", file, keyless=True)
        return [Route("/files/{video_id}.mp4", guarded, methods=["GET"])]


def source_at(url: object, param: str) -> dict[str, str]:
    """The video whose file lies at one of our addresses, as OpenAI's form names it.

    Raises:
        Refusal: It is another address.
    """
    known = _FILE.search(url) if isinstance(url, str) else None
    if known is None:
        raise bad(param, "no video can be fetched from this address")
    return {"id": known[1]}


def whole(values: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    """A field that holds a whole number, or nothing.

    Raises:
        Refusal: It is something else, a text of digits too.
    """
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise bad(name, f"expected number, received {type(value).__name__}", "invalid_type")
    if not least <= value <= most:
        raise bad(name, f"{value} is not from {least} to {most}")
    return value


def size_of(resolution: str, ratio: str) -> str:
    """Pixels of a resolution, such as 720p, in a ratio, such as 16:9; sides are even."""
    short = int(resolution.removesuffix("p"))
    wide, high = (int(part) for part in ratio.split(":"))
    longer = int(short * max(wide, high) / min(wide, high)) // 2 * 2
    return f"{longer}x{short}" if wide >= high else f"{short}x{longer}"
