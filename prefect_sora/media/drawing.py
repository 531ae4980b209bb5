"""Drawing: the pictures of a video, made in a child process that has bounds of memory and time.

What decodes is imported there, and not here.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO, Final

from prefect_sora.limits import limits
from prefect_sora.limits.guarded import GuardedError, call
from prefect_sora.media.mp4 import unreadable

_SHEETS: Final = "prefect_sora.media.join.contact_sheets"


def stills(file: Path | BinaryIO) -> dict[str, bytes]:
    """Make a video's thumbnail, spritesheet and preview, each by its name.

    Raises:
        CorruptVideoError: It is no readable MP4 video, or takes too long or too much memory.
    """
    names = ("thumbnail", "spritesheet", "preview")
    return dict(zip(names, _drawn(f"{__name__}:_stills", file, limits().draw_seconds), strict=True))


def preview(file: BinaryIO) -> dict[str, bytes]:
    """Make its preview alone.

    Raises:
        CorruptVideoError: As `stills`.
    """
    return {
        "preview": _drawn("prefect_sora.media.previews:preview", file, limits().draw_seconds)[0]
    }


def last_frame(file: BinaryIO) -> bytes:
    """Return the last frame that it shows, as a PNG of its full size.

    Raises:
        CorruptVideoError: As `stills`.
    """
    return _drawn(f"{_SHEETS}:last_frame", file, limits().stills_seconds)[0]


def _drawn(work: str, file: Path | BinaryIO, within_seconds: float) -> list[bytes]:
    opening: Any = file.open("rb") if isinstance(file, Path) else nullcontext(file)
    try:
        with opening as source:
            return call(
                work,
                file=source,
                within_seconds=within_seconds,
                memory_bytes=limits().draw_memory_bytes,
            )
    except GuardedError as error:
        why = str(error)
    raise unreadable(why.removeprefix("The video cannot be read: ").rstrip("."))


def _stills(file: BinaryIO) -> Iterator[bytes]:
    from prefect_sora.media import previews

    made = previews.stills(file)
    yield from (made.thumbnail, made.spritesheet, made.preview)
