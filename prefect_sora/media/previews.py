"""Small pictures of a finished video for people: thumbnail, spritesheet and moving preview.

The frames are decoded one by one and shrunk at once; no two are held in full size. So memory
grows with the frame (27 MiB at 1280x720, half of it the decoder's) and not with the length. The
file may be remote: only the ranges that are needed are read.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import av
from PIL import Image, ImageStat

from prefect_sora.limits import limits
from prefect_sora.media.frames import OpenVideo, Viewer, file_of, image_of, show

THUMBNAIL_SIDE = 1280  # fills a page, at some 50 kB
PREVIEW_SECONDS, PREVIEW_FPS, PREVIEW_SIDE, PREVIEW_MAX_BYTES = 4.0, 8.0, 480, 400_000
_CELL_SIDE = 320

# Spread of brightness (0 to 127) below which a frame shows nothing: a fade-in, a blank wall.
_BLANK_STDDEV = 6.0
# From good to poor; after the last, frames are left out.
_WEBP_QUALITIES = (60, 40, 20, 5)


@dataclass(frozen=True, slots=True)
class Stills:
    """Pictures of one video, as files.

    Attributes:
        thumbnail: A WebP of the first frame that shows something, at most 1280 pixels a side.
        spritesheet: A JPEG of frames spread evenly over the video, read like a page.
        preview: A WebP that moves: the first seconds.
    """

    thumbnail: bytes
    spritesheet: bytes
    preview: bytes


def stills(
    file: Path | BinaryIO, *, columns: int = 4, rows: int = 3, within_seconds: float = math.inf
) -> Stills:
    """Make a video's thumbnail, spritesheet and preview, decoding it once.

    Args:
        file: The video.
        columns: How many pictures stand side by side on the spritesheet.
        rows: How many lines of them it has.
        within_seconds: How long decoding it may take.

    Raises:
        CorruptVideoError: It is no readable MP4 video, or takes too long. Fetch it again.
    """
    first, sheet, moving = _Thumbnail(), _Sheet(columns, rows), _Preview()
    show(file, first, sheet, moving, within_seconds=within_seconds)
    return Stills(first.webp(), sheet.jpeg(), moving.webp())


def preview(
    file: Path | BinaryIO,
    *,
    max_bytes: int = PREVIEW_MAX_BYTES,
    width: int = PREVIEW_SIDE,
    fps: float = PREVIEW_FPS,
    max_seconds: float = PREVIEW_SECONDS,
    within_seconds: float = math.inf,
) -> bytes:
    """Make a WebP that moves, of the video's first seconds.

    Args:
        file: The video.
        max_bytes: The largest file; quality is lowered until it fits, then frames are left out.
        width: Its longer side, in pixels.
        fps: Frames a second.
        max_seconds: How much of the video it shows.
        within_seconds: How long decoding it may take.

    Raises:
        CorruptVideoError: It is no readable MP4 video, or takes too long. Fetch it again.
    """
    viewer = _Preview(max_bytes, width, fps, max_seconds)
    show(file, viewer, within_seconds=within_seconds)
    return viewer.webp()


class _Thumbnail(Viewer):
    """The first frame with something to see, else the one with the most."""

    def __init__(self) -> None:
        self._most = -1.0
        self._image = Image.new("RGB", (1, 1))

    def see(self, seconds: float, frame: av.VideoFrame) -> None:
        contrast = ImageStat.Stat(_shrunk(frame, 64).convert("L")).stddev[0]
        if contrast > self._most:
            self._most, self._image = contrast, _shrunk(frame, THUMBNAIL_SIDE)
        self.done = contrast >= _BLANK_STDDEV or seconds >= PREVIEW_SECONDS

    def webp(self) -> bytes:
        return file_of(self._image, "WEBP", quality=80, method=2)


class _Sheet(Viewer):
    """Pictures at evenly spread times; in a long video they are sought, not decoded up to."""

    def __init__(self, columns: int, rows: int) -> None:
        self._columns, self._rows = columns, rows
        self._times: list[float] = []
        self._is_long = False
        self._cells: list[Image.Image] = []
        self._before: av.VideoFrame | None = None

    def begin(self, video: OpenVideo) -> None:
        seconds, count = video.seconds or PREVIEW_SECONDS, self._columns * self._rows
        self._times = [seconds * (index + 0.5) / count for index in range(count)]
        self.done = self._is_long = seconds > limits().one_pass_seconds

    def see(self, seconds: float, frame: av.VideoFrame) -> None:
        # A cell shows the frame that is on screen at its time: the last one not after it.
        while not self.done and self._times[len(self._cells)] < seconds:
            self._cells.append(_shrunk(self._before or frame, _CELL_SIDE))
            self.done = len(self._cells) == len(self._times)
        self._before = frame

    def end(self, video: OpenVideo, last: av.VideoFrame) -> None:
        self._before = None
        for seconds in self._times[len(self._cells) :]:
            frame = video.keyframe(seconds) if self._is_long else None
            self._cells.append(_shrunk(frame or last, _CELL_SIDE))

    def jpeg(self) -> bytes:
        width, height = self._cells[0].size
        sheet = Image.new("RGB", (width * self._columns, height * self._rows))
        for index, cell in enumerate(self._cells):
            row, column = divmod(index, self._columns)
            sheet.paste(cell, (column * width, row * height))
        return file_of(sheet, "JPEG", quality=80)


class _Preview(Viewer):
    """The first seconds, at few frames a second."""

    def __init__(
        self,
        max_bytes: int = PREVIEW_MAX_BYTES,
        side: int = PREVIEW_SIDE,
        fps: float = PREVIEW_FPS,
        max_seconds: float = PREVIEW_SECONDS,
    ) -> None:
        self._max_bytes, self._side, self._fps, self._until = max_bytes, side, fps, max_seconds
        self._frames: list[tuple[float, Image.Image]] = []

    def see(self, seconds: float, frame: av.VideoFrame) -> None:
        # A millisecond's grace, for times are rounded to the stream's clock.
        if self._frames and seconds >= self._until:
            self.done = True
        elif not self._frames or seconds + 0.001 >= self._frames[-1][0] + 1 / self._fps:
            self._frames.append((seconds, _shrunk(frame, self._side)))

    def webp(self) -> bytes:
        frames = self._frames
        for quality in _WEBP_QUALITIES:
            data = self._written(frames, quality)
            if len(data) <= self._max_bytes:
                return data
        while len(data) > self._max_bytes and len(frames) > 1:
            frames = frames[::2]
            data = self._written(frames, _WEBP_QUALITIES[-1])
        return data

    def _written(self, frames: Sequence[tuple[float, Image.Image]], quality: int) -> bytes:
        times = [seconds for seconds, _ in frames]
        times.append(self._frames[-1][0] + 1 / self._fps)
        first, *others = (image for _, image in frames)
        return file_of(
            first,
            "WEBP",
            save_all=True,
            append_images=others,
            duration=[round(1000 * (end - start)) for start, end in pairwise(times)],
            loop=0,
            quality=quality,
            method=0,
        )


def _shrunk(frame: av.VideoFrame, side: int) -> Image.Image:
    """The frame as RGB, with its longer side at most `side` pixels."""
    scale = min(1.0, side / max(frame.width, frame.height))
    width, height = (max(1, round(length * scale)) for length in (frame.width, frame.height))
    return image_of(frame, width, height)
