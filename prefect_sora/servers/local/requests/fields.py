"""Fields: what a request says, as JSON or as a form, and the pictures that come with it."""

import base64
import binascii
import io
import json
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from prefect_sora.servers.local.requests.refusals import Refusal, bad, missing_parameter

if TYPE_CHECKING:  # Pillow is loaded where the first picture comes
    from PIL import Image

PROMPT_LIMIT = 32_000
BODY_LIMIT_BYTES = 60_000_000

EDGE_LIMIT: Final = 4096
"""The longest edge that is drawn, in pixels."""

IMAGE_FORMATS: Final = ("JPEG", "PNG", "WEBP")

_NESTED = frozenset({"input_reference", "video", "characters", "images"})
"""Fields that hold an object or a list, which a form can only write as JSON text."""

_BRACKETS = re.compile(r"(\w+)\[(\w*)\](?:\[(\w+)\])?")


@dataclass(frozen=True)
class Fields:
    """A request as it was sent, in whichever of the two encodings.

    Attributes:
        values: Everything but files; nested where the sender nested it.
        files: The uploaded files of each name, in their order.
        is_form: Whether it came as a form.
    """

    values: Mapping[str, Any]
    files: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
    is_form: bool = False

    def file(self, name: str) -> bytes | None:
        """The one file of this name."""
        found = self.files.get(name)
        return found[0] if found else None

    @property
    def words(self) -> str:
        """The prompt, or the name where there is none: a fault's `match` is looked for in it."""
        words = self.values.get("prompt", self.values.get("name"))
        return words if isinstance(words, str) else ""


async def read_fields(request: Request) -> Fields:
    """The body's fields, read once per request.

    Raises:
        Refusal: The body is neither JSON nor a form.
    """
    seen = getattr(request.state, "fields", None)
    if isinstance(seen, Fields):
        return seen
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > BODY_LIMIT_BYTES:
        raise Refusal(413, f"The body is larger than {BODY_LIMIT_BYTES} bytes.")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        fields = await _read_form(request)
    else:
        fields = await _read_json(request)
    request.state.fields = fields
    return fields


async def _read_json(request: Request) -> Fields:
    try:
        values = json.loads(await request.body() or b"null")
    except (ValueError, RecursionError):
        raise Refusal(400, "We could not parse the JSON body of your request.") from None
    if not isinstance(values, dict):
        raise Refusal(400, "The body must be a JSON object or a multipart form.")
    return Fields(values)


async def _read_form(request: Request) -> Fields:
    values: dict[str, Any] = {}
    files: dict[str, tuple[bytes, ...]] = {}
    try:
        async with request.form(max_files=100, max_part_size=BODY_LIMIT_BYTES) as form:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    plain = name.partition("[")[0]
                    files[plain] = (*files.get(plain, ()), await value.read())
                else:
                    _put(values, name, value)
    except (HTTPException, MultiPartException):
        raise Refusal(400, "We could not parse the multipart body of your request.") from None
    for name in _NESTED & values.keys():
        if isinstance(values[name], str):
            try:
                values[name] = json.loads(values[name])
            except (ValueError, RecursionError):
                raise bad(name, "it must be a file or JSON") from None
    return Fields(values, files, is_form=True)


def _put(values: dict[str, Any], name: str, value: str) -> None:
    """Nest a field as the SDK writes it: `video[id]`, `images[]`, `characters[0][id]`."""
    match = _BRACKETS.fullmatch(name)
    if match is None:
        values[name] = value
        return
    outer, inner, member = match.groups()
    if inner and not inner.isdecimal() and member is None:
        nested = values.setdefault(outer, {})
        if isinstance(nested, dict):
            nested[inner] = value
        return
    items = values.setdefault(outer, [])
    if isinstance(items, list):
        items.append(value if member is None else {member: value})


def checked_prompt(fields: Fields) -> str:
    """The prompt, which every request that makes something has.

    Raises:
        Refusal: It is missing, empty, too long or no text.
    """
    prompt = fields.values.get("prompt")
    if prompt is None:
        raise missing_parameter("prompt")
    if not isinstance(prompt, str):
        raise bad("prompt", "it must be a string")
    if not prompt.strip():
        raise bad("prompt", "it is empty", "empty_string")
    if len(prompt) > PROMPT_LIMIT:
        raise bad(
            "prompt",
            f"it has {len(prompt)} characters, at most {PROMPT_LIMIT} are allowed",
            "string_above_max_length",
        )
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise bad("prompt", "it is not valid Unicode") from None
    return prompt


def data_of(url: object, param: str) -> bytes:
    """The bytes of a data URL.

    Raises:
        Refusal: It is another kind of URL, or is not base64.
    """
    match = re.match(r"data:[^,]{0,100};base64,", url) if isinstance(url, str) else None
    if not isinstance(url, str) or match is None:
        raise bad(param, "this server takes data URLs only, not links")
    try:
        return base64.b64decode(url[match.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise bad(param, "its data URL is not base64") from None


def opened_image(
    data: bytes, param: str, decodes: Callable[[tuple[int, int]], bool]
) -> "Image.Image":
    """Open a picture; decode it whole where its size says that it will be used.

    Args:
        data: The file.
        param: The field that it came in.
        decodes: Told the width and height; a picture of another size is not decoded, because
            a small file can hold a huge picture.

    Raises:
        Refusal: It is no JPEG, PNG or WebP image, or is torn.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)
        if decodes(image.size):
            image.load()
    except Exception:  # Pillow raises many kinds on bad bytes
        raise bad(param, "it is not a readable JPEG, PNG or WebP image") from None
    return image
