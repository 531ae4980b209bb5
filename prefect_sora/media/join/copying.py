"""Copying: the packets of one clip are copied after those of another, not encoded anew."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import av
from av.container import OutputContainer

from prefect_sora.media.frames import OpenVideo
from prefect_sora.media.join.probing import Footage, Sound

Packets = Iterable["av.Packet[Any]"]


class Track(ABC):
    """A stream of the film: it takes packets of clip after clip, and gives those of the film."""

    @abstractmethod
    def begin(self, clip: Footage, video: OpenVideo) -> None:
        """Begin a clip at the end of the one before."""

    @abstractmethod
    def take(self, packet: "av.Packet[Any]") -> Packets:
        """Take the clip's next packet, and give the film's that are ready.

        Raises:
            DisorderError: It cannot be copied to its place.
        """

    def end(self) -> Packets:
        """End the clip, and give the film's packets that are ready."""
        return ()

    def finish(self) -> Packets:
        """End the film, and give its last packets."""
        return ()


class DisorderError(Exception):
    """The packets cannot stand one after the other as they are."""


class CopiedPicture(Track):
    """Copied pictures, each clip's times shifted by the length of those before it."""

    def __init__(self, film: OutputContainer, first: OpenVideo) -> None:
        self._stream = film.add_stream_from_template(first.stream)
        self._next = self._shift = 0
        self._decoded_until: int | None = None

    def begin(self, clip: Footage, video: OpenVideo) -> None:
        """Shift the clip's times to the end of the one before."""
        self._shift = self._next - clip.start
        self._next += clip.ticks

    def take(self, packet: "av.Packet[Any]") -> Packets:
        """Give the packet itself at its new time.

        Raises:
            DisorderError: It has no time, or would have to be decoded before an earlier one.
        """
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
    """Copied packets of sound, end to end.

    A clip's sound is a whole number of packets, and its pictures may end within one. So each
    clip's sound begins within half a packet (some 10 ms) of its pictures; this never adds up.
    """

    def __init__(self, film: OutputContainer, first: OpenVideo, sound: Sound) -> None:
        self._stream = film.add_stream_from_template(first.container.streams.audio[0])
        self._base, self._length = sound.time_base, sound.ticks
        self._at: int | None = None
        self._is_first = True
        self._clip_starts = self._until = 0
        self._seconds = Fraction(0)

    def begin(self, clip: Footage, video: OpenVideo) -> None:
        """Note when the clip's sound begins, and when its pictures end."""
        self._is_first = self._at is None
        self._clip_starts = round(clip.starts_at / self._base)
        self._seconds += clip.seconds
        self._until = round(self._seconds / self._base)

    def take(self, packet: "av.Packet[Any]") -> Packets:
        """Give the packet at the end of those before it; none outside of the clip's pictures.

        Raises:
            DisorderError: It has no time.
        """
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
        """Leave a gap where more than half a packet is missing before the clip's end."""
        if self._at is not None and self._until - self._at > self._length // 2:
            self._at = self._until  # less than a packet is missing, and stays so
        return ()
