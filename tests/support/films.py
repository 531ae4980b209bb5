"""Films for tests: clips that fade to a colour under a tone, and what is seen and heard of any."""

import math
from array import array
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
from PIL import Image

Colour = tuple[int, int, int]

RED, GREEN, BLUE = (200, 30, 30), (30, 160, 40), (40, 60, 210)


def clip(
    path: Path,
    colour: Colour,
    *,
    frames: int = 12,
    fps: int = 24,
    size: tuple[int, int] = (96, 64),
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    flags: str = "faststart",
    sound: float | None = 440.0,
    sound_seconds: float | None = None,
    rate: int = 48_000,
    layout: str = "mono",
) -> Path:
    """A clip that fades from dark to a colour, under one tone."""
    with av.open(str(path), "w", format="mp4", options={"movflags": flags}) as container:
        video: Any = container.add_stream(codec, rate=fps)
        video.width, video.height = size
        video.pix_fmt, video.options = "yuv420p", options or {}
        context = video.codec_context
        context.color_range, context.colorspace = 1, 1
        context.color_primaries, context.color_trc = 1, 1
        audio: Any = None
        if sound is not None:
            audio = container.add_stream("aac", rate=rate, layout=layout)
        for number in range(frames):
            shade = (0.4 + 0.6 * (number + 1) / frames,)
            picture = Image.new("RGB", size, tuple(round(c * shade[0]) for c in colour))
            frame: Any = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]  # PyAV's
            frame = frame.reformat(format="yuv420p", dst_colorspace=1, dst_color_range=1)
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None and sound is not None:
            for packet in tone(audio, sound, sound_seconds or frames / fps):
                container.mux(packet)
    return path


def tone(audio: Any, hertz: float, seconds: float) -> Iterator[Any]:
    count, rate, channels = round(seconds * audio.rate), audio.rate, audio.layout.nb_channels
    for start in range(0, count, 1024):
        some = min(1024, count - start)
        samples = array("f")
        for index in range(start, start + some):
            samples.append(0.3 * math.sin(math.tau * hertz * index / rate))
        frame = av.AudioFrame("fltp", audio.layout.name, some)
        for plane in frame.planes:
            plane.update(samples.tobytes().ljust(plane.buffer_size, b"\0"))
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        assert channels == len(frame.planes)
        yield audio.encode(frame)
    yield audio.encode(None)


def colours(path: Path) -> list[Colour]:
    """The colour in the middle of each frame that a player shows, in its order."""
    found: list[Colour] = []
    times: list[int] = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            rgb: Any = frame.reformat(format="rgb24").planes[0]
            at = frame.height // 2 * rgb.line_size + frame.width // 2 * 3
            found.append(tuple(bytes(rgb)[at : at + 3]))  # type: ignore[arg-type]  # three of them
            times.append(frame.pts or 0)
    steps = {later - earlier for earlier, later in pairwise(times)}
    assert times[0] == 0
    assert min(steps) > 0
    return found


def sound(path: Path) -> "array[float]":
    """All samples of the first channel, gaps as silence."""
    samples = array("f")
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            assert frame.pts is not None
            assert frame.time_base is not None
            at = round(frame.pts * frame.time_base * frame.sample_rate)
            samples.extend([0.0] * (at - len(samples)))
            plane: Any = frame.planes[0]
            samples.frombytes(bytes(plane)[: frame.samples * 4])
    return samples


def hertz(samples: Sequence[float], rate: int = 48_000) -> float:
    """The pitch of a stretch of sound, by its upward crossings."""
    ups = [i for i in range(1, len(samples)) if samples[i - 1] < 0 <= samples[i]]
    return (len(ups) - 1) * rate / (ups[-1] - ups[0]) if len(ups) > 1 else 0.0


def loudness(samples: Sequence[float]) -> float:
    return max(map(abs, samples), default=0.0)


def near(one: Sequence[int], other: Sequence[int], by: int = 6) -> bool:
    return all(abs(a - b) <= by for a, b in zip(one, other, strict=True))
