"""Image orders: requests for pictures, checked as OpenAI checks them."""

import re
from asyncio import to_thread
from collections.abc import Mapping
from typing import Any, Literal

from starlette.requests import Request

from prefect_sora.servers.local.requests.fields import (
    EDGE_LIMIT,
    Fields,
    checked_prompt,
    data_of,
    opened_image,
    read_fields,
)
from prefect_sora.servers.local.requests.refusals import Refusal, bad
from prefect_sora.servers.local.requests.video_orders import checked_model
from prefect_sora.servers.local.state.images import ImageOrder

DEFAULT_IMAGE_MODEL = "local-image"
COUNT_LIMIT = 10
INPUTS_LIMIT = 16

_QUALITIES = ("auto", "low", "medium", "high", "xhigh", "max", "standard", "hd")
_FORMATS = ("png", "jpeg", "webp")
_BACKGROUNDS = ("auto", "opaque", "transparent", "white", "black")
_RESPONSES = ("b64_json", "url")
_DEFAULT_SIZE = (1024, 1024)


async def read_image_order(request: Request, *, edit: bool) -> ImageOrder:
    """The request, checked.

    Raises:
        Refusal: With the reason and the field at fault.
    """
    fields = await read_fields(request)
    values = fields.values
    prompt = checked_prompt(fields)
    model = checked_model(fields, DEFAULT_IMAGE_MODEL)
    known = model.startswith("gpt-image")
    for name in ("style", "response_format", "stream"):
        if values.get(name) is not None and (known or name == "stream"):
            raise Refusal(
                400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter"
            )
    inputs = _inputs(fields) if edit else ()
    mask = fields.file("mask") if edit else None
    own = await to_thread(_measured, inputs, mask)
    kind = _one_of(values, "output_format", _FORMATS, "png")
    background = _one_of(values, "background", _BACKGROUNDS[:3] if known else _BACKGROUNDS, "auto")
    if background == "transparent" and kind == "jpeg":
        raise bad("background", "a JPEG cannot be transparent: use png or webp")
    return ImageOrder(
        prompt=prompt,
        model=model,
        count=_whole(values, "n", 1, COUNT_LIMIT, 1),
        size=_size(values.get("size"), own),
        quality=_one_of(values, "quality", _QUALITIES, "auto"),
        background=background,
        format=kind,
        compression=_whole(values, "output_compression", 0, 100, 100),
        response=_one_of(values, "response_format", _RESPONSES, "b64_json"),
        inputs=inputs,
        mask=mask,
    )


def _one_of(values: Mapping[str, Any], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = values.get(name)
    if value is None:
        return default
    if value not in allowed:
        raise bad(name, f"{str(value)[:40]!r} is not one of {', '.join(allowed)}")
    return str(value)


def _whole(values: Mapping[str, Any], name: str, least: int, most: int, default: int) -> int:
    value = values.get(name)
    if value is None:
        return default
    if isinstance(value, str) and re.fullmatch("[0-9]{1,4}", value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise bad(name, f"{str(value)[:40]!r} is not a whole number from {least} to {most}")
    return value


def _size(value: Any, own: tuple[int, int] | None) -> tuple[int, int]:
    if value is None or value == "auto":
        return own or _DEFAULT_SIZE
    match = re.fullmatch("([0-9]{1,5})x([0-9]{1,5})", value) if isinstance(value, str) else None
    if match is None:
        raise bad("size", f"{str(value)[:40]!r} is neither WIDTHxHEIGHT nor auto")
    width, height = int(match[1]), int(match[2])
    for edge in (width, height):
        if not 16 <= edge <= EDGE_LIMIT:
            raise bad("size", f"{edge} is not a number from 16 to {EDGE_LIMIT}")
    return width, height


def _inputs(fields: Fields) -> tuple[bytes, ...]:
    uploads = fields.files.get("image", ())
    listed = fields.values.get("images")
    if not uploads and isinstance(listed, list):
        urls = [one.get("image_url") if isinstance(one, dict) else None for one in listed]
        uploads = tuple(data_of(url, "images") for url in urls)
    if not 1 <= len(uploads) <= INPUTS_LIMIT:
        raise bad("image", f"{len(uploads)} were given, 1 to {INPUTS_LIMIT} are needed")
    return uploads


def _measured(inputs: tuple[bytes, ...], mask: bytes | None) -> tuple[int, int] | None:
    """The size of the first picture; all are looked at, and the mask fits the first."""
    sizes = [_look(data, "image") for data in inputs]
    if mask is not None and _look(mask, "mask") != sizes[0]:
        raise bad("mask", "it must have the size of the first image")
    return sizes[0] if sizes else None


def _look(data: bytes, param: Literal["image", "mask"]) -> tuple[int, int]:
    picture = opened_image(data, param, lambda size: max(size) <= EDGE_LIMIT)
    if not all(16 <= edge <= EDGE_LIMIT for edge in picture.size):
        found = "x".join(map(str, picture.size))
        raise bad(param, f"it is {found}; edges of 16 to {EDGE_LIMIT} are allowed")
    if param == "mask" and not picture.has_transparency_data:
        raise bad("mask", "it has no transparent part, so nothing may change")
    return picture.size
