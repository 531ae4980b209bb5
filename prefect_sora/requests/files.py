"""Files that users point at: read from wherever they are.

A source is a path, an http(s), file: or data: URL, or any URL that fsspec opens. Messages and
records leave out its query, user and password, because a presigned URL is a secret. A file from
elsewhere names files of its own server alone: who typed its address did not type what stands in
it, and a path in it would be one of this machine.
"""

import asyncio
import base64
import binascii
import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import url2pathname

from prefect_sora.errors import InvalidRequestError
from prefect_sora.errors.addresses import PrivateAddressError, pinned
from prefect_sora.errors.redaction import in_private
from prefect_sora.limits import limits

ADDRESS_MAX_CHARACTERS: Final = 300
"""Longest address of a file that is written down. Ours: a line or two of a record."""


class UnreadableError(Exception):
    """Says why a source cannot be read, in words that hold no secret."""


async def load(
    source: str | Path | bytes,
    *,
    max_bytes: int,
    options: Mapping[str, Any] | None = None,
    private: bool = True,
) -> bytes:
    """Return a source's bytes, within `Limits.source_seconds`.

    Args:
        source: A path, an http(s) or data: URL, any URL that fsspec opens, or the bytes.
        max_bytes: The most that it may have.
        options: For fsspec's file system, such as credentials; http(s) takes none.
        private: Whether its host may be one of a private network: not where a file names it.

    Raises:
        UnreadableError: It is missing, unreadable, empty, too large, too slow or private.
    """
    try:
        async with asyncio.timeout(limits().source_seconds):
            data = await _read(source, max_bytes, dict(options or {}), private=private)
    except TimeoutError:
        problem = f"took longer than {limits().source_seconds:g} s to load"
    except FileNotFoundError:
        problem = "does not exist"
    except IsADirectoryError:
        problem = "is a folder"
    except (UnreadableError, PrivateAddressError) as error:
        problem = str(error)
    except Exception as error:  # whatever a file system raises; its text may hold the URL
        problem = f"could not be read ({type(error).__name__})"
    else:
        if data and len(data) <= max_bytes:
            return data
        problem = f"is larger than {binary(max_bytes)}" if data else "is empty"
    # Raised out here so that no cause travels along with the secret in its text.
    raise UnreadableError(problem)


def beside(source: str | Path, name: str) -> str | Path:
    """The address of another file in a source's folder."""
    text = str(source)
    if isinstance(source, Path) or not _SCHEME.match(text):
        return Path(text).parent / name
    place, rest = _PLACE.match(text).groups()  # type: ignore[union-attr]  # it matches any text
    return f"{place.rpartition('/')[0]}/{name}{rest}"


def is_url(source: str) -> bool:
    """Whether a source is a URL, and no path."""
    return _SCHEME.match(source) is not None


def is_relative(source: str) -> bool:
    """Whether a source is a path that depends on where one stands."""
    return not is_url(source) and not source.startswith("~") and not Path(source).is_absolute()


def is_folder(source: str | Path) -> bool:
    """Whether a source is a folder of this machine."""
    path = _path_of(source)
    return path is not None and os.path.isdir(path)  # which answers for impossible names, too


def is_missing(source: str | Path) -> bool:
    """Whether a source is a path of this machine at which there is no file."""
    path = _path_of(source)
    return path is not None and not os.path.isfile(path)


def _path_of(source: str | Path) -> Path | None:
    """A source as a path of this machine; None of a URL."""
    if not isinstance(source, Path) and is_url(source):
        return None
    try:
        return Path(source).expanduser()
    except RuntimeError:  # nobody here is called so
        return Path(source)


def seen_from(source: str | Path, name: str) -> str | Path:
    """The address of a file that a source names: a relative path begins in the source's folder.

    Raises:
        InvalidRequestError: The source is from elsewhere, and names what is not from there.
    """
    relative = is_relative(name)
    own = _origin(source)
    is_its_own = relative or name.lower().startswith("data:")
    if own and not is_its_own and ("::" in name or _origin(name) != own):
        raise InvalidRequestError(
            f'"{public_address(name)}" is not from where it is named: a file that is read from '
            f"{'://'.join(own)} names files from there alone.",
            next_step="Copy the file here and read that, or put beside it what it names.",
        )
    return beside(source, name) if relative else name


def is_elsewhere(source: str | Path) -> bool:
    """Whether a source is read from another machine."""
    return _origin(source) is not None


def _origin(source: str | Path) -> tuple[str, str] | None:
    """Scheme and host, or bucket, of a URL; None of a file of this machine."""
    whole = str(source)
    # Of file systems that are chained, as `zip://a.png::s3://…`, the last has the bytes.
    last = whole.rpartition("::")[2]
    if isinstance(source, Path) or not is_url(whole) or not is_url(last):
        return None
    parts = urlsplit(last)
    scheme = parts.scheme.lower()
    if scheme in ("file", "local", "data"):
        return None
    if scheme not in ("http", "https"):
        return scheme, parts.netloc  # with a container, which stands where a user does
    return scheme, parts.netloc.rpartition("@")[2].lower()


