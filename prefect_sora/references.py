"""Make any picture a user points at the picture that a render can start from.

`prepare` loads a reference from wherever it is and fits it to the video's
size; every reason why that cannot be is found here, before a render is paid.
A source is named in errors without its query, user and password: a presigned
URL is a secret.
"""

import asyncio
import base64
import binascii
import hashlib
import io
import logging
import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote_to_bytes
from urllib.request import url2pathname

import fsspec
import httpx2
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from prefect_sora.errors import ReferenceImageError

Mode = Literal["cover", "contain", "exact"]

# OpenAI's limit for each image of its images API ("less than 50MB").
MAX_BYTES = 50 * 1024 * 1024
# Twice an 8K frame (7680x4320); one decoded copy takes 192 MiB at most.
MAX_PIXELS = 64 * 1024 * 1024
# Ours: the largest image at 1 MB a second.
LOAD_TIMEOUT_SECONDS = 60.0

# What the video protocol takes, by Pillow's name; anything else is written anew as PNG.
_WIRE = {
    "JPEG": ("image/jpeg", ".jpg"),
    "PNG": ("image/png", ".png"),
    "WEBP": ("image/webp", ".webp"),
}
_READ = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_ALLOWED = "JPEG, PNG, WebP, GIF, BMP and TIFF images are read, up to 50 MiB and 64 megapixels."


@dataclass(frozen=True)
class Reference:
    """A picture ready to send.

    Attributes:
        data: The fitted bytes.
        content_type: Told from the content, not from a suffix.
        filename: A neutral name with the right suffix.
        source_sha256: Hash of the bytes as the user gave them, for the render's identity.
    """

    data: bytes = field(repr=False)
    content_type: str
    filename: str
    source_sha256: str


async def prepare(
    source: str | Path | bytes,
    size: tuple[int, int] | None,
    mode: Mode = "cover",
    *,
    options: Mapping[str, Any] | None = None,
) -> Reference:
    """Load a picture and fit it; see `load_source` and `fit`.

    Raises:
        ReferenceImageError: It cannot be loaded or fitted. Nothing was sent.
    """
    original = await load_source(source, options=options)
    data, content_type, suffix = await asyncio.to_thread(fit, original, size, mode)
    digest = hashlib.sha256(original).hexdigest()
    return Reference(data, content_type, f"reference{suffix}", digest)


async def load_source(
    source: str | Path | bytes, *, options: Mapping[str, Any] | None = None
) -> bytes:
    """Return a picture's bytes, at most `MAX_BYTES`, within `LOAD_TIMEOUT_SECONDS`.

    Args:
        source: A path, an http(s) or data: URL, any URL that fsspec opens, or the bytes.
        options: For fsspec's file system, such as credentials; http(s) takes none.

    Raises:
        ReferenceImageError: It is missing, unreadable, empty, too large or too slow.
    """
    try:
        async with asyncio.timeout(LOAD_TIMEOUT_SECONDS):
            data = await _read(source, dict(options or {}))
    except TimeoutError:
        problem = f"took longer than {LOAD_TIMEOUT_SECONDS:g} s to load"
    except FileNotFoundError:
        problem = "does not exist"
    except IsADirectoryError:
        problem = "is a folder"
    except _UnloadableError as error:
        problem = str(error)
    except Exception as error:  # whatever a file system raises; its text may hold the URL
        problem = f"could not be read ({type(error).__name__})"
    else:
        if data and len(data) <= MAX_BYTES:
            return data
        problem = "is larger than 50 MiB" if data else "is empty"
    # Raised out here so that no cause travels along with the secret in its text.
    raise ReferenceImageError(
        f"The reference image {_shown(source)} {problem}. {_ALLOWED}",
        next_step="Point it to a readable picture, then run again.",
    )


