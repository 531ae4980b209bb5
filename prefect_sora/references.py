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
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes
from urllib.request import url2pathname

import fsspec
import httpx2

from prefect_sora.errors import ReferenceImageError
from prefect_sora.fitting import ALLOWED, Mode, fit
from prefect_sora.private_urls import in_private

# OpenAI's limit for each image of its images API ("less than 50MB").
MAX_BYTES = 50 * 1024 * 1024
# Ours: the largest image at 1 MB a second.
LOAD_TIMEOUT_SECONDS = 60.0
# Ours: a line or two of a record.
ADDRESS_MAX_CHARACTERS = 300


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
        f"The reference image {_shown(source)} {problem}. {ALLOWED}",
        next_step="Point it to a readable picture, then run again.",
    )


def public_address(reference: str | Path | bytes | None) -> str | None:
    """Say where a picture came from, for records and people.

    Without user, password, query and fragment, any of which may be a secret, and
    never longer than `ADDRESS_MAX_CHARACTERS`. Bytes came from nowhere: None. Of a
    data: URL the type alone is told.
    """
    if reference is None or isinstance(reference, bytes):
        return None
    text = str(reference)
    if not isinstance(reference, Path) and _SCHEME.match(text):
        if text.lower().startswith("data:"):
            head, comma, _ = text.partition(",")
            text = f"data:{head[5:].partition(';')[0].strip() if comma else ''}"
        else:
            text = "::".join(map(_without_secrets, text.split("::")))
    if len(text) > ADDRESS_MAX_CHARACTERS:
        text = f"{text[: ADDRESS_MAX_CHARACTERS - 1]}…"
    return text


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
_SCHEME = re.compile(r"data:|[a-z][a-z0-9+.-]+(://|::)", re.IGNORECASE)


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


async def _read_http(url: str) -> bytes:
    # Not fsspec's aiohttp, whose session outlives the call and whose errors quote the URL.
    data = bytearray()
    with in_private():
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
    return bytes(data)


def _read_fsspec(url: str, options: dict[str, Any]) -> bytes:
    fs, path = fsspec.url_to_fs(url, **options)
    if fs.isdir(path):
        raise IsADirectoryError
    with fs.open(path, "rb") as file:
        return bytes(file.read(MAX_BYTES + 1))


def _shown(source: str | Path | bytes) -> str:
    """The source without what may be secret in it."""
    address = public_address(source)
    if address is None:
        return "given as bytes"
    return "in the data: URL" if str(source).lower().startswith("data:") else f'"{address}"'


def _without_secrets(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    place = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = place.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
