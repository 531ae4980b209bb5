"""FastAPI: what pydantic finds, in the words of the servers that are built on it.

The shapes are FastAPI's (0.139): a form field or a query of the wrong type is 422 with a list of
problems under `detail`; anything that a server raises itself is a text there.
"""

import io
import json
import re
from asyncio import to_thread
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from prefect_sora.local.dialects.openai import Dialect
from prefect_sora.local.requests.video_orders import SECONDS_LIMIT
from prefect_sora.local.requests.fields import Fields
from prefect_sora.local.requests.given_media import EDGE_LIMIT, IMAGE_FORMATS, data_of
from prefect_sora.local.requests.refusals import Refusal

_Query = TypeVar("_Query", bound=BaseModel)


class FastApiDialect(Dialect):
    """A server that answers with `detail`, and forgets its jobs when it ends.

    These servers have no keys of their own. Where the options name one it is demanded, as by a
    proxy in front of them.
    """

    durable = False
    advises = False
    answers_head = False

    def authenticate(self, request: Request) -> None:
        """As a proxy in front of the server would.

        Raises:
            Refusal: There is a key, and it was not sent.
        """
        try:
            super().authenticate(request)
        except Refusal:
            raise detail(401, "Unauthorized") from None

    async def fields(self, request: Request) -> Fields:
        """The fields as they were sent: a form's are texts, and a torn body says nothing."""
        seen = getattr(request.state, "fields", None)
        if isinstance(seen, Fields):
            return seen
        request.state.fields = found = await _fields(request)
        return found

    def missing(self, video_id: str, request: Request) -> Refusal:
        """No such video."""
        return detail(404, "Video not found")

    def refuse(self, refusal: Refusal, request: Request) -> Response:
        """A text under `detail`, or the body that was made for it; a plain 500 has neither."""
        if refusal.body is None and refusal.status == 500:
            return PlainTextResponse("Internal Server Error", 500)
        body = {"detail": refusal.message} if refusal.body is None else refusal.body
        return JSONResponse(body, refusal.status, headers=refusal.headers)

    def stray(self, request: Request, status: int) -> Response:
        """FastAPI's own words, which the servers' handlers leave alone."""
        words = {404: "Not Found", 405: "Method Not Allowed"}.get(status, "Internal Server Error")
        return JSONResponse({"detail": words}, status)

    def dress(self, request: Request, response: Response) -> None:
        """All of them run under uvicorn, and say so."""
        response.headers["server"] = "uvicorn"


async def _fields(request: Request) -> Fields:
    if not is_form(request):
        try:
            body = await request.json()
        except (ValueError, RecursionError):
            body = None
        if body and not isinstance(body, dict):
            raise Refusal(500, "The body is no JSON object.")
        return Fields(body or {})
    values: dict[str, Any] = {}
    files: dict[str, tuple[bytes, ...]] = {}
    try:
        async with request.form() as form:
            for name, value in form.multi_items():
                if isinstance(value, str):
                    values[name] = value
                else:
                    files[name] = (*files.get(name, ()), await value.read())
    except HTTPException as error:
        raise detail(400, error.detail) from None
    return Fields(values, files, is_form=True)


def is_form(request: Request) -> bool:
    """Whether the body is a multipart form."""
    return "multipart/form-data" in request.headers.get("content-type", "").lower()


def detail(status: int, text: str) -> Refusal:
    """An error that is a text under `detail`."""
    return Refusal(status, text, body={"detail": text})


def problems(error: ValidationError, place: str) -> list[dict[str, Any]]:
    """FastAPI's list of what is wrong in the `body` or the `query`."""
    found = error.errors(include_url=False)
    return [{**one, "loc": (place, *one["loc"])} for one in found]


def unprocessable(error: ValidationError, place: str) -> Refusal:
    """422, with that list."""
    listed = json.loads(json.dumps(problems(error, place), default=str))
    return Refusal(422, "invalid", body={"detail": listed})


def refuse_text(fields: Fields, name: str) -> None:
    """Let a form have a file under this name, or nothing.

    Raises:
        Refusal: 422: it has a text.
    """
    text = fields.values.get(name)
    if text:
        message = "Value error, Expected UploadFile, received: <class 'str'>"
        one = {"type": "value_error", "loc": ["body", name], "msg": message, "input": text}
        raise Refusal(422, message, body={"detail": [{**one, "ctx": {"error": {}}}]})


def queried(model: type[_Query], request: Request) -> _Query:
    """The query, as the model types it.

    Raises:
        Refusal: 422: it does not fit.
    """
    try:
        return model.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise unprocessable(error, "query") from None


def frames(fps: float, count: int | None, seconds: float | None, default: int) -> tuple[int, int]:
    """The frames of a video, and the whole seconds that the renderer draws for them.

    Raises:
        ValueError: More than the renderer draws.
    """
    total = count if count is not None else int(fps * (seconds if seconds else default))
    if total <= 0:
        raise ValueError("num_frames must be positive")
    drawn = max(1, round(total / (fps or 24)))
    if drawn > SECONDS_LIMIT:
        raise ValueError(f"this renderer draws at most {SECONDS_LIMIT} seconds, not {drawn}")
    return total, drawn


def edges(width: int, height: int) -> str:
    """The size that is drawn.

    Raises:
        ValueError: The renderer cannot draw it.
    """
    for edge in (width, height):
        if not 16 <= edge <= EDGE_LIMIT or edge % 2:
            raise ValueError(f"this renderer draws even edges from 16 to {EDGE_LIMIT}, not {edge}")
    return f"{width}x{height}"


def measured(size: str | None) -> tuple[int, int] | None:
    """Width and height of a text like `832x480`."""
    match = re.fullmatch(r"\s*(\d{1,6})\s*[xX]\s*(\d{1,6})\s*", size or "")
    return (int(match[1]), int(match[2])) if match else None


async def fitted(image: bytes | str, size: str) -> bytes:
    """A reference image, cut to the size: these servers take any.

    Args:
        image: The file, or a data URL; nothing is fetched from links or read from paths.
        size: Of the video.

    Raises:
        ValueError: It is no image that can be read.
    """
    if isinstance(image, str) and not image.startswith(("data:", "http://", "https://")):
        raise ValueError("Unsupported image url format")
    try:
        data = image if isinstance(image, bytes) else data_of(image, "reference_url")
        return await to_thread(_cut, data, *map(int, size.split("x")))
    except Refusal as refusal:
        raise ValueError(refusal.message) from None


def _cut(data: bytes, width: int, height: int) -> bytes:
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data), formats=IMAGE_FORMATS) as image:
            cut = ImageOps.fit(image.convert("RGB"), (width, height))
    except Exception:  # Pillow raises many kinds on bad bytes
        raise ValueError("cannot identify image file") from None
    file = io.BytesIO()
    cut.save(file, "PNG")
    return file.getvalue()


def told(fields: Fields) -> dict[str, Any]:
    """The fields of a form that are not empty: FastAPI takes those for missing."""
    return {name: text for name, text in fields.values.items() if text != ""}


def said(fields: Mapping[str, Any], *names: str) -> Any:
    """The first of these fields that says something."""
    return next((fields[name] for name in names if fields.get(name)), None)
