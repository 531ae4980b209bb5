"""Make any picture a user points at the picture that a render can start from.

`prepare` loads a reference from wherever it is and fits it to the video's
size; every reason why that cannot be is found here, before a render is paid.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect_sora import sources
from prefect_sora.errors import ReferenceImageError
from prefect_sora.fitting import Mode, allowed, fit
from prefect_sora.limits import limits
from prefect_sora.sources import public_address


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
    """Load a picture and fit it to the video's size.

    Args:
        source: A path, an http(s) or data: URL, any URL that fsspec opens, or the bytes.
        size: Width and height of the video in pixels; None leaves the picture's own.
        mode: How a picture of another shape is fitted.
        options: For fsspec's file system, such as credentials; http(s) takes none.

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
    """Return a picture's bytes, at most `Limits.picture_max_bytes`, within a minute.

    Args:
        source: A path, an http(s) or data: URL, any URL that fsspec opens, or the bytes.
        options: For fsspec's file system, such as credentials; http(s) takes none.

    Raises:
        ReferenceImageError: It is missing, unreadable, empty, too large or too slow.
    """
    try:
        return await sources.load(source, max_bytes=limits().picture_max_bytes, options=options)
    except sources.UnreadableError as error:
        problem = str(error)
    raise ReferenceImageError(
        f"The reference image {_shown(source)} {problem}. {allowed()}",
        next_step="Point it to a readable picture, then run again.",
    )


def _shown(source: str | Path | bytes) -> str:
    """The source without what may be secret in it."""
    address = public_address(source)
    if address is None:
        return "given as bytes"
    return "in the data: URL" if str(source).lower().startswith("data:") else f'"{address}"'


__all__ = ["Reference", "load_source", "prepare", "public_address"]