def fit(data: bytes, size: tuple[int, int] | None, mode: Mode = "cover") -> tuple[bytes, str, str]:
    """Return the picture at exactly `size`, its content type and its suffix.

    A picture that needs no change passes unchanged, byte for byte, with its
    metadata. Any other is turned upright (EXIF), reduced to its first frame
    and to 8-bit RGB, laid on white where it is transparent (a video has no
    alpha), and written without metadata (GPS too): JPEG at quality 95 from
    JPEG, else PNG. Equal input gives equal output.

    Args:
        data: A picture of a kind that `_ALLOWED` names.
        size: Width and height of the video; None keeps the picture's own.
        mode: `cover` fills the frame and crops the middle, `contain` shows all
            between black bars, `exact` refuses any other size.

    Raises:
        ReferenceImageError: No picture, broken, too large, or not of the exact size.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_READ) as image:
            return _fit(data, image, size, mode)
    except ReferenceImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels("far too many") from error
    except UnidentifiedImageError as error:
        raise ReferenceImageError(
            f"The reference is not an image we read: it is {_looks_like(data)}. {_ALLOWED}",
            next_step="Save it as PNG or JPEG.",
        ) from error
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, …
        raise ReferenceImageError(
            f"The reference image is cut or damaged ({error}). {_ALLOWED}",
            next_step="Save or fetch it again.",
        ) from error


def _fit(
    data: bytes, image: Image.Image, size: tuple[int, int] | None, mode: Mode
) -> tuple[bytes, str, str]:
    if image.width * image.height > MAX_PIXELS:  # known from the header, before any is decoded
        raise _too_many_pixels(f"{image.width}x{image.height}")
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    upright = ImageOps.exif_transpose(image)
    size = size or upright.size
    if mode == "exact" and upright.size != size:
        raise ReferenceImageError(
            "The reference image is {}x{}, but the video {}x{}.".format(*upright.size, *size),
            next_step='Resize it, or have it fitted with mode "cover" or "contain".',
        )
    sendable = image.format in _WIRE and not getattr(image, "is_animated", False)
    if sendable and not turned and upright.size == size and _is_plain(upright):
        return data, *_WIRE[str(image.format)]
    fitted = (_contain if mode == "contain" else _cover)(_to_rgb(upright), size)
    fitted.info = {}  # Pillow would write its comment
    profile = upright.info.get("icc_profile") if upright.mode in ("RGB", "RGBA") else None
    out = io.BytesIO()
    if image.format in ("JPEG", "MPO"):  # MPO: a phone's JPEG with further pictures behind it
        fitted.save(out, "JPEG", quality=95, subsampling=0, icc_profile=profile)
        return out.getvalue(), *_WIRE["JPEG"]
    fitted.save(out, "PNG", icc_profile=profile)
    return out.getvalue(), *_WIRE["PNG"]


def _is_plain(image: Image.Image) -> bool:
    """Whether every reader sees the same picture: 8 bits a channel, and opaque."""
    if image.mode == "RGBA":
        return image.getchannel("A").getextrema() == (255, 255)
    return image.mode in ("RGB", "L") and not image.has_transparency_data


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ReferenceImageError(
            f"The reference image has floating-point pixels, whose white is unknown. {_ALLOWED}",
            next_step="Save it with 8 bits a channel.",
        )
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip instead of scale
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    ground = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(ground, layer).convert("RGB")


def _cover(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS)


def _contain(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    scale = min(size[0] / image.width, size[1] / image.height)
    width, height = (max(1, round(side * scale)) for side in image.size)
    frame = Image.new("RGB", size, "black")
    corner = ((size[0] - width) // 2, (size[1] - height) // 2)
    frame.paste(image.resize((width, height), Image.Resampling.LANCZOS), corner)
    return frame


def _too_many_pixels(size: str) -> ReferenceImageError:
    return ReferenceImageError(
        f"The reference image has too many pixels ({size}). {_ALLOWED}",
        next_step="Make it smaller: a video's frame is enough.",
    )


def _looks_like(data: bytes) -> str:
    text = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    if data[4:8] == b"ftyp":
        return "HEIC, AVIF or a video"
    if text.startswith(b"<"):
        return "an HTML, SVG or XML page"
    if text.startswith((b"{", b"[")):
        return "JSON"
    printable = text.isascii() and text.decode().replace("\n", "").isprintable()
    return "text" if printable else "unknown data"


class _UnloadableError(Exception):
    """Says why, in words that hold no secret."""


async def _read(source: str | Path | bytes, options: dict[str, Any]) -> bytes:
    """Up to one byte more than is allowed."""
    if isinstance(source, bytes):
        return source
    url = str(source)
    if isinstance(source, Path) or not _SCHEME.match(url):
        return await asyncio.to_thread(_read_path, Path(source).expanduser())
    if url.lower().startswith("data:"):
        return _read_data_url(url)
    if url.lower().startswith("file://"):  # fsspec would take its %20 for three letters
        return await asyncio.to_thread(_read_path, Path(url2pathname(url[7:])))
    if url.lower().startswith(("http://", "https://")):
        return await _read_http(url)
    return await asyncio.to_thread(_read_fsspec, url, options)


# Two letters at least, for `C:` is a drive; `zip::` chains file systems.
_SCHEME = re.compile(r"data:|[A-Za-z][A-Za-z0-9+.-]+(://|::)")


def _read_path(path: Path) -> bytes:
    if path.is_dir():
        raise IsADirectoryError
    if path.exists() and not path.is_file():
        raise _UnloadableError("is a device or a pipe, not a file")
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _read_data_url(url: str) -> bytes:
    head, comma, body = url.partition(",")
    if not comma:
        raise _UnloadableError("has no comma before its data")
    data = unquote_to_bytes(body)
    if not head.lower().endswith(";base64"):
        return data
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        raise _UnloadableError("is not valid base64") from None


_in_private: ContextVar[bool] = ContextVar("prefect_sora_references_in_private", default=False)


def _may_be_logged(_: logging.LogRecord) -> bool:
    return not _in_private.get()


# They log a URL with its query, and the place that a redirect leads to. Only our own loads are
# silenced: a filter asks its record's context.
for _name in ("httpx2", *(f"httpcore2.{part}" for part in ("connection", "http11", "proxy"))):
    logging.getLogger(_name).addFilter(_may_be_logged)


async def _read_http(url: str) -> bytes:
    # Not fsspec's aiohttp, whose session outlives the call and whose errors quote the URL.
    token = _in_private.set(True)
    data = bytearray()
    try:
        async with (
            httpx2.AsyncClient(
                follow_redirects=True, max_redirects=5, timeout=LOAD_TIMEOUT_SECONDS
            ) as client,
            client.stream("GET", url) as answer,
        ):
            if answer.status_code == 404:
                raise FileNotFoundError
            if answer.status_code != 200:
                raise _UnloadableError(f"was not served: HTTP status {answer.status_code}")
            async for chunk in answer.aiter_bytes(64 * 1024):
                data += chunk
                if len(data) > MAX_BYTES:
                    break
    finally:
        _in_private.reset(token)
    return bytes(data)


def _read_fsspec(url: str, options: dict[str, Any]) -> bytes:
    fs, path = fsspec.url_to_fs(url, **options)
    if fs.isdir(path):
        raise IsADirectoryError
    with fs.open(path, "rb") as file:
        return bytes(file.read(MAX_BYTES + 1))


def _shown(source: str | Path | bytes) -> str:
    """The source without what may be secret in it."""
    if isinstance(source, bytes):
        return "given as bytes"
    url = str(source)
    if isinstance(source, Path) or not _SCHEME.match(url):
        return f'"{url}"'
    if url.lower().startswith("data:"):
        return "in the data: URL"
    return f'"{"::".join(map(_without_secrets, url.split("::")))}"'


def _without_secrets(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    place = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = place.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
