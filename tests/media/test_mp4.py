"""MP4: a whole file is told from a cut or foreign one while it streams past."""

import struct
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from itertools import chain, pairwise, repeat
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_sora.errors import CorruptVideoError
from prefect_sora.limits import limits
from prefect_sora.media.mp4 import Mp4Info, Mp4Scanner

LAYOUTS = ["", "faststart", "frag_keyframe+empty_moov"]
IDS = ["index at the end", "index first", "fragmented"]
every_layout = pytest.mark.parametrize("flags", LAYOUTS, ids=IDS)


@cache
def clip(flags: str) -> bytes:
    """Half a second of 96x64 video as FFmpeg's muxer writes it."""
    options = {"movflags": flags} if flags else {}
    with TemporaryDirectory() as folder:
        path = Path(folder, "clip.mp4")  # for "faststart" the muxer reads its file again
        with av.open(path, "w", options=options) as container:
            stream = container.add_stream("libx264", rate=24, options={"g": "4"})
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            for _ in range(12):
                container.mux(stream.encode(av.VideoFrame(96, 64, "yuv420p")))
            container.mux(stream.encode(None))
        return path.read_bytes()


def scan(chunks: Iterable[bytes]) -> Mp4Info:
    scanner = Mp4Scanner()
    for chunk in chunks:
        scanner.feed(chunk)
    return scanner.finish()


def box(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


FTYP = box(b"ftyp", b"isom\0\0\2\0isom")


def movie(
    *,
    handler: bytes = b"vide",
    entry_size: tuple[int, int] = (96, 64),
    header_size: tuple[int, int] = (32, 16),
    version: int = 0,
    units: int = 36,
    mehd: bytes = b"",
) -> bytes:
    """A moov box with just what ISO/IEC 14496-12 makes a reader look at."""
    wide = ">B3xQQIQ" if version else ">B3xIIII"
    entry = box(b"avc1", bytes(24) + struct.pack(">2H", *entry_size) + bytes(50))
    width, height = header_size
    tkhd = struct.pack(">B", version) + bytes(87 if version else 75)
    media = (
        box(b"hdlr", bytes(8) + handler + bytes(13)),
        box(b"minf", box(b"stbl", box(b"stsd", struct.pack(">II", 0, 1) + entry))),
    )
    return box(
        b"moov",
        box(b"mvhd", struct.pack(wide, version, 0, 0, 24, units) + bytes(80))
        + box(
            b"trak",
            box(b"tkhd", tkhd + struct.pack(">II", width << 16, height << 16))
            + box(b"mdia", b"".join(media)),
        )
        + (box(b"mvex", box(b"mehd", mehd)) if mehd else b""),
    )


PICTURES = box(b"mdat", b"pictures")


@pytest.mark.parametrize(
    ("flags", "duration"), list(zip(LAYOUTS, [0.5, 0.5, None], strict=True)), ids=IDS
)
def test_a_whole_file_tells_its_size_and_length(flags: str, duration: float | None) -> None:
    assert scan([clip(flags)]) == Mp4Info(96, 64, duration)


@every_layout
@given(data=st.data())
def test_the_chunks_do_not_matter(flags: str, data: st.DataObject) -> None:
    whole = clip(flags)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=40)) | {0, len(whole)})
    chunks = [whole[start:end] for start, end in pairwise(cuts)]

    assert scan(chunks) == scan([whole])


@every_layout
def test_a_file_may_arrive_byte_by_byte(flags: str) -> None:
    whole = clip(flags)

    assert scan(whole[at : at + 1] for at in range(len(whole))) == scan([whole])


@every_layout
def test_every_cut_is_noticed(flags: str) -> None:
    whole = clip(flags)
    unnoticed = []
    for length in range(len(whole)):
        with suppress(CorruptVideoError):
            scan([whole[:length]])
            unnoticed.append(length)

    # What ends between two fragments is a whole, shorter file.
    assert unnoticed == ([] if "frag" not in flags else _fragment_ends(whole))


def _fragment_ends(whole: bytes) -> list[int]:
    at, ends = 0, []
    while at < len(whole):
        size, kind = struct.unpack_from(">I4s", whole, at)
        at += size
        if kind == b"mdat":
            ends.append(at)
    return ends


def test_a_cut_says_how_much_is_missing() -> None:
    with pytest.raises(CorruptVideoError, match="at least 3 bytes are missing, of its mdat box"):
        scan([FTYP + movie() + PICTURES[:-3]])


def test_the_error_does_not_guess_what_was_paid() -> None:
    with pytest.raises(CorruptVideoError, match="Fetch it again") as caught:
        scan([FTYP])

    assert caught.value.paid == "unknown"


