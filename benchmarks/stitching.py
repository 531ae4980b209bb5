"""Stitching: ten clips become a film, their packets copied, against encoding them anew."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import av

from benchmarks.table import Row, alternate
from prefect_sora.media.join import join

CLIPS, SECONDS, FPS, SIZE = 10, 4, 24, (1280, 720)
TARGET = 0.05
"""Twenty times as fast."""


def measure(rounds: int) -> Iterator[Row]:
    """Join the clips both ways, in turn."""
    with TemporaryDirectory() as folder:
        clips = [_clip(Path(folder) / f"{number}.mp4", number) for number in range(CLIPS)]

        def joined(encode: bool) -> float:
            film = Path(folder) / "film.mp4"
            began = perf_counter()
            made = join(clips, film, encode=encode)
            took = perf_counter() - began
            if made.copied_picture is encode or made.copied_sound is encode:
                raise RuntimeError("the film was not made as was asked for")
            film.unlink()
            return took

        pairs = alternate(rounds, lambda _: joined(False), lambda _: joined(True))
    width, height = SIZE
    yield Row(
        f"stitch: {CLIPS} clips of {SECONDS} s, {width}x{height}",
        "packets copied, film checked",
        "encoded anew (x264 veryfast)",
        "s",
        pairs,
        TARGET,
    )


def _clip(path: Path, number: int) -> Path:
    """A clip of clouds that drift,: as hard to encode as a landscape."""
    width, height = SIZE
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        video: Any = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.options = {"preset": "veryfast", "crf": "22"}
        audio: Any = container.add_stream("aac", rate=48_000, layout="mono")
        for index in range(SECONDS * FPS):
            frame = _clouds(number, index)
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for start in range(0, SECONDS * 48_000, 1024):
            count = min(1024, SECONDS * 48_000 - start)
            sound = av.AudioFrame("fltp", "mono", count)
            sound.planes[0].update(bytes(sound.planes[0].buffer_size))
            sound.sample_rate, sound.pts, sound.time_base = 48_000, start, Fraction(1, 48_000)
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    return path


def _clouds(number: int, index: int) -> Any:
    small = av.VideoFrame(SIZE[0] // 16, SIZE[1] // 16, "yuv420p")
    for plane in small.planes:
        row = bytes((x * x // 7 + number * 37) % 200 + 20 for x in range(plane.line_size))
        lines = (row[(index + y) % 40 :] + row[: (index + y) % 40] for y in range(plane.height))
        plane.update(b"".join(lines).ljust(plane.buffer_size, b"\x80"))
    return small.reformat(*SIZE, interpolation="BICUBIC")
