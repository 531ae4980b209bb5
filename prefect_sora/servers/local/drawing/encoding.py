"""Encoding: planes and samples become an H.264 and AAC file, one frame in memory at a time."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av

from prefect_sora.servers.local.drawing.planes import Planes
from prefect_sora.servers.local.drawing.scenery import FPS
from prefect_sora.servers.local.drawing.sound import RATE

_THREADS = 2


class Mp4Writer:
    """An MP4 file that plays while it arrives: its index stands before its frames."""

    def __init__(self, path: Path, width: int, height: int) -> None:
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        self._container.metadata["comment"] = "made by the local renderer of prefect-sora"
        video: Any = self._container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.options = {"preset": "superfast", "crf": "22", "threads": str(_THREADS)}
        video.gop_size = 2 * FPS
        context = video.codec_context
        context.color_range, context.colorspace = 1, 6  # limited, BT.601, as `planes` says
        context.color_primaries, context.color_trc = 6, 6
        audio: Any = self._container.add_stream("aac", rate=RATE)
        audio.layout, audio.bit_rate = "mono", 64_000
        audio.options = {"aac_coder": "fast"}  # the other one takes longer than a small video
        self._video, self._audio = video, audio
        self._frames = self._samples = 0

    def add_frame(self, picture: Planes) -> None:
        """Append one frame."""
        frame = av.VideoFrame(*picture.size, "yuv420p")
        for plane, data in zip(frame.planes, (picture.y, picture.u, picture.v), strict=True):
            if plane.line_size != data.width:  # rows are padded for the processor's sake
                data = data.crop((0, 0, plane.line_size, data.height))
            plane.update(data.tobytes())
        frame.pts, frame.time_base = self._frames, Fraction(1, FPS)
        frame.duration = 1
        self._frames += 1
        self._container.mux(self._video.encode(frame))

    def add_sound(self, samples: bytes) -> None:
        """Append mono samples of 16 bits."""
        count = len(samples) // 2
        frame = av.AudioFrame("s16", "mono", count)
        frame.planes[0].update(samples)
        frame.sample_rate = RATE
        frame.pts, frame.time_base = self._samples, Fraction(1, RATE)
        self._samples += count
        self._container.mux(self._audio.encode(frame))

    def __enter__(self) -> "Mp4Writer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._container.mux(self._video.encode(None))
            self._container.mux(self._audio.encode(None))
        self._container.close()
