"""Media: a finished video is shown in small pictures, whatever its length."""

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import fsspec
import pytest
from PIL import Image

from prefect_sora.errors import CorruptVideoError
from prefect_sora.media.frames import OpenVideo
from prefect_sora.media.previews import preview, stills
from tests.support.limits import Limit

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
TWELVE = [(21 * step, 255 - 21 * step, 128) for step in range(12)]


def half_white(colour: tuple[int, int, int], size: tuple[int, int]) -> Image.Image:
    """A frame that shows something: the colour on the left, white on the right."""
    image = Image.new("RGB", size, WHITE)
    image.paste(colour, (0, 0, size[0] // 2, size[1]))
    return image


def noise(count: int, size: tuple[int, int]) -> Iterable[Image.Image]:
    return (Image.effect_noise(size, 200).convert("RGB") for _ in range(count))


def video_frame(picture: Image.Image) -> av.VideoFrame:
    frame: av.VideoFrame
    frame = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]  # PyAV gives none
    return frame


def film(
    path: Path,
    pictures: Iterable[Image.Image],
    *,
    repeat: int = 1,
    fps: int = 24,
    sound: bool = False,
    flags: str = "faststart",
) -> Path:
    """An MP4 that shows each picture for `repeat` frames."""
    options = {"movflags": flags} if path.suffix == ".mp4" else {}
    with av.open(path, "w", options=options) as container:
        stream: av.VideoStream | None = None
        voice = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        for picture in pictures:
            if stream is None:
                options = {"preset": "ultrafast", "g": "12"}
                stream = container.add_stream("libx264", rate=fps, options=options)
                stream.width, stream.height, stream.pix_fmt = *picture.size, "yuv444p"
            for _ in range(repeat):
                container.mux(stream.encode(video_frame(picture)))
        assert stream is not None
        container.mux(stream.encode(None))
        if voice:
            speak(container, voice)
    return path


def speak(container: av.container.OutputContainer, voice: av.AudioStream) -> None:
    """An eighth of a second of silence."""
    silence = av.AudioFrame(format="fltp", layout="mono", samples=1024)
    silence.sample_rate = 8000
    silence.planes[0].update(bytes(4 * 1024))
    container.mux(voice.encode(silence))
    container.mux(voice.encode(None))


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def colour_at(image: Image.Image, place: tuple[int, int]) -> Any:
    return image.convert("RGB").getpixel(place)


def near(seen: Sequence[int], wanted: Sequence[int]) -> bool:
    return all(abs(one - other) <= 12 for one, other in zip(seen, wanted, strict=True))


def thumbnail(path: Path) -> bytes:
    return stills(path).thumbnail


def spritesheet(path: Path, columns: int = 4, rows: int = 3) -> bytes:
    return stills(path, columns=columns, rows=rows).spritesheet


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Four seconds in twelve colours, a third of a second each."""
    pictures = (half_white(colour, (96, 64)) for colour in TWELVE)
    return film(tmp_path / "colours.mp4", pictures, repeat=8)


def test_a_fragmented_video_with_sound_can_be_seen(tmp_path: Path) -> None:
    pictures = (half_white(colour, (96, 64)) for colour in TWELVE)
    flags = "frag_keyframe+empty_moov"
    path = film(tmp_path / "a.mp4", pictures, repeat=8, sound=True, flags=flags)

    assert near(colour_at(opened(spritesheet(path)), (40, 32)), TWELVE[0])


# Thumbnail


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        pytest.param((96, 64), (96, 64), id="small as it is"),
        pytest.param((1920, 1080), (1280, 720), id="large at 1280"),
        pytest.param((720, 1600), (576, 1280), id="tall at 1280"),
    ],
)
def test_a_thumbnail_is_the_frame_in_bounds(
    tmp_path: Path, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    image = opened(thumbnail(film(tmp_path / "a.mp4", [half_white(RED, size)])))

    assert image.format == "WEBP"
    assert image.size == shown
    assert near(colour_at(image, (20, 32)), RED)


def test_a_thumbnail_skips_a_black_beginning(tmp_path: Path) -> None:
    black = [Image.new("RGB", (96, 64))] * 10
    path = film(tmp_path / "a.mp4", [*black, half_white(RED, (96, 64)), half_white(BLUE, (96, 64))])

    assert near(colour_at(opened(thumbnail(path)), (20, 32)), RED)


def test_a_video_of_one_colour_still_has_a_thumbnail(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", [Image.new("RGB", (96, 64), BLUE)] * 5)

    assert near(colour_at(opened(thumbnail(path)), (20, 32)), BLUE)


def test_where_all_is_blank_the_thumbnail_is_the_least_so(tmp_path: Path) -> None:
    black, faint = Image.new("RGB", (96, 64)), Image.new("RGB", (96, 64), (40, 40, 200))
    faint.paste((44, 44, 204), (0, 0, 48, 64))
    path = film(tmp_path / "a.mp4", [black, faint, black])

    assert near(colour_at(opened(thumbnail(path)), (70, 32)), (40, 40, 200))


def test_a_thumbnail_is_not_sought_to_the_end(tmp_path: Path) -> None:
    black = [Image.new("RGB", (96, 64))] * (24 * 4 + 1)
    path = film(tmp_path / "a.mp4", [*black, *[half_white(RED, (96, 64))] * 2])

    assert near(colour_at(opened(thumbnail(path)), (20, 32)), BLACK)


# Spritesheet


def test_a_spritesheet_reads_like_a_page(colours: Path) -> None:
    sheet = opened(spritesheet(colours))

    assert (sheet.format, sheet.size) == ("JPEG", (4 * 96, 3 * 64))
    for index, wanted in enumerate(TWELVE):
        row, column = divmod(index, 4)
        assert near(colour_at(sheet, (column * 96 + 20, row * 64 + 32)), wanted), index


def test_a_spritesheet_has_the_columns_and_rows_that_were_asked_for(colours: Path) -> None:
    sheet = opened(spritesheet(colours, columns=2, rows=1))

    assert sheet.size == (2 * 96, 64)
    assert near(colour_at(sheet, (20, 32)), TWELVE[3])  # on screen at 1 s and 3 s
    assert near(colour_at(sheet, (96 + 20, 32)), TWELVE[9])


def test_fewer_frames_than_cells_fill_them_all(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", [half_white(RED, (96, 64)), half_white(BLUE, (96, 64))])
    sheet = opened(spritesheet(path))

    assert near(colour_at(sheet, (20, 32)), RED)
    assert near(colour_at(sheet, (3 * 96 + 20, 2 * 64 + 32)), BLUE)


def test_a_long_video_is_shown_by_its_keyframes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: Limit
) -> None:
    path = film(tmp_path / "a.mp4", (half_white(tone, (96, 64)) for tone in TWELVE), repeat=14)
    original, decoded = OpenVideo.frames, []

    def counted(video: OpenVideo) -> Iterator[tuple[float, av.VideoFrame]]:
        for seconds, frame in original(video):
            decoded.append(seconds)
            yield seconds, frame

    monkeypatch.setattr(OpenVideo, "frames", counted)
    limit(one_pass_seconds=6.9)
    sheet = opened(spritesheet(path))

    assert len(decoded) <= 97 + 12  # of 168: the preview's four seconds, and one for each cell
    for index in range(12):
        row, column = divmod(index, 4)
        keyframe = int(14 * (index + 0.5)) // 12 * 12
        wanted = TWELVE[keyframe // 14]
        assert near(colour_at(sheet, (column * 96 + 20, row * 64 + 32)), wanted), index


# Preview


def moving(data: bytes) -> list[tuple[int, Any]]:
    """Each frame's milliseconds and its colour on the left."""
    image = Image.open(io.BytesIO(data))
    frames = []
    for index in range(getattr(image, "n_frames", 1)):
        image.seek(index)
        image.load()
        frames.append((image.info["duration"], colour_at(image, (20, 32))))
    return frames


@pytest.fixture
def flashing(tmp_path: Path) -> Path:
    """Four seconds in which no two frames are alike, for WebP joins what is."""
    return film(tmp_path / "flashing.mp4", (half_white(flash(at), (96, 64)) for at in range(96)))


def flash(at: int) -> tuple[int, int, int]:
    return (37 * at % 256, 128, 255 - 37 * at % 256)


def test_a_preview_moves_at_its_rate(flashing: Path) -> None:
    data = preview(flashing)
    frames = moving(data)

    assert opened(data).format == "WEBP"
    assert opened(data).info["loop"] == 0  # for ever
    assert [milliseconds for milliseconds, _ in frames] == [125] * 32
    assert near(frames[0][1], flash(0))
    assert near(frames[-1][1], flash(93))


def test_a_preview_ends_where_it_is_told(flashing: Path) -> None:
    assert [ms for ms, _ in moving(preview(flashing, max_seconds=1, fps=4))] == [250] * 4


def test_a_slow_video_keeps_its_pace(tmp_path: Path) -> None:
    pictures = (half_white(colour, (96, 64)) for colour in TWELVE[:4])
    path = film(tmp_path / "slow.mp4", pictures, fps=2)

    assert [milliseconds for milliseconds, _ in moving(preview(path))][:3] == [500] * 3


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        pytest.param((640, 360), (480, 270), id="landscape"),
        pytest.param((360, 640), (270, 480), id="portrait"),
    ],
)
def test_a_preview_is_small(tmp_path: Path, size: tuple[int, int], shown: tuple[int, int]) -> None:
    assert opened(preview(film(tmp_path / "a.mp4", [half_white(RED, size)] * 4))).size == shown