async def names_beside(source: str | Path, suffix: str) -> list[str]:
    """List the files with a suffix in a source's folder; none where that cannot be told."""
    folder = str(beside(source, ""))

    def listed() -> list[str]:
        import fsspec

        fs, path = fsspec.url_to_fs(folder)
        found: list[str] = fs.ls(path, detail=False)
        return sorted(name.rpartition("/")[2] for name in found if name.endswith(suffix))

    if folder.lower().startswith(("http://", "https://", "data:")):
        return []
    try:
        return await asyncio.to_thread(listed)
    except Exception:  # whatever a file system raises: the list is a help and no more
        return []


def may_change(source: str | Path | bytes | None) -> bool:
    """Whether a source is a URL that may give other bytes when it is asked again.

    A file of this machine does not count: who edits it between two runs means another picture.
    """
    if source is None or isinstance(source, (bytes, Path)) or not _SCHEME.match(source):
        return False
    return not source.lower().startswith(("data:", "file:"))


def as_written(url: str) -> str:
    """Return a URL without user and password, to tell one picture from another.

    Its query may still hold secrets: hash the result.
    """
    return re.sub(r"(?<=://)[^/?#]*@", "", url)


def public_address(source: str | Path | bytes | None) -> str | None:
    """Say where a source is, for records and people.

    The address has no user, password, query or fragment, any of which may be a secret,
    and is never longer than `ADDRESS_MAX_CHARACTERS`. Bytes have no address: None. A
    data: URL tells its type alone.
    """
    if source is None or isinstance(source, bytes):
        return None
    text = str(source)
    if not isinstance(source, Path) and _SCHEME.match(text):
        if text.lower().startswith("data:"):
            head, comma, _ = text.partition(",")
            text = f"data:{head[5:].partition(';')[0].strip() if comma else ''}"
        else:
            text = "::".join(map(_without_secrets, text.split("::")))
    if len(text) > ADDRESS_MAX_CHARACTERS:
        text = f"{text[: ADDRESS_MAX_CHARACTERS - 1]}…"
    return text


async def _read(
    source: str | Path | bytes, max_bytes: int, options: dict[str, Any], *, private: bool
) -> bytes:
    """Read up to one byte more than is allowed."""
    if isinstance(source, bytes):
        return source
    url = str(source)
    if path := _path_of(source):
        return await asyncio.to_thread(_read_path, path, max_bytes)
    if url.lower().startswith("data:"):
        return _read_data_url(url)
    if url.lower().startswith("file://"):  # fsspec would take its %20 for three letters
        return await asyncio.to_thread(_read_path, Path(url2pathname(url[7:])), max_bytes)
    if url.lower().startswith(("http://", "https://")):
        return await _read_http(url, max_bytes, private=private)
    return await asyncio.to_thread(_read_fsspec, url, max_bytes, options)


# Two letters at least, for `C:` is a drive; `zip::` chains file systems.
_SCHEME = re.compile(r"data:|[a-z][a-z0-9+.-]+(://|::)", re.IGNORECASE)


# The place ends before a query, or before the `::` that chains file systems.
_PLACE = re.compile(r"(.*?)((?:\?|::).*|)$", re.DOTALL)


def _read_path(path: Path, max_bytes: int) -> bytes:
    if path.is_dir():
        raise IsADirectoryError
    if path.exists() and not path.is_file():
        raise UnreadableError("is a device or a pipe, not a file")
    with path.open("rb") as file:
        return file.read(max_bytes + 1)


def _read_data_url(url: str) -> bytes:
    head, comma, body = url.partition(",")
    if not comma:
        raise UnreadableError("has no comma before its data")
    data = unquote_to_bytes(body)
    if not head.lower().endswith(";base64"):
        return data
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        raise UnreadableError("is not valid base64") from None


async def _read_http(url: str, max_bytes: int, *, private: bool) -> bytes:
    # Not fsspec's aiohttp, whose session outlives the call and whose errors quote the URL.
    import httpx2  # where it is used, as fsspec: no refusal waits for them

    data, at, typed = bytearray(), httpx2.URL(url), [httpx2.URL(url).host] * private
    with in_private():
        async with httpx2.AsyncClient(timeout=limits().source_seconds) as client:
            for _ in range(1 + limits().redirects):
                where, headers, more = await pinned(at, typed)
                request = client.build_request("GET", where, headers=headers, **more)
                answer = await client.send(request, stream=True, follow_redirects=False)
                async with contextlib.aclosing(answer):
                    if answer.has_redirect_location:
                        at = at.join(answer.headers["location"])
                        continue
                    if answer.status_code == 404:
                        raise FileNotFoundError
                    if answer.status_code != 200:
                        raise UnreadableError(f"was not served: HTTP status {answer.status_code}")
                    if answer.headers.get("content-encoding", "identity") != "identity":
                        raise UnreadableError("came packed, which was not asked for")
                    async for chunk in answer.aiter_raw(64 * 1024):
                        data += chunk
                        if len(data) > max_bytes:
                            break
                    return bytes(data)
    raise UnreadableError("is redirected in circles")


def _read_fsspec(url: str, max_bytes: int, options: dict[str, Any]) -> bytes:
    import fsspec

    fs, path = fsspec.url_to_fs(url, **options)
    if fs.isdir(path):
        raise IsADirectoryError
    with fs.open(path, "rb") as file:
        return bytes(file.read(max_bytes + 1))


def _without_secrets(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    place = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = place.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def binary(size_bytes: int) -> str:
    """Say a size in MiB, or in KiB."""
    mebibytes = size_bytes / 2**20
    return f"{mebibytes:g} MiB" if mebibytes >= 1 else f"{size_bytes / 2**10:g} KiB"
