"""Video routes: videos are made, shown and removed; characters are made of them."""

import asyncio
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from prefect_sora.servers.local.dialects import Dialect
from prefect_sora.servers.local.drawing.workers import Workers
from prefect_sora.servers.local.http.idempotency import Idempotency
from prefect_sora.servers.local.launch.options import RendererOptions
from prefect_sora.servers.local.requests.fields import EDGE_LIMIT, checked_prompt, read_fields
from prefect_sora.servers.local.requests.refusals import Refusal, bad
from prefect_sora.servers.local.requests.video_orders import (
    EXTENSIONS_LIMIT,
    SECONDS_LIMIT,
    checked_extension,
    checked_model,
    checked_name,
    checked_source,
)
from prefect_sora.servers.local.state.characters import Character, Characters
from prefect_sora.servers.local.state.jobs import Job, Jobs


@dataclass
class VideoRoutes:
    """The endpoints under `/videos`, but for characters."""

    jobs: Jobs
    characters: Characters
    workers: Workers
    options: RendererOptions
    dialect: Dialect
    idempotency: Idempotency

    async def create(self, request: Request) -> Response:
        """POST /videos."""
        verb = await self.dialect.translate(request, "create")
        if verb != "create":
            return await (self._edit if verb == "edit" else self._extend)(request)
        order = await self.dialect.order(request)
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
            characters=list(self._cast(order.characters, order.prompt)),
            scene=scene,
            extras=dict(order.extras),
        )

    async def remix(self, request: Request) -> Response:
        """POST /videos/{id}/remix."""
        parent = self._job(request)
        prompt = checked_prompt(await read_fields(request))
        return await self._accept(request, prompt=prompt, **_after(parent, "remix", prompt))

    async def edit(self, request: Request) -> Response:
        """POST /videos/edits."""
        await self.dialect.translate(request, "edit")
        return await self._edit(request)

    async def _edit(self, request: Request) -> Response:
        fields = await read_fields(request)
        prompt = checked_prompt(fields)
        source = await self._source(request, "edit", prompt)
        return await self._accept(request, prompt=prompt, **source)

    async def extend(self, request: Request) -> Response:
        """POST /videos/extensions: the answer's seconds are those of the whole."""
        await self.dialect.translate(request, "extend")
        return await self._extend(request)

    async def _extend(self, request: Request) -> Response:
        fields = await read_fields(request)
        allowed = self.dialect.extension_seconds
        prompt, added = checked_prompt(fields), checked_extension(fields, allowed)
        source = await self._source(request, "extend", prompt)
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
        job = self._job(request)
        answer = self.dialect.retrieved(job, request)
        answer.headers.update(self._advice(job))
        return answer

    async def list(self, request: Request) -> Response:
        """GET /videos: a page."""
        page, body = self.dialect.page([*self.jobs], request)
        data = [self.dialect.video(job, request) for job in page]
        return JSONResponse({**body, "data": data}, headers=self._advice(*page))

    async def delete(self, request: Request) -> Response:
        """DELETE /videos/{id}: a running one is stopped, unless the dialect lets it run."""
        job = self._job(request)
        if self.dialect.delete_stops:
            self.workers.cancel(job)
            await self.jobs.remove(job)
        else:
            await self.jobs.forget(job)
        return JSONResponse(self.dialect.deleted(job, request))

    async def content(self, request: Request) -> Response:
        """GET /videos/{id}/content."""
        job = self._job(request)
        try:
            return self.dialect.content(job, self.jobs, request)
        except Refusal as refusal:
            refusal.headers = {**(refusal.headers or {}), **self._advice(job)}
            raise

    async def _accept(self, request: Request, **order: Any) -> Response:
        fate = getattr(request.state, "fate", None)

        async def make(key: str | None) -> Job:
            return await self.jobs.accept(
                video_id=self.dialect.new_id(),
                idempotency_key=key,
                fate=fate,
                callback_url=getattr(request.state, "callback_url", None),
                **order,
            )

        job = await self.idempotency.once(request, self.jobs.by_idempotency_key, make)
        answer = self.dialect.created(job, request)
        answer.headers.update(self._advice(job))
        return answer

    def _cast(self, ids: tuple[str, ...], prompt: str) -> Iterator[dict[str, str]]:
        """Those who are to appear, as a job remembers them.

        Raises:
            Refusal: One is unknown, or the prompt does not name it.
        """
        for one in dict.fromkeys(ids):
            character = self.characters.get(one)
            if character is None:
                raise bad("characters", f"no character has the id '{one[:80]}'")
            if character.name.casefold() not in prompt.casefold():
                raise bad("characters", f"the prompt does not name '{character.name}'")
            yield {"id": character.id, "name": character.name}

    async def _source(self, request: Request, verb: str, prompt: str) -> dict[str, Any]:
        """The fields of a job that an edit or an extension takes over from its source."""
        fields = await read_fields(request)
        source = checked_source(fields)
        if isinstance(source, str):
            return _after(self._known(source, request), verb, prompt)
        from prefect_sora.servers.local.drawing.decoding import shape_of

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
        return self._known(request.path_params["video_id"], request)

    def _known(self, shown: str, request: Request) -> Job:
        job = self.jobs.get(self.dialect.internal_id(shown))
        if job is None:
            raise self.dialect.missing(shown, request)
        return job

    def _advice(self, *jobs: Job) -> dict[str, str]:
        silent = self.options.poll_after_ms <= 0 or not self.dialect.advises_polling
        if silent or all(job.finished for job in jobs):
            return {}
        return {"openai-poll-after-ms": str(self.options.poll_after_ms)}


def _after(parent: Job, verb: str, prompt: str) -> dict[str, Any]:
    """The fields that a job takes over from the finished one that it starts from.

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


@dataclass
class CharacterRoutes:
    """The endpoints under `/videos/characters`."""

    characters: Characters
    idempotency: Idempotency

    async def create(self, request: Request) -> Response:
        """POST /videos/characters."""
        fields = await read_fields(request)
        name = checked_name(fields)
        video = fields.file("video")
        if video is None:
            raise bad("video", "it must be a file in a multipart form")

        async def make(key: str | None) -> Character:
            from prefect_sora.servers.local.drawing.decoding import portrait_of

            try:
                picture = await asyncio.to_thread(portrait_of, video)
            except ValueError as error:
                raise bad("video", str(error)) from None
            return await self.characters.keep(name, picture, key)

        known = self.characters.by_idempotency_key
        character = await self.idempotency.once(request, known, make)
        return JSONResponse(character.answer())

    async def retrieve(self, request: Request) -> Response:
        """GET /videos/characters/{id}."""
        asked = request.path_params["character_id"]
        character = self.characters.get(asked)
        if character is None:
            message = f"Character with id '{asked[:80]}' not found."
            raise Refusal(404, message, param="character_id", code="not_found")
        return JSONResponse(character.answer())
