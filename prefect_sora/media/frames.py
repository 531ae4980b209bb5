"""Frames: a finished video is opened and decoded once for all pictures that are made of it."""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

import av
from PIL import Image

from prefect_sora.limits import limits
from prefect_sora.media.mp4 import unreadable as unreadable


@dataclass(frozen=True, slots=True)
class OpenVideo:
    """A video whose frames can be read."""

    container: av.container.InputContainer
    stream: av.VideoStream
    seconds: float | None
    until: float = math.inf  # of the monotonic clock

    def frames(self) -> Iterator[tuple[float, av.VideoFrame]]:
        """Decode frames from where the container stands, each with its time in seconds.

        Raises:
            CorruptVideoError: Decoding takes longer than was allowed.
        """
        start = self.stream.start_time or 0
        for frame in self.container.decode(self.stream):
            if monotonic() > self.until:
                raise unreadable("looking at it takes too long")
            if frame.pts is not None and frame.time_base is not None:
                yield float((frame.pts - start) * frame.time_base), frame

    def keyframe(self, seconds: float) -> av.VideoFrame | None:
        """The keyframe at or before a time in seconds; None where there is none."""
        base = self.stream.time_base
        offset = (self.stream.start_time or 0) + (int(seconds / base) if base else 0)
        self.container.seek(offset, stream=self.stream)
        return next((frame for _, frame in self.frames()), None)


@contextmanager
def opened(file: Path | BinaryIO, within_seconds: float = math.inf) -> Iterator[OpenVideo]:
    """Open a video as MP4 and nothing else.

    Args:
        file: The video.
        within_seconds: How long its frames may be decoded from now on.

    Raises:
        CorruptVideoError: It is no readable MP4 video.
    """
    until = monotonic() + within_seconds
    opening = file.open("rb") if isinstance(file, Path) else nullcontext(file)
    try:
        # Opened by us and as MP4 alone: FFmpeg would follow a URL, or a playlist's entries.
        # A name in it that is no UTF-8 is no reason not to look at its pictures.
        with (
            opening as source,
            av.open(source, "r", format="mp4", metadata_errors="replace") as container,
        ):
            if not container.streams.video:
                raise unreadable("it has no video stream")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise unreadable("its codec is not known")
            stream.codec_context.thread_count = 1  # each further one holds frames of its own
            yield OpenVideo(container, stream, _seconds(container, stream), until)
    except av.FFmpegError as error:
        raise unreadable(type(error).__name__) from error


def _seconds(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


class Viewer:
    """Makes one picture of a video: it is shown the frames, and keeps what it needs of them.

    The picture is written when the decoder is closed, so that the two never hold memory at once.

    Attributes:
        done: Set once no further frame is needed.
    """

    done = False

    def begin(self, video: OpenVideo) -> None:
        """Learn of the video, before the first frame is decoded."""

    def see(self, seconds: float, frame: av.VideoFrame) -> None:
        """Take what is needed of a frame; `seconds` is its time from the start."""

    def end(self, video: OpenVideo, last: av.VideoFrame) -> None:
        """Take what is missing after the last frame that was decoded."""


def show(file: Path | BinaryIO, *viewers: Viewer, within_seconds: float = math.inf) -> None:
    """Decode a video once for all viewers, and stop when none of them needs more.

    Args:
        file: The video.
        viewers: Those that are shown its frames.
        within_seconds: How long decoding it may take.

    Raises:
        CorruptVideoError: It is no readable MP4 video, or takes too long.
    """
    with opened(file, within_seconds) as video:
        for viewer in viewers:
            viewer.begin(video)
        frame = None
        for number, (seconds, frame) in enumerate(video.frames(), 1):
            if number > limits().draw_frames:
                raise unreadable("it has more frames than any that is looked at")
            for viewer in viewers:
                if not viewer.done:
                    viewer.see(seconds, frame)
            if all(viewer.done for viewer in viewers):
                break
        if frame is None:
            raise unreadable("it has no frames")
        for viewer in viewers:
            viewer.end(video, frame)


def image_of(frame: av.VideoFrame, width: int, height: int) -> Image.Image:
    """The frame as an RGB picture of this size, in pixels; FFmpeg scales it before it is copied."""
    plane = frame.reformat(width, height, "rgb24", interpolation="AREA").planes[0]
    # Not `to_image`, which copies the picture three times on its way.
    pixels: Any = plane  # a buffer, though Pillow's types ask for bytes
    return Image.frombuffer("RGB", (width, height), pixels, "raw", "RGB", plane.line_size, 1)


def file_of(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The picture as a file of a kind that Pillow writes, such as `WEBP`, with Pillow's options."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()
