"""Image routes: pictures are drawn and changed, and those that are fetched by URL served."""

import asyncio
import base64
import time
from asyncio import to_thread
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from prefect_sora.servers.local.http.idempotency import Idempotency
from prefect_sora.servers.local.launch.options import RendererOptions
from prefect_sora.servers.local.requests.image_orders import read_image_order
from prefect_sora.servers.local.requests.refusals import Refusal
from prefect_sora.servers.local.state.images import ImageOrder, Images, KeptImages

_TOKENS_PER_PIXEL = 1 / 256
_CHARACTERS_PER_TOKEN = 4


@dataclass
class ImageRoutes:
    """The endpoints under `/images`."""

    images: Images
    options: RendererOptions
    idempotency: Idempotency

    async def generate(self, request: Request) -> Response:
        """POST /images/generations."""
        return await self._answer(request, await read_image_order(request, edit=False))

    async def edit(self, request: Request) -> Response:
        """POST /images/edits."""
        return await self._answer(request, await read_image_order(request, edit=True))

    async def content(self, request: Request) -> Response:
        """GET /images/{id}/{name}: what a `url` of an answer points to."""
        image_id, name = request.path_params["image_id"], request.path_params["name"]
        path = self.images.file(image_id, name)
        if path is None:
            raise Refusal(404, f"Image '{image_id[:80]}' not found.", code="not_found")
        kind = path.suffix.removeprefix(".")
        return FileResponse(path, media_type=f"image/{kind}")

    async def _answer(self, request: Request, order: ImageOrder) -> Response:
        async def make(key: str | None) -> KeptImages:
            return await self._make(order, key)

        kept = await self.idempotency.once(request, self.images.made_with, make)
        return await _response(kept, order, f"{request.base_url}v1/images")

    async def _make(self, order: ImageOrder, key: str | None) -> KeptImages:
        """Draw and keep the pictures of a request; it counts from its first moment."""
        started = time.monotonic()
        await self.images.count()
        kept = await to_thread(self._draw, order, key)
        # An image takes as long as a second of video.
        left = started + self.options.pace_seconds(1) - time.monotonic()
        await asyncio.sleep(max(0.0, left))
        return kept

    def _draw(self, order: ImageOrder, key: str | None) -> KeptImages:
        from prefect_sora.servers.local.drawing.image import draw

        pictures = (draw(order, number) for number in range(order.count))
        return self.images.keep(pictures, order.format, key)


async def _response(kept: KeptImages, order: ImageOrder, address: str) -> Response:
    data: list[dict[str, Any]] = []
    for number in range(kept.count):
        name = f"{number}.{order.format}"
        if order.response == "url":
            data.append({"url": f"{address}/{kept.folder.name}/{name}"})
        else:
            picture = await to_thread((kept.folder / name).read_bytes)
            data.append({"b64_json": base64.b64encode(picture).decode()})
    width, height = order.size
    drawn = round(width * height * _TOKENS_PER_PIXEL) * kept.count
    asked = -(-len(order.prompt) // _CHARACTERS_PER_TOKEN)
    body = {
        "created": kept.created,
        "data": data,
        "background": "opaque" if order.background == "auto" else order.background,
        "output_format": order.format,
        "quality": "high" if order.quality == "auto" else order.quality,
        "size": f"{width}x{height}",
        "usage": {
            "input_tokens": asked,
            "output_tokens": drawn,
            "total_tokens": asked + drawn,
        },
    }
    return JSONResponse(body)