@pytest.mark.parametrize(
    ("max_bytes", "frames"),
    [
        pytest.param(200_000, 8, id="by its quality"),
        pytest.param(100_000, 4, id="then by its frames"),
        pytest.param(1, 1, id="down to a single one"),
    ],
)
def test_a_preview_stays_below_its_limit(tmp_path: Path, max_bytes: int, frames: int) -> None:
    path = film(tmp_path / "noise.mp4", noise(24, (320, 180)))
    data = preview(path, max_bytes=max_bytes)

    assert len(moving(data)) == frames
    assert len(data) <= max_bytes or frames == 1


# Together, from anywhere, or not at all


def test_a_preview_is_the_same_alone_and_with_the_others(colours: Path) -> None:
    assert stills(colours).preview == preview(colours)


def test_an_open_file_stays_open(colours: Path) -> None:
    with colours.open("rb") as file:
        assert stills(file) == stills(colours)
        assert not file.closed


def test_a_remote_file_is_read_in_ranges(colours: Path) -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/media/colours.mp4", colours.read_bytes())
    with fs.open("/media/colours.mp4", "rb") as file:
        assert stills(file) == stills(colours)


def looks() -> list[Any]:
    return [preview, stills]


@pytest.mark.parametrize("look", looks(), ids=lambda look: look.__name__)
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"<!DOCTYPE html>" * 100, id="a page"),
        pytest.param(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", id="a playlist"),
    ],
)
def test_what_is_no_video_is_refused(look: Any, body: bytes) -> None:
    with pytest.raises(CorruptVideoError, match="cannot be read") as caught:
        look(io.BytesIO(body))

    assert caught.value.paid == "unknown"


