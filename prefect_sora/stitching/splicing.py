"""Splicing: packets of one clip after those of another, as they are."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import av
from av.container import OutputContainer

from prefect_sora.frames import OpenVideo
from prefect_sora.stitching.footage import Footage, Sound

Packets = Iterable["av.Packet[Any]"]


class Track(ABC):
    """A stream of the film: it takes packets of clip after clip, and gives those of the film."""

    @abstractmethod
    def begin(self, clip: Footage, video: OpenVideo) -> None:
        """A clip begins where the one before has ended."""

    @abstractmethod
    def take(self, packet: "av.Packet[Any]") -> Packets:
        """Take the clip's next packet."""

    def end(self) -> Packets:
        """The clip has no more."""
        return ()

    def finish(self) -> Packets:
        """There is no further clip."""
        return ()


class DisorderError(Exception):
    """The packets cannot stand one after the other as they are."""


class CopiedPicture(Track):
    """Pictures as they are, later by what came before."""

    def __init__(self, film: OutputContainer, first: OpenVideo) -> None:
        self._stream = film.add_stream_from_template(first.stream)
        self._next = self._shift = 0
        self._decoded_until: int | None = None

    def begin(self, clip: Footage, video: OpenVideo) -> None:
        """See `Track`."""
        self._shift = self._next - clip.start
        self._next += clip.ticks

    def take(self, packet: "av.Packet[Any]") -> Packets:
        """See `Track`."""
        if packet.pts is None or packet.dts is None:
            raise DisorderError
        shown, decoded = packet.pts + self._shift, packet.dts + self._shift
        # A clip that is decoded further ahead than the one before it would cross its end.
        if decoded > shown or (self._decoded_until is not None and decoded <= self._decoded_until):
            raise DisorderError
        self._decoded_until = decoded
        packet.pts, packet.dts, packet.stream = shown, decoded, self._stream
        return [packet]


class CopiedSound(Track):
    """Packets of sound as they are, end to end.

    A clip's sound is a whole number of packets, its pictures end anywhere: so each clip's
    sound begins within half a packet (some 10 ms) of its pictures, and this never adds up.
    """

    def __init__(self, film: OutputContainer, first: OpenVideo, sound: Sound) -> None:
        self._stream = film.add_stream_from_template(first.container.streams.audio[0])
        self._base, self._length = sound.time_base, sound.ticks
        self._at: int | None = None
        self._is_first = True
        self._clip_starts = self._until = 0
        self._seconds = Fraction(0)

    def begin(self, clip: Footage, video: OpenVideo) -> None:
        """See `Track`."""
        self._is_first = self._at is None
        self._clip_starts = round(clip.starts_at / self._base)
        self._seconds += clip.seconds
        self._until = round(self._seconds / self._base)

    def take(self, packet: "av.Packet[Any]") -> Packets:
        """See `Track`."""
        if packet.pts is None:
            raise DisorderError
        at = packet.pts - self._clip_starts
        if self._at is None:
            self._at = (
                at  # the first clip's begins with what a decoder needs before its first sound
            )
        elif at < 0 and not self._is_first:
            return ()
        if self._at + self._length // 2 > self._until:
            return ()  # it would sound on when the pictures have ended
        packet.pts = packet.dts = self._at
        # Only the film's last packet is as long as it says: the others end where the next begins.
        packet.duration = min(self._length, self._until - self._at)
        packet.stream = self._stream
        self._at += self._length
        return [packet]

    def end(self) -> Packets:
        """See `Track`."""
        if self._at is not None and self._until - self._at > self._length // 2:
            self._at = self._until  # less than a packet is missing, and stays so
        return ()
