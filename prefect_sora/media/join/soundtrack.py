"""Soundtrack: a film gets a sound of its own: cut or repeated to its length, and faded."""

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av

from prefect_sora.errors import JoinError
from prefect_sora.media.mp4 import Mp4Scanner

_RATE: Final = 48_000
_LAYOUT: Final = "stereo"
_BITS: Final = 192_000
"""Of AAC in stereo, a second: what is called transparent. Ours."""


def check_sound(audio: Path) -> None:
    """Check that a file has sound that can be decoded; blocks, so call it in a thread.

    Raises:
        JoinError: It has none.
    """
    next(_decoded(audio, repeat=False))


def lay_sound(
    film: Path, audio: Path, target: Path, *, fade_seconds: float = 1.0, repeat: bool = False
) -> None:
    """Write a film with another sound; its pictures are copied. Blocks, so call it in a thread.

    Args:
        film: The film, an MP4 file.
        audio: Any file that FFmpeg decodes. What is longer than the film is cut; after what is
            shorter there is silence, or it begins again.
        target: The file to write; on failure it is not there.
        fade_seconds: How long it takes to fall silent at its end.
        repeat: Begin it again until the film ends.

    Raises:
        JoinError: The file has no sound, or cannot be decoded.
    """
    try:
        _write(film, audio, target, fade_seconds, repeat)
        scanner = Mp4Scanner()
        with target.open("rb") as file:
            while piece := file.read(1 << 20):
                scanner.feed(piece)
        scanner.finish()
    except BaseException:
        with suppress(OSError):
            target.unlink(missing_ok=True)
        raise


def _write(film: Path, audio: Path, target: Path, fade_seconds: float, repeat: bool) -> None:
    with (
        av.open(str(film)) as pictures,
        av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}) as made,
    ):
        source = pictures.streams.video[0]
        base = source.time_base or Fraction(1, _RATE)
        seconds = (source.duration or 0) * base
        video = made.add_stream_from_template(source)
        sound: Any = made.add_stream("aac", rate=_RATE, layout=_LAYOUT)
        sound.bit_rate = _BITS
        heard = _fitted(audio, seconds, fade_seconds, repeat)
        heard_until = Fraction(0)
        for packet in pictures.demux(source):
            if packet.dts is None:
                continue
            # Sound and pictures take turns, so that the muxer holds neither back.
            while heard_until <= packet.dts * base and (frame := next(heard, None)):
                heard_until += Fraction(frame.samples, _RATE)
                made.mux(sound.encode(frame))
            packet.stream = video
            made.mux_one(packet)
        for frame in heard:
            made.mux(sound.encode(frame))
        made.mux(sound.encode(None))


def _fitted(
    audio: Path, seconds: Fraction, fade_seconds: float, repeat: bool
) -> Iterator[av.AudioFrame]:
    """Give the sound as long as the film, faded at its end."""
    samples = round(seconds * _RATE)
    length = samples if repeat else min(samples, _samples_of(audio))
    fade = min(fade_seconds, length / _RATE)
    graph: Any = av.filter.Graph()
    steps = [
        graph.add_abuffer(
            format="fltp", sample_rate=_RATE, layout=_LAYOUT, time_base=Fraction(1, _RATE)
        ),
        graph.add("atrim", f"end_sample={length}"),
    ]
    if fade > 0:
        steps.append(graph.add("afade", f"t=out:st={length / _RATE - fade:.6f}:d={fade:.6f}"))
    steps += [
        graph.add("apad", f"whole_len={samples}"),
        graph.add("asetnsamples", "n=1024:p=0"),
        graph.add("abuffersink"),
    ]
    graph.link_nodes(*steps).configure()
    sent = 0
    for frame in _decoded(audio, repeat=repeat):
        frame.pts, frame.time_base = sent, Fraction(1, _RATE)
        sent += frame.samples
        graph.push(frame)
        yield from _ready(graph)
        if sent >= length:
            break
    graph.push(None)
    yield from _ready(graph)


def _ready(graph: Any) -> Iterator[av.AudioFrame]:
    while True:
        try:
            yield graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return


def _samples_of(audio: Path) -> int:
    return sum(frame.samples for frame in _decoded(audio, repeat=False))


def _decoded(audio: Path, *, repeat: bool) -> Iterator[av.AudioFrame]:
    """Decode a file's sound, again and again where it is to be repeated.

    Raises:
        JoinError: It has none, or it cannot be decoded.
    """
    problem = "It has no sound."
    try:
        while True:
            found = False
            resampler = av.AudioResampler("fltp", _LAYOUT, _RATE)
            with av.open(str(audio)) as container:
                for frame in container.decode(audio=0) if container.streams.audio else ():
                    for same in resampler.resample(frame):
                        found = True
                        yield same
                for same in resampler.resample(None) if found else ():
                    yield same
            if found and not repeat:
                return
            if not found:
                break
    except av.FFmpegError as error:
        problem = f"It cannot be decoded: {error.strerror}."
    raise JoinError(
        f"The film's audio cannot be used. {problem}",
        next_step="Give another file, or leave `audio` out: then the shots' own sound is kept.",
    )