@pytest.mark.parametrize(
    ("body", "name"),
    [
        pytest.param(b"<!DOCTYPE html><html>", "an HTML or XML page", id="a page"),
        pytest.param(
            b"\xef\xbb\xbf\r\n<html><body>..", "an HTML or XML page", id="a page with BOM"
        ),
        pytest.param(b'{"error": {"message": "no"}}', "JSON", id="an error in JSON"),
        pytest.param(b"[]", "JSON", id="an empty list"),
        pytest.param(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG image", id="PNG"),
        pytest.param(b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1", "a JPEG image", id="JPEG"),
        pytest.param(b"RIFF\0\0\0\0WEBPVP8 ", "a WebP image", id="WebP"),
        pytest.param(b"RIFF\0\0\0\0AVI LIST", "an AVI video", id="AVI"),
        pytest.param(b"GIF89a\0\0\0\0\0\0\0\0\0\0", "a GIF image", id="GIF"),
        pytest.param(b"\x1f\x8b\x08\0\0\0\0\0\0\3aaaaaa", "gzip-compressed data", id="gzip"),
        pytest.param(b"\x1aE\xdf\xa3\0\0\0\0\0\0\0\0\0\0\0\0", "a WebM or", id="WebM"),
        pytest.param(b"Internal Server Error", "text", id="plain text"),
        pytest.param(b"\0" * 20, "unknown data", id="zeros"),
        pytest.param(b"", "empty", id="nothing"),
    ],
)
def test_what_is_no_video_is_called_by_its_name(body: bytes, name: str) -> None:
    with pytest.raises(CorruptVideoError, match=f"What arrived is {name}"):
        scan([body])


def test_what_is_no_video_is_refused_before_its_end() -> None:
    with pytest.raises(CorruptVideoError):
        Mp4Scanner().feed(b"<!DOCTYPE html><html>")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        pytest.param(FTYP + PICTURES, "no moov box", id="no index"),
        pytest.param(FTYP + movie(), "no mdat box", id="no pictures"),
        pytest.param(FTYP + movie() + box(b"mdat"), "no mdat box", id="pictures of no bytes"),
        pytest.param(
            FTYP + movie() + PICTURES + box(b"moof"), "no mdat", id="fragment of no bytes"
        ),
        pytest.param(FTYP + movie(handler=b"soun") + PICTURES, "no video track", id="only sound"),
        pytest.param(FTYP + box(b"moov") + PICTURES, "no video track", id="empty index"),
        pytest.param(
            FTYP + movie(entry_size=(0, 0), header_size=(0, 0)) + PICTURES,
            "no video track with a size",
            id="no size",
        ),
        pytest.param(FTYP + b"\0\0\0\7mdat", "mdat box claims 7 bytes", id="box below 8 bytes"),
        pytest.param(
            FTYP + b"\0\0\0\1mdat" + struct.pack(">Q", 15),
            "at byte 20: its mdat box claims 15 bytes",
            id="large box below 16 bytes",
        ),
        pytest.param(FTYP + bytes(8), "no box begins there", id="zeros after a box"),
        pytest.param(
            FTYP + box(b"moov", b"\0\0\1\0trak"), "exceeds its parent", id="box beyond its parent"
        ),
        pytest.param(FTYP + movie().replace(b"mvhd", b"free"), "has gaps", id="no movie header"),
        pytest.param(FTYP + b"\0\0\0", "cut inside a box header", id="three bytes of a header"),
    ],
)
def test_an_impossible_file_is_refused_with_its_reason(body: bytes, why: str) -> None:
    with pytest.raises(CorruptVideoError, match=why):
        scan([body])


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(b"\0\0\0\1mdat" + struct.pack(">Q", 24) + b"pictures", id="a 64-bit size"),
        pytest.param(b"\0\0\0\0mdatpictures", id="a box to the end"),
        pytest.param(PICTURES + box(b"free") + box(b"skip", b"?"), id="free boxes at the end"),
        pytest.param(PICTURES + box(b"\xa9too", b"?"), id="a box of QuickTime's"),
    ],
)
def test_every_way_to_write_a_box_is_read(tail: bytes) -> None:
    assert scan([FTYP + movie() + tail]) == Mp4Info(96, 64, 1.5)


def test_an_index_may_run_to_the_end_of_the_file() -> None:
    assert scan([FTYP + PICTURES + b"\0\0\0\0" + movie()[4:]]) == Mp4Info(96, 64, 1.5)


@pytest.mark.parametrize("version", [0, 1])
def test_the_track_header_gives_the_size_where_the_sample_entry_does_not(version: int) -> None:
    info = scan([FTYP + movie(entry_size=(0, 0), version=version) + PICTURES])

    assert (info.width, info.height) == (32, 16)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param(movie(version=0, units=36), 1.5, id="32 bits"),
        pytest.param(movie(version=1, units=36), 1.5, id="64 bits"),
        pytest.param(movie(version=0, units=2**32 - 1), None, id="unknown in 32 bits"),
        pytest.param(movie(version=1, units=2**64 - 1), None, id="unknown in 64 bits"),
        pytest.param(movie(units=0), None, id="zero"),
        pytest.param(movie(units=0, mehd=bytes(4) + b"\0\0\0\x30"), 2.0, id="fragments, 32 bits"),
        pytest.param(
            movie(units=0, mehd=b"\1\0\0\0" + struct.pack(">Q", 48)), 2.0, id="fragments, 64 bits"
        ),
    ],
)
def test_the_length_is_read_from_either_header(header: bytes, seconds: float | None) -> None:
    assert scan([FTYP + header + PICTURES]).duration_seconds == seconds


def test_an_index_without_end_is_not_collected() -> None:
    endless = chain([FTYP + b"\0\0\0\0moov"], repeat(bytes(1024 * 1024)))

    with pytest.raises(CorruptVideoError, match=f"exceeds the {limits().moov_max_bytes} bytes"):
        scan(endless)


@given(st.binary(max_size=400), st.sampled_from([b"", FTYP, FTYP + b"\0\0\0\0moov"]))
def test_noise_is_refused_and_never_breaks_the_scanner(noise: bytes, start: bytes) -> None:
    with pytest.raises(CorruptVideoError):
        scan([start + noise])


@every_layout
@given(data=st.data())
def test_damage_is_refused_or_harmless(flags: str, data: st.DataObject) -> None:
    damaged = bytearray(clip(flags))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(CorruptVideoError):
        scan([bytes(damaged)])
