"""Tell, while its bytes stream past, whether an MP4 file is whole, and how large and long it is.

The boxes of ISO/IEC 14496-12 are walked as they arrive. Only a box's header
and the `moov` box, which describes the movie, are ever held; the pictures and
the sound pass by unseen.

Two cuts cannot be told from a shorter, whole file: one exactly between two
fragments, and one inside an `mdat` without a size, which runs to the end by
definition. The announced length of the download tells them.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from prefect_sora.errors import CorruptVideoError
from prefect_sora.limits import limits

# 4.2: size and type; the same with a 64-bit size. 4.3: the smallest `ftyp`.
_HEADER_BYTES, _LARGE_HEADER_BYTES, _FIRST_BYTES = 8, 16, 16

_SIGNATURES = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"\x1f\x8b": "gzip-compressed data",
    b"\x1aE\xdf\xa3": "a WebM or Matroska video",
    b"<": "an HTML or XML page",
    b"{": "JSON",
    b"[": "JSON",
}


@dataclass(frozen=True, slots=True)
class Mp4Info:
    """What a whole file says of itself: coded size, and length where it is written down."""

    width: int
    height: int
    duration_seconds: float | None


class Mp4Scanner:
    """Takes a file in chunks of any size; `finish` answers if it was whole."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._moov = bytearray()
        self._kind = ""  # of the box being read, then of the last one read
        self._left: int | None = 0  # bytes of it still to come; None: it runs to the file's end
        self._total_bytes = 0
        self._media_bytes = 0
        self._info: Mp4Info | None = None
        self._box_at_byte = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            CorruptVideoError: This is no MP4 file, as soon as it shows. Fetch it again.
        """
        self._total_bytes += len(chunk)
        rest = memoryview(chunk)
        while rest:
            taken = rest[: self._missing_header_bytes() if self._left == 0 else self._left]
            rest = rest[len(taken) :]
            if self._left != 0:
                self._take_body(taken)
            else:
                self._header += taken
                if self._missing_header_bytes() == 0:
                    self._open_box()

    def finish(self) -> Mp4Info:
        """Say what the file is, now that all of it has been fed.

        Raises:
            CorruptVideoError: It is empty, cut, or holds no video. Fetch it again.
        """
        if not self._kind:
            _require_ftyp(bytes(self._header))
        if self._header:
            raise _corrupt(f"The video is cut inside a box header, at {self._total_bytes} bytes.")
        if self._left is None:
            self._close_box()
        if self._left:
            missing = f"at least {self._left} bytes are missing, of its {self._kind} box"
            raise _corrupt(f"The video is cut after {self._total_bytes} bytes: {missing}.")
        if self._info is None:
            raise _corrupt("The file is cut, or no video: it has no moov box.")
        if not self._media_bytes or self._kind == "moof":
            raise _corrupt("The video is cut: it has no mdat box with pictures at its end.")
        return self._info

    def _missing_header_bytes(self) -> int:
        wanted = _HEADER_BYTES if self._kind else _FIRST_BYTES
        if self._header[:_HEADER_BYTES].startswith(b"\0\0\0\1") and len(self._header) >= wanted:
            wanted = _LARGE_HEADER_BYTES
        return wanted - len(self._header)

    def _open_box(self) -> None:
        if not self._kind:
            _require_ftyp(bytes(self._header))
        size, kind = struct.unpack_from(">I4s", self._header)
        if size == 1:
            (size,) = struct.unpack_from(">Q", self._header, _HEADER_BYTES)
        at = f"at byte {self._box_at_byte}"
        self._kind = kind.decode("latin-1")  # QuickTime's own types begin with ©
        if not self._kind.isprintable():
            raise _corrupt(f"The video is damaged {at}: no box begins there.")
        if size and size < len(self._header):
            raise _corrupt(f"The video is damaged {at}: its {self._kind} box claims {size} bytes.")
        self._left = size - len(self._header) if size else None
        self._box_at_byte += size
        self._header.clear()
        if self._left == 0:
            self._close_box()

    def _take_body(self, body: memoryview) -> None:
        if self._kind == "mdat":
            self._media_bytes += len(body)
        elif self._kind == "moov":
            self._moov += body
            if len(self._moov) > (most := limits().moov_max_bytes):
                raise _corrupt(f"The video's moov box exceeds the {most} bytes we read.")
        if self._left is not None:
            self._left -= len(body)
            if self._left == 0:
                self._close_box()

    def _close_box(self) -> None:
        if self._kind == "moov":
            moov, self._moov = bytes(self._moov), bytearray()
            try:
                self._info = _read_movie(memoryview(moov))
            except (struct.error, IndexError) as error:
                raise _corrupt("The video is damaged: its moov box has gaps.") from error


def _read_movie(moov: memoryview) -> Mp4Info:
    tracks = [body for kind, body in _boxes(moov) if kind == b"trak"]
    videos = [t for t in tracks if _find(t, b"mdia", b"hdlr")[8:12].tobytes() == b"vide"]
    size = next((size for size in map(_dimensions, videos) if all(size)), None)
    if size is None:
        raise _corrupt("The file has no video track with a size.")
    return Mp4Info(*size, _duration_seconds(moov))


def _dimensions(track: memoryview) -> tuple[int, int]:
    """Coded size from the sample entry (12.1.3), else the track header's 16.16 (8.3.2)."""
    for _, entry in _boxes(_find(track, b"mdia", b"minf", b"stbl", b"stsd")[8:]):
        width, height = struct.unpack_from(">2H", entry, 24)
        if width and height:
            return width, height
    header = _find(track, b"tkhd")
    width, height = struct.unpack_from(">2I", header, 88 if header[0] == 1 else 76)
    return width >> 16, height >> 16


