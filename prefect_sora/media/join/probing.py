"""Probing: what a clip is, read off its packets, and what two must share to be joined as is."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from prefect_sora.errors import CorruptVideoError, JoinError
from prefect_sora.media.frames import OpenVideo, opened


@dataclass(frozen=True)
class Sound:
    """A clip's first audio stream.

    Attributes:
        make: What must be equal for its packets to follow another's.
        rate: Samples a second.
        layout: Its channels, in FFmpeg's words.
        ticks: Length of a packet, in `time_base`; 0 where packets differ.
        time_base: Seconds of a tick.
        starts_at: First sample, in seconds after the first picture; what the decoder
            needs before it is not counted.
        ends_at: End of the last, the same.
    """

    make: tuple[object, ...]
    rate: int
    layout: str
    ticks: int
    time_base: Fraction
    starts_at: Fraction
    ends_at: Fraction


@dataclass(frozen=True)
class Footage:
    """A clip, as far as joining it with others depends on it.

    Attributes:
        path: Its file.
        number: Which of the clips it is, from 1.
        make: What must be equal for its pictures to follow another's as they are.
        is_plain: Whether it begins with a keyframe and shows all that it holds.
        size: Width and height in pixels.
        rate: Pictures a second.
        frames: How many.
        start: Time of the first picture, in ticks of the stream.
        ticks: Length, the same.
        starts_at: Time of the first picture, in seconds of the file.
        seconds: Length.
        sound: Its audio, where it has some.
    """

    path: Path
    number: int
    make: tuple[object, ...]
    is_plain: bool
    size: tuple[int, int]
    rate: Fraction
    frames: int
    start: int
    ticks: int
    starts_at: Fraction
    seconds: Fraction
    sound: Sound | None


def look(path: Path, number: int = 1) -> Footage:
    """Read what a clip is: all of its packets, and its first picture decoded.

    Args:
        path: An MP4 file on this machine.
        number: Which of the clips it is, for errors.

    Raises:
        JoinError: It has no picture, or one that cannot be decoded.
    """
    try:
        with opened(path) as video:
            return _read(video, path, number)
    except CorruptVideoError as error:
        problem = error.message
    except OSError as error:
        problem = f"It cannot be read: {error.strerror or type(error).__name__}."
    raise unjoinable(number, path, problem)


def unjoinable(number: int, path: Path, problem: str) -> JoinError:
    """Say which clip cannot be joined, and why."""
    return JoinError(
        f'Clip {number} ("{path.name}") cannot be joined with the others. {problem}',
        next_step="Every clip is still there: render that shot anew with another take, or leave "
        "it out.",
    )


@dataclass
class _Extent:
    """Where a stream's packets lie, in its ticks."""

    count: int = 0
    length: int = 0
    first: int | None = None
    first_shown: int | None = None
    end: int = 0
    is_plain: bool = True

    def add(self, packet: "av.Packet[Any]") -> None:
        if packet.pts is None or packet.dts is None:
            self.is_plain = False
            return
        if self.first is None:
            self.is_plain, self.first = packet.is_keyframe, packet.pts
            self.length = packet.duration or 0
        self.count += 1
        self.first = min(self.first, packet.pts)
        self.end = max(self.end, packet.pts + (packet.duration or 0))
        if packet.is_discard:  # a decoder needs it, and nobody sees or hears it
            self.is_plain = False
        elif self.first_shown is None or packet.pts < self.first_shown:
            self.first_shown = packet.pts

    @property
    def is_even(self) -> bool:
        """Whether all packets but the last are as long as the first."""
        return abs(self.count * self.length - (self.end - (self.first or 0))) < self.length


def _read(video: OpenVideo, path: Path, number: int) -> Footage:
    stream, audio = video.stream, next(iter(video.container.streams.audio), None)
    if next(video.frames(), None) is None:
        raise unjoinable(number, path, "It has no frames.")
    video.container.seek(0)
    pictures, sounds = _Extent(), _Extent()
    for packet in video.container.demux([stream, audio] if audio else [stream]):
        if packet.size == 0 and packet.dts is None:
            continue  # the end of a stream
        (pictures if packet.stream is stream else sounds).add(packet)
    base, rate = stream.time_base, stream.average_rate
    if pictures.first_shown is None or not base or not rate:
        raise unjoinable(number, path, "Its pictures have no times.")
    context: Any = stream.codec_context
    ticks = pictures.end - pictures.first_shown
    begins, sound = pictures.first_shown * base, None
    if audio is not None and sounds.first_shown is not None and audio.time_base:
        heard: Any = audio.codec_context
        sound = Sound(
            make=(
                heard.name,
                heard.profile,
                heard.sample_rate,
                heard.layout.name,
                heard.extradata,
                audio.time_base,
            ),
            rate=heard.sample_rate,
            layout=heard.layout.name,
            ticks=sounds.length if sounds.is_even else 0,
            time_base=audio.time_base,
            starts_at=sounds.first_shown * audio.time_base - begins,
            ends_at=sounds.end * audio.time_base - begins,
        )
    return Footage(
        path=path,
        number=number,
        make=(
            context.name,
            context.profile,
            context.width,
            context.height,
            context.pix_fmt,
            context.extradata,
            context.sample_aspect_ratio,
            context.color_range,
            context.colorspace,
            base,
            rate,
        ),
        is_plain=pictures.is_plain,
        size=(context.width, context.height),
        rate=rate,
        frames=pictures.count,
        start=pictures.first_shown,
        ticks=ticks,
        starts_at=begins,
        seconds=ticks * base,
        sound=sound,
    )
