"""Decoding: given pictures and videos become the planes and samples that are encoded again."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import av
from PIL import Image

from prefect_sora.servers.local.drawing.planes import Planes
from prefect_sora.servers.local.drawing.scenery import FPS
from prefect_sora.servers.local.drawing.sound import RATE

_PORTRAIT_AT = 1 / 3
"""Where in its video a character's picture is taken, as a share of the length."""

_PORTRAIT_EDGE = 320


@dataclass(frozen=True)
class Shape:
    """What an uploaded video measures: even edges in pixels, whole seconds."""

    width: int
    height: int
    seconds: int


def shape_of(file: BinaryIO) -> Shape:
    """Measure a video, its first frame decoded.

    Raises:
        ValueError: It is no video that can be read.
    """
    try:
        with av.open(file, "r") as container:
            frame = next(container.decode(video=0))
            duration = container.duration
    except (av.error.FFmpegError, StopIteration, IndexError, ValueError):
        raise ValueError("it is not a readable video") from None
    seconds = max(1, round((duration or av.time_base) / av.time_base))
    return Shape(frame.width & ~1, frame.height & ~1, seconds)


def frames_of(video: Path | BinaryIO, count: int) -> Iterator[Planes]:
    """Decode exactly `count` frames at our rate, whatever the video's own; the last one stays.

    Raises:
        ValueError: The video has no frames.
    """
    number = 0
    shown: Planes | None = None
    with av.open(str(video) if isinstance(video, Path) else video, "r") as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            # A frame is shown from its own time on; half a frame forgives rounding.
            while shown is not None and (number + 0.5) / FPS < (frame.time or 0.0):
                yield shown
                number += 1
                if number == count:
                    return
            shown = Planes.of_frame(_even(frame))
    if shown is None:
        raise ValueError("the video has no frames")
    for _ in range(count - number):
        yield shown


def portrait_of(video: bytes) -> bytes:
    """A character's picture, taken from its video: a WebP file.

    Raises:
        ValueError: It is no video that can be read.
    """
    count = shape_of(io.BytesIO(video)).seconds * FPS
    shown_at = int(count * _PORTRAIT_AT)
    frame = next(islice(frames_of(io.BytesIO(video), count), shown_at, None))
    picture = frame.small(max(frame.size))
    picture.thumbnail((_PORTRAIT_EDGE, _PORTRAIT_EDGE))
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=85)
    return file.getvalue()


def sound_of(path: Path, seconds: int) -> list[bytes]:
    """The sound, a piece for each second: mono, 16 bits; silence where there is none."""
    samples = bytearray()
    wanted = seconds * RATE * 2
    with av.open(str(path)) as container:
        if container.streams.audio:
            resampler = av.AudioResampler("s16", "mono", RATE)
            for frame in container.decode(audio=0):
                for piece in resampler.resample(frame):
                    samples += bytes(piece.planes[0])[: piece.samples * 2]
                if len(samples) >= wanted:
                    break
    samples = samples[:wanted].ljust(wanted, b"\0")
    return [bytes(samples[i : i + RATE * 2]) for i in range(0, wanted, RATE * 2)]


def still(data: Path) -> Planes:
    """A reference image as the planes of a frame."""
    with Image.open(data) as image:
        if image.has_transparency_data:
            clear = image.convert("RGBA")
            return Planes.of(Image.alpha_composite(Image.new("RGBA", image.size, "white"), clear))
        return Planes.of(image)


def _even(frame: Any) -> Any:
    width, height = frame.width & ~1, frame.height & ~1
    if frame.format.name == "yuv420p" and (width, height) == (frame.width, frame.height):
        return frame
    return frame.reformat(width=width, height=height, format="yuv420p")
