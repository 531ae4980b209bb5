"""Video orders: requests for a video, checked as OpenAI checks them."""

import re
from asyncio import to_thread
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from prefect_sora.servers.local.requests.fields import (
    EDGE_LIMIT,
    Fields,
    checked_prompt,
    data_of,
    opened_image,
    read_fields,
)
from prefect_sora.servers.local.requests.refusals import bad, missing_parameter

SECONDS_LIMIT = 120
DEFAULT_MODEL = "local"

EXTENSION_SECONDS = (4, 8, 12, 16, 20)
EXTENSIONS_LIMIT = 6
CHARACTERS_LIMIT = 2
NAME_LIMIT = 80


@dataclass(frozen=True)
class VideoOrder:
    """A create request that passed every check.

    Attributes:
        seconds: Whole ones.
        size: `WIDTHxHEIGHT` in pixels.
        reference: The picture to start from, as a file.
        characters: The ids of those who are to appear.
        extras: What its dialect shows of it besides.
    """

    prompt: str
    model: str
    seconds: int
    size: str
    reference: bytes | None = None
    characters: tuple[str, ...] = ()
    extras: Mapping[str, Any] = field(default_factory=dict)


async def read_video_order(request: Request) -> VideoOrder:
    """The create request, checked.

    Raises:
        Refusal: With the reason and the field at fault.
    """
    fields = await read_fields(request)
    prompt = checked_prompt(fields)
    model = checked_model(fields)
    seconds = _seconds(fields.values.get("seconds"))
    width, height = _size(fields.values.get("size"))
    reference = fields.file("input_reference")
    if reference is None:
        reference = _reference_url(fields.values)
    if reference is not None:
        await to_thread(_check_reference, reference, width, height)
    characters = _characters(fields.values.get("characters"))
    return VideoOrder(prompt, model, seconds, f"{width}x{height}", reference, characters)


def checked_model(fields: Fields, default: str = DEFAULT_MODEL) -> str:
    """The model's name; every name is taken, and echoed."""
    model = fields.values.get("model") or default
    if not isinstance(model, str) or len(model) > 200 or not model.isprintable():
        raise bad("model", "it must be a string")
    return model


def checked_source(fields: Fields) -> str | bytes:
    """The video that an edit or an extension starts from: an id, or an uploaded file.

    Raises:
        Refusal: It is neither; or the request holds what only a create takes.
    """
    for name in ("characters", "input_reference"):
        if name in fields.values or name in fields.files:
            raise bad(name, "only a new video takes it", "unknown_parameter")
    upload = fields.file("video")
    if upload is not None:
        return upload
    video = fields.values.get("video")
    if video is None:
        raise missing_parameter("video")
    video_id = video.get("id") if isinstance(video, dict) else None
    if not isinstance(video_id, str) or not video_id:
        raise bad("video", "it must be a file or an object with id")
    return video_id


def checked_extension(fields: Fields, allowed: Sequence[int] = EXTENSION_SECONDS) -> int:
    """How many seconds an extension adds."""
    value = fields.values.get("seconds")
    if value is None:
        raise missing_parameter("seconds")
    seconds = _seconds(value)
    if seconds not in allowed:
        listed = ", ".join(map(str, allowed))
        raise bad("seconds", f"an extension adds one of {listed}, not {seconds}")
    return seconds


def checked_name(fields: Fields) -> str:
    """The name of a new character."""
    name = fields.values.get("name")
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise bad("name", "it must be a text on one line")
    if len(name) > NAME_LIMIT:
        raise bad("name", f"it has {len(name)} characters, at most {NAME_LIMIT} are allowed")
    return name.strip()


def _characters(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    ids = (
        [c.get("id") if isinstance(c, dict) else None for c in value if c is not None]
        if (isinstance(value, list))
        else [None]
    )
    if not all(isinstance(one, str) and one for one in ids):
        raise bad("characters", "it must be a list of objects with id")
    if len(ids) > CHARACTERS_LIMIT:
        raise bad("characters", f"at most {CHARACTERS_LIMIT} are allowed, not {len(ids)}")
    return tuple(map(str, ids))


def _seconds(value: Any) -> int:
    if value is None:
        return 4
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(number, str) and re.fullmatch("[0-9]{1,6}", number):
        number = int(number)
    if not isinstance(number, int) or isinstance(number, bool):
        raise bad("seconds", f"{str(value)[:40]!r} is not a whole number")
    if not 1 <= number <= SECONDS_LIMIT:
        raise bad("seconds", f"{number} is not from 1 to {SECONDS_LIMIT}")
    return number


def _size(value: Any) -> tuple[int, int]:
    if value is None:
        return 720, 1280
    match = re.fullmatch("([0-9]{1,5})x([0-9]{1,5})", value) if isinstance(value, str) else None
    if match is None:
        raise bad("size", f"{str(value)[:40]!r} is not WIDTHxHEIGHT")
    width, height = int(match[1]), int(match[2])
    for edge in (width, height):
        if not 16 <= edge <= EDGE_LIMIT or edge % 2:
            raise bad("size", f"{edge} is not an even number from 16 to {EDGE_LIMIT}")
    return width, height


def _reference_url(values: Mapping[str, Any]) -> bytes | None:
    reference = values.get("input_reference")
    if reference is None:
        return None
    url = reference.get("image_url") if isinstance(reference, dict) else None
    if not isinstance(url, str):
        raise bad("input_reference", "it must be a file or an object with image_url")
    return data_of(url, "input_reference")


def _check_reference(data: bytes, width: int, height: int) -> None:
    image = opened_image(data, "input_reference", lambda size: size == (width, height))
    if image.size != (width, height):
        found = f"{image.size[0]}x{image.size[1]}"
        raise bad(
            "input_reference",
            f"Inpaint image must match the requested width and height: the image is {found}, "
            f"the video {width}x{height}",
        )
