"""Images: the routes that draw pictures, and the files of those that are fetched by URL."""

import asyncio
import base64
import json
import re
import time
from asyncio import Lock, to_thread
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from prefect_sora.local.address import write_whole
from prefect_sora.local.image_orders import ImageOrder, read_image_order
from prefect_sora.local.options import RendererOptions
from prefect_sora.local.wire import Refusal

_TOKENS_PER_PIXEL = 1 / 256
_CHARACTERS_PER_TOKEN = 4


@dataclass
class Images:
    """The answered image requests of one folder, each kept for as long as a video.

    ```text
    images/accepted.json    how many were ever accepted
    images/ID/0.png …       the pictures
    images/ID/answer.json   what was answered but for their bytes, written last
    ```
    """

    home: Path
    options: RendererOptions
    accepted: int = 0
    _locks: dict[str, Lock] = field(default_factory=dict)
    _counting: Lock = field(default_factory=Lock)

    @property
    def folder(self) -> Path:
        """Where all of it lies."""
        return self.home / "images"

    def load(self) -> None:
        """Read what the last process left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with suppress(OSError, ValueError, KeyError):
            counted = json.loads((self.folder / "accepted.json").read_text("utf-8"))
            self.accepted = int(counted["accepted"])

    async def generate(self, request: Request) -> Response:
        """POST /images/generations."""
        return await self._answer(request, await read_image_order(request, edit=False))

    async def edit(self, request: Request) -> Response:
        """POST /images/edits."""
        return await self._answer(request, await read_image_order(request, edit=True))

    async def content(self, request: Request) -> Response:
        """GET /images/{id}/{name}: what a `url` of an answer points to."""
        image_id, name = request.path_params["image_id"], request.path_params["name"]
        path = self.folder / image_id / name
        known = re.fullmatch("image_[0-9a-f]{32}", image_id) and re.fullmatch("[0-9]+.[a-z]+", name)
        if not known or not path.is_file() or self._expired(path.parent):
            raise Refusal(404, f"Image '{image_id[:80]}' not found.", code="not_found")
        kind = path.suffix.removeprefix(".")
        return FileResponse(path, media_type=f"image/{kind}")

    async def purge(self) -> None:
        """Remove what has expired."""
        for folder in self.folder.glob("image_*"):
            if self._expired(folder):
                await to_thread(rmtree, folder, ignore_errors=True)

    async def reset(self) -> None:
        """Forget everything, the count included."""
        self.accepted = 0
        await to_thread(rmtree, self.folder, ignore_errors=True)
        self.load()

    async def _answer(self, request: Request, order: ImageOrder) -> Response:
        key = request.headers.get("idempotency-key") if self.options.idempotency else None
        address = f"{request.base_url}v1/images"
        if key is None:
            return await self._respond(await self._make(order, None), order, address)
        async with self._locks.setdefault(key, Lock()):
            made = await to_thread(self._made_with, key) or await self._make(order, key)
        return await self._respond(made, order, address)

    async def _make(self, order: ImageOrder, key: str | None) -> Path:
        """Draw and keep the pictures of a request; it counts from its first moment."""
        started = time.monotonic()
        async with self._counting:
            self.accepted += 1
            count = json.dumps({"accepted": self.accepted}).encode()
            await to_thread(write_whole, self.folder / "accepted.json", count)
        folder = self.folder / f"image_{uuid4().hex}"
        await to_thread(self._draw, order, folder, key)
        # An image takes as long as a second of video.
        left = started + self.options.pace_seconds(1) - time.monotonic()
        await asyncio.sleep(max(0.0, left))
        return folder

    def _draw(self, order: ImageOrder, folder: Path, key: str | None) -> None:
        from prefect_sora.local.pictures import draw

        folder.mkdir(parents=True)
        for number in range(order.count):
            write_whole(folder / f"{number}.{order.format}", draw(order, number))
        record = {"key": key, "created": int(time.time()), "count": order.count}
        write_whole(folder / "answer.json", json.dumps(record).encode())

    def _made_with(self, key: str) -> Path | None:
        for path in self.folder.glob("image_*/answer.json"):
            with suppress(OSError, ValueError):
                if json.loads(path.read_text("utf-8"))["key"] == key:
                    return path.parent
        return None

    async def _respond(self, folder: Path, order: ImageOrder, address: str) -> Response:
        record = json.loads((folder / "answer.json").read_text("utf-8"))
        data: list[dict[str, Any]] = []
        for number in range(record["count"]):
            name = f"{number}.{order.format}"
            if order.response == "url":
                data.append({"url": f"{address}/{folder.name}/{name}"})
            else:
                picture = await to_thread((folder / name).read_bytes)
                data.append({"b64_json": base64.b64encode(picture).decode()})
        width, height = order.size
        drawn = round(width * height * _TOKENS_PER_PIXEL) * record["count"]
        asked = -(-len(order.prompt) // _CHARACTERS_PER_TOKEN)
        body = {
            "created": record["created"],
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

    def _expired(self, folder: Path) -> bool:
        try:
            return time.time() >= folder.stat().st_mtime + self.options.ttl_seconds + 1
        except OSError:
            return True
