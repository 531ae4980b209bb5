"""Wire: what a request says, checked as OpenAI checks it, and how answers look."""

import base64
import binascii
import io
import json
import re
from asyncio import to_thread
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

PROMPT_LIMIT = 32_000
SECONDS_LIMIT = 120
EDGE_LIMIT = 4096
BODY_LIMIT_BYTES = 40_000_000
DEFAULT_MODEL = "local"
_IMAGE_FORMATS = ("JPEG", "PNG", "WEBP")


class Refusal(Exception):  # noqa: N818 - an answer, not a failure of ours
    """A request is answered with an error in OpenAI's form."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = headers

    def response(self) -> JSONResponse:
        """The answer that goes out."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return JSONResponse({"error": error}, self.status, headers=self.headers)


@dataclass(frozen=True)
class Fields:
    """A create or remix request as it was sent, in whichever of the two encodings."""

    values: Mapping[str, Any]
    upload: bytes | None = None

    @property
    def prompt(self) -> str:
        """The prompt if it is one, else nothing."""
        prompt = self.values.get("prompt")
        return prompt if isinstance(prompt, str) else ""


@dataclass(frozen=True)
class Order:
    """A create request that passed every check."""

    prompt: str
    model: str
    seconds: int
    size: str
    reference: bytes | None = None


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
    except ClientDisconnect:
        raise
    except (ValueError, RecursionError):
        raise Refusal(400, "We could not parse the JSON body of your request.") from None
    if not isinstance(values, dict):
        raise Refusal(400, "The body must be a JSON object or a multipart form.")
    return Fields(values)


async def _read_form(request: Request) -> Fields:
    values: dict[str, Any] = {}
    upload: bytes | None = None
    try:
        async with request.form(max_part_size=BODY_LIMIT_BYTES) as form:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    if name == "input_reference":
                        upload = await value.read()
                else:
                    values[name] = value
    except (HTTPException, MultiPartException):
        raise Refusal(400, "We could not parse the multipart body of your request.") from None
    # A JSON object in a form is text; the SDK writes `input_reference[image_url]` instead.
    nested = values.pop("input_reference[image_url]", None)
    if isinstance(nested, str):
        values["input_reference"] = {"image_url": nested}
    elif isinstance(values.get("input_reference"), str):
        try:
            values["input_reference"] = json.loads(values["input_reference"])
        except ValueError:
            raise _bad("input_reference", "it must be a file or a JSON object") from None
    return Fields(values, upload)


async def read_order(request: Request) -> Order:
    """The create request, checked.

    Raises:
        Refusal: With the reason and the field at fault.
    """
    fields = await read_fields(request)
    prompt = checked_prompt(fields)
    model = fields.values.get("model") or DEFAULT_MODEL
    if not isinstance(model, str) or len(model) > 200 or not model.isprintable():
        raise _bad("model", "it must be a string")
    seconds = _seconds(fields.values.get("seconds"))
    width, height = _size(fields.values.get("size"))
    reference = fields.upload if fields.upload is not None else _data_url(fields.values)
    if reference is not None:
        await to_thread(_check_reference, reference, width, height)
    return Order(prompt, model, seconds, f"{width}x{height}", reference)


def checked_prompt(fields: Fields) -> str:
    """The prompt of a create or remix request."""
    prompt = fields.values.get("prompt")
    if prompt is None:
        raise Refusal(
            400,
            "Missing required parameter: 'prompt'.",
            param="prompt",
            code="missing_required_parameter",
        )
    if not isinstance(prompt, str):
        raise _bad("prompt", "it must be a string")
    if not prompt.strip():
        raise _bad("prompt", "it is empty", "empty_string")
    if len(prompt) > PROMPT_LIMIT:
        raise _bad(
            "prompt",
            f"it has {len(prompt)} characters, at most {PROMPT_LIMIT} are allowed",
            "string_above_max_length",
        )
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise _bad("prompt", "it is not valid Unicode") from None
    return prompt


def _seconds(value: Any) -> int:
    if value is None:
        return 4
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(number, str) and re.fullmatch("[0-9]{1,6}", number):
        number = int(number)
    if not isinstance(number, int) or isinstance(number, bool):
        raise _bad("seconds", f"{str(value)[:40]!r} is not a whole number")
    if not 1 <= number <= SECONDS_LIMIT:
        raise _bad("seconds", f"{number} is not from 1 to {SECONDS_LIMIT}")
    return number


def _size(value: Any) -> tuple[int, int]:
    if value is None:
        return 720, 1280
    match = re.fullmatch("([0-9]{1,5})x([0-9]{1,5})", value) if isinstance(value, str) else None
    if match is None:
        raise _bad("size", f"{str(value)[:40]!r} is not WIDTHxHEIGHT")
    width, height = int(match[1]), int(match[2])
    for edge in (width, height):
        if not 16 <= edge <= EDGE_LIMIT or edge % 2:
            raise _bad("size", f"{edge} is not an even number from 16 to {EDGE_LIMIT}")
    return width, height


def _data_url(values: Mapping[str, Any]) -> bytes | None:
    reference = values.get("input_reference")
    if reference is None:
        return None
    url = reference.get("image_url") if isinstance(reference, dict) else None
    if not isinstance(url, str):
        raise _bad("input_reference", "it must be a file or an object with image_url")
    match = re.match(r"data:[^,]{0,100};base64,", url)
    if match is None:
        raise _bad("input_reference", "this server takes data URLs only, not links")
    try:
        return base64.b64decode(url[match.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise _bad("input_reference", "its data URL is not base64") from None


def _check_reference(data: bytes, width: int, height: int) -> None:
    import warnings

    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=_IMAGE_FORMATS)
        if image.size == (width, height):
            image.load()
    except Exception:  # Pillow raises many kinds on bad bytes
        raise _bad("input_reference", "it is not a readable JPEG, PNG or WebP image") from None
    if image.size != (width, height):
        found = f"{image.size[0]}x{image.size[1]}"
        raise _bad(
            "input_reference",
            f"Inpaint image must match the requested width and height: the image is {found}, "
            f"the video {width}x{height}",
        )


def _bad(param: str, reason: str, code: str = "invalid_value") -> Refusal:
    return Refusal(400, f"Invalid '{param}': {reason}.", param=param, code=code)