@pytest.mark.parametrize("look", looks(), ids=lambda look: look.__name__)
def test_sound_alone_is_refused(tmp_path: Path, look: Any) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(path, "w") as container:
        speak(container, container.add_stream("aac", rate=8000, layout="mono"))

    with pytest.raises(CorruptVideoError, match="no video stream"):
        look(path)


def test_another_container_is_refused(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", [half_white(RED, (96, 64))])

    with pytest.raises(CorruptVideoError):
        stills(path)


def test_a_video_without_frames_is_refused(tmp_path: Path) -> None:
    pictures = [half_white(RED, (96, 64))]
    path = film(tmp_path / "a.mp4", pictures, flags="frag_keyframe+empty_moov")
    start, _, _ = path.read_bytes().partition(b"moof")

    with pytest.raises(CorruptVideoError, match="no frames"):
        stills(io.BytesIO(start[:-4]))


def test_damaged_pictures_are_refused(colours: Path) -> None:
    whole = colours.read_bytes()
    start = whole.index(b"mdat") + 4
    damaged = whole[:start] + b"\xff" * (len(whole) - start)

    with pytest.raises(CorruptVideoError, match="cannot be read"):
        stills(io.BytesIO(damaged))


def test_a_broken_line_is_not_taken_for_a_broken_video(colours: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("the line is down")

    with pytest.raises(OSError, match="the line is down"):
        stills(Broken(colours.read_bytes()))