def _duration_seconds(moov: memoryview) -> float | None:
    """The movie header's (8.2.2), else that of all fragments (8.8.2)."""
    header = _find(moov, b"mvhd")
    scale, units = struct.unpack_from(*((">IQ", header, 20) if header[0] else (">2I", header, 12)))
    unknown = (0, 2**32 - 1, 2**64 - 1)
    if units in unknown and (fragments := _find(moov, b"mvex", b"mehd")):
        (units,) = struct.unpack_from(">Q" if fragments[0] else ">I", fragments, 4)
    return None if units in unknown or not scale else units / scale


def _boxes(parent: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    while len(parent) >= _HEADER_BYTES:  # fewer bytes are QuickTime's padding
        size, kind = struct.unpack_from(">I4s", parent)
        start = _LARGE_HEADER_BYTES if size == 1 else _HEADER_BYTES
        if size == 1:
            (size,) = struct.unpack_from(">Q", parent, _HEADER_BYTES)
        size = size or len(parent)
        if not start <= size <= len(parent):
            raise _corrupt("The video is damaged: a box in its moov box exceeds its parent.")
        yield kind, parent[start:size]
        parent = parent[size:]


def _find(box: memoryview, *path: bytes) -> memoryview:
    """The first box at `path`, or nothing."""
    for name in path:
        box = next((body for kind, body in _boxes(box) if kind == name), memoryview(b""))
    return box


def _require_ftyp(head: bytes) -> None:
    if head[4:8] == b"ftyp":
        return
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()  # a page may begin with a byte order mark
    what = next((name for start, name in _SIGNATURES.items() if text.startswith(start)), None)
    if head[:4] == b"RIFF":
        what = {b"WEBP": "a WebP image", b"AVI ": "an AVI video"}.get(head[8:12], "RIFF data")
    elif what is None and text.isascii() and text.decode().isprintable():
        what = "text" if head else "empty"
    raise _corrupt(f"What arrived is {what or 'unknown data'}, not an MP4 video.")


def _corrupt(message: str) -> CorruptVideoError:
    next_step = "Fetch it again while the server has it."
    return CorruptVideoError(message, paid="unknown", next_step=next_step)


def unreadable(why: str) -> CorruptVideoError:
    """Say that a video cannot be read, and why."""
    next_step = "Fetch it again while the server has it."
    return CorruptVideoError(
        f"The video cannot be read: {why}.", paid="unknown", next_step=next_step
    )
