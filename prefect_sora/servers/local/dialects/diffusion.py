"""Diffusion servers: what SGLang, vLLM-Omni, FastVideo and TensorRT-LLM have in common.

Each serves one model under FastAPI. A create names frames or seconds, a size or two edges, and a
reference image of any size, which is cut to that of the video.
"""

import io
import re
from abc import abstractmethod
from asyncio import to_thread
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from prefect_sora.servers.local.dialects.fastapi import FastApiDialect, detail
from prefect_sora.servers.local.dialects.openai import (
    VIDEO_OPERATIONS,
    described,
    first_and_last,
    page_after,
)
from prefect_sora.servers.local.launch.options import RendererOptions
from prefect_sora.servers.local.requests.fields import EDGE_LIMIT, IMAGE_FORMATS, data_of
from prefect_sora.servers.local.requests.refusals import Refusal
from prefect_sora.servers.local.requests.video_orders import SECONDS_LIMIT, VideoOrder
from prefect_sora.servers.local.state.jobs import Job

FPS = 24
SECONDS = 4
SIZE = (832, 480)


@dataclass(frozen=True)
class Asked:
    """A create as the server understands it, before it is known whether it can be drawn here.

    Attributes:
        model: The name that is echoed; None: that of the served model.
        size: Width and height in pixels.
        fps: Frames per second.
        frames: How many, where that was said; it goes before `seconds`.
        seconds: How long, where that was said; 4 where neither was.
        image: The reference: a file, or a URL.
        extras: Gives what the answers show of it besides, told the count of frames.
    """

    prompt: str
    model: str | None
    size: tuple[int, int]
    fps: float
    frames: int | None
    seconds: float | None
    image: bytes | str | None
    extras: Callable[[int], dict[str, Any]]


class ListQuery(BaseModel):
    """What the list takes; each server has limits of its own."""

    after: str | None = None
    limit: int | None = None
    order: str | None = "desc"


class DiffusionServer(FastApiDialect):
    """A server of one diffusion model.

    Attributes:
        title: The server's name in its OpenAPI description.
        list_query: What the list takes.
    """

    operations: ClassVar = VIDEO_OPERATIONS
    title: ClassVar[str] = "FastAPI"
    list_query: ClassVar[type[ListQuery]] = ListQuery

    def __init__(self, options: RendererOptions) -> None:
        super().__init__(options)
        self.served = self.served[:1]

    @abstractmethod
    async def asked(self, request: Request) -> Asked:
        """What a create asks for, in the server's own reading.

        Raises:
            Refusal: With what is wrong.
        """

    def undrawable(self, reason: str) -> Refusal:
        """The size or the length is one that is not drawn."""
        return detail(400, reason)

    def unreadable(self, reason: str, request: Request) -> Refusal:
        """The reference image cannot be read."""
        return self.undrawable(reason)

    async def order(self, request: Request) -> VideoOrder:
        """The create request, with the size and the length that are drawn for it.

        Raises:
            Refusal: In the server's own words.
        """
        asked = await self.asked(request)
        try:
            size = _edges(*asked.size)
            count, seconds = _frames(asked)
        except ValueError as error:
            raise self.undrawable(str(error)) from None
        try:
            reference = await _fitted(asked.image, size) if asked.image else None
        except ValueError as error:
            raise self.unreadable(str(error), request) from None
        return VideoOrder(
            prompt=asked.prompt,
            model=asked.model or self.served[0],
            seconds=seconds,
            size=size,
            reference=reference,
            extras=asked.extras(count),
        )

    def page(self, jobs: Sequence[Job], request: Request) -> tuple[Sequence[Job], dict[str, Any]]:
        """Sorted by whole seconds, so that jobs of one second keep their order either way.

        Raises:
            Refusal: The query does not fit.
        """
        try:
            query = self.list_query.model_validate(dict(request.query_params))
        except ValidationError as error:
            raise self.invalid(error, "query") from None
        newest_first = (query.order or "desc").lower() != "asc"
        ordered = sorted(jobs, key=lambda job: job.created_at, reverse=newest_first)
        page, more = page_after(ordered, query.after, query.limit)
        return page, {"object": "list", **first_and_last(page), "has_more": more}

    def pages(self) -> dict[str, Any]:
        """What the server says of itself."""
        return {"/openapi.json": described(self.title, "0.1.0")}


def measured(size: str | None) -> tuple[int, int] | None:
    """Width and height of a text like `832x480`."""
    match = re.fullmatch(r"\s*(\d{1,6})\s*[xX]\s*(\d{1,6})\s*", size or "")
    return (int(match[1]), int(match[2])) if match else None


def _frames(asked: Asked) -> tuple[int, int]:
    """The frames of a video, and the whole seconds that the renderer draws for them."""
    length = int(asked.fps * (asked.seconds or SECONDS))
    total = asked.frames if asked.frames is not None else length
    if total <= 0:
        raise ValueError("num_frames must be positive")
    drawn = max(1, round(total / (asked.fps or FPS)))
    if drawn > SECONDS_LIMIT:
        raise ValueError(f"this renderer draws at most {SECONDS_LIMIT} seconds, not {drawn}")
    return total, drawn


def _edges(width: int, height: int) -> str:
    for edge in (width, height):
        if not 16 <= edge <= EDGE_LIMIT or edge % 2:
            raise ValueError(f"this renderer draws even edges from 16 to {EDGE_LIMIT}, not {edge}")
    return f"{width}x{height}"


async def _fitted(image: bytes | str, size: str) -> bytes:
    """A reference image cut to the size; nothing is fetched from links or read from paths."""
    if isinstance(image, str) and not image.startswith(("data:", "http://", "https://")):
        raise ValueError("Unsupported image url format")
    try:
        data = image if isinstance(image, bytes) else data_of(image, "reference_url")
    except Refusal as refusal:
        raise ValueError(refusal.message) from None
    return await to_thread(_cut_to, data, *map(int, size.split("x")))


def _cut_to(data: bytes, width: int, height: int) -> bytes:
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data), formats=IMAGE_FORMATS) as image:
            fitting = ImageOps.fit(image.convert("RGB"), (width, height))
    except Exception:  # Pillow raises many kinds on bad bytes
        raise ValueError("cannot identify image file") from None
    file = io.BytesIO()
    fitting.save(file, "PNG")
    return file.getvalue()
