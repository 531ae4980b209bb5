"""Joining: which tracks of the clips are copied and which encoded anew, and the film they make.

Pictures are copied where all clips were encoded alike, else encoded anew to the
first clip's size and rate; sound likewise, on its own. Either way a clip's part of
the film is as long as the clip, and memory grows with neither.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any

import av

from prefect_sora.errors import CorruptVideoError, JoinError
from prefect_sora.limits import limits
from prefect_sora.media.frames import opened
from prefect_sora.media.join.copying import CopiedPicture, CopiedSound, DisorderError, Track
from prefect_sora.media.join.encoding import EncodedPicture, EncodedSound
from prefect_sora.media.join.probing import Footage, Sound, look, unjoinable
from prefect_sora.media.mp4 import Mp4Scanner


@dataclass(frozen=True)
class Part:
    """Where a clip is in the film.

    Attributes:
        first_frame: Its first picture, counted from 0.
        frames: How many it shows.
        starts_at: Seconds from the film's beginning.
        ends_at: The same.
    """

    first_frame: int
    frames: int
    starts_at: float
    ends_at: float


@dataclass(frozen=True)
class Film:
    """What came of joining.

    Attributes:
        parts: One for each clip, in their order.
        width: Pixels.
        height: Pixels.
        frames_per_second: Of the film.
        copied_picture: Whether no picture was encoded anew.
        copied_sound: The same of sound; None where there is none.
    """

    parts: tuple[Part, ...]
    width: int
    height: int
    frames_per_second: float
    copied_picture: bool
    copied_sound: bool | None

    @property
    def seconds(self) -> float:
        """The film's length."""
        return self.parts[-1].ends_at


def join(clips: Sequence[Path], film: Path, *, encode: bool = False) -> Film:
    """Write clips one after the other into a film; blocks, so call it in a thread.

    Args:
        clips: MP4 files on this machine, one at least.
        film: The file to write; on failure it is not there.
        encode: Encode anew even what could be copied.

    Raises:
        JoinError: A clip has no picture or cannot be decoded; it says which. The clips
            are as they were.
    """
    if not clips:
        raise JoinError("There is no clip to join.", next_step="Give one at least.")
    footage = [look(path, number) for number, path in enumerate(clips, start=1)]
    copies_picture = not encode and all(
        clip.is_plain and clip.make == footage[0].make for clip in footage
    )
    copies_sound = not encode and _sounds_alike(footage)
    try:
        try:
            _write(footage, film, copies_picture, copies_sound)
        except DisorderError:
            copies_picture = copies_sound = False
            _write(footage, film, copies_picture, copies_sound)
        _check(film)
    except BaseException:
        with suppress(OSError):
            film.unlink(missing_ok=True)
        raise
    first = footage[0]
    return Film(
        parts=_parts(footage, copies_picture),
        width=first.size[0] + (0 if copies_picture else first.size[0] % 2),
        height=first.size[1] + (0 if copies_picture else first.size[1] % 2),
        frames_per_second=float(first.rate),
        copied_picture=copies_picture,
        copied_sound=copies_sound if any(clip.sound for clip in footage) else None,
    )


def _sounds_alike(footage: Sequence[Footage]) -> bool:
    """Whether each clip's sound can follow the one before it, and none falls silent."""
    first = footage[0].sound
    if first is None or not first.ticks:
        return False
    packet = first.ticks * first.time_base
    return all(
        clip.sound is not None
        and clip.sound.make == first.make
        and clip.sound.ticks == first.ticks
        and clip.sound.starts_at < packet
        and clip.sound.ends_at > clip.seconds - packet
        for clip in footage
    )


def _parts(footage: Sequence[Footage], are_copied: bool) -> tuple[Part, ...]:
    ends: list[Fraction] = list(accumulate(clip.seconds for clip in footage))
    rate = footage[0].rate
    counts = (
        list(accumulate(clip.frames for clip in footage))
        if are_copied
        else [round(end * rate) for end in ends]
    )
    return tuple(
        Part(count_before, count - count_before, float(start), float(end))
        for count_before, count, start, end in zip(
            [0, *counts], counts, [Fraction(0), *ends], ends, strict=False
        )
    )


def _write(footage: Sequence[Footage], film: Path, picture: bool, sound: bool) -> None:
    with (
        opened(footage[0].path) as first,
        av.open(str(film), "w", format="mp4", options={"movflags": "+faststart"}) as container,
    ):
        tracks: dict[str, Track] = {
            "video": CopiedPicture(container, first)
            if picture
            else EncodedPicture(container, footage[0])
        }
        heard: Sound | None = next((clip.sound for clip in footage if clip.sound), None)
        if heard:
            tracks["audio"] = (
                CopiedSound(container, first, heard) if sound else EncodedSound(container, heard)
            )
        for clip in footage:
            _add(clip, tracks, container.mux_one)
        for track in tracks.values():
            for packet in track.finish():
                container.mux_one(packet)


def _add(clip: Footage, tracks: dict[str, Track], mux: Callable[["av.Packet[Any]"], None]) -> None:
    try:
        with opened(clip.path) as video:
            for track in tracks.values():
                track.begin(clip, video)
            streams = [video.stream, *video.container.streams.audio[:1]]
            for packet in video.container.demux(streams):
                if packet.dts is None and packet.size == 0:
                    continue  # the end of a stream
                for made in tracks[packet.stream.type].take(packet):
                    mux(made)
            for track in tracks.values():
                for made in track.end():
                    mux(made)
    except CorruptVideoError as error:
        problem = error.message
    else:
        return
    raise unjoinable(clip.number, clip.path, problem)


def _check(film: Path) -> None:
    """Refuse a film that is not whole, by the same measure as what a server sends."""
    scanner = Mp4Scanner()
    with film.open("rb") as file:
        while chunk := file.read(limits().piece_bytes):
            scanner.feed(chunk)
    scanner.finish()


__all__ = ["Film", "Part", "join"]
