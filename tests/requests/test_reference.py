"""References: any picture becomes the one a render can start from, or a clear refusal."""

import base64
import hashlib
import io
import logging
import os
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from prefect_sora.errors import ReferenceImageError, redaction
from prefect_sora.renders.images.pictures import sendable
from prefect_sora.requests.reference import (
    Mode,
    fit,
    load_source,
    prepare,
    public_address,
    readable,
)
from tests.support.limits import Limit

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
SECRET = "f00dfeed"


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def plain(colour: Any = RED, mode: str = "RGB", size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.new(mode, size, colour)


def stripes() -> Image.Image:
    """Red, green and blue from left to right, each 40x40."""
    image = plain(GREEN, size=(120, 40))
    image.paste(RED, (0, 0, 40, 40))
    image.paste(BLUE, (80, 0, 120, 40))
    return image


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def colours(data: bytes, *places: tuple[int, int]) -> list[Any]:
    """The pixels at `places`, each channel rounded to what survives JPEG."""
    image = opened(data)
    assert image.mode == "RGB"
    pixels: list[Any] = [image.getpixel(place) for place in places]
    return [tuple(255 * round(channel / 255) for channel in pixel) for pixel in pixels]


PNG = encoded(plain())


class Site(BaseHTTPRequestHandler):
    """A few pages; `/silence` answers when the test is over."""

    over: ClassVar[threading.Event]
    pages: ClassVar[dict[str, tuple[int, dict[str, str], bytes]]] = {
        "/fox.png": (200, {}, PNG),
        "/moved": (302, {"Location": f"/fox.png?signature={SECRET}"}, b""),
        "/forbidden": (403, {}, b"no"),
    }

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/silence":
            self.over.wait(30)
        status, headers, body = self.pages.get(path, (404, {}, b""))
        with suppress(ConnectionError):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def pictures_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pictures lie on this machine."""
    monkeypatch.setenv("PREFECT_SORA_PRIVATE_HOSTS", "127.0.0.1")


@pytest.fixture
def site() -> Iterator[str]:
    Site.over = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        Site.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def memory() -> Iterator[str]:
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/references/fox.png", PNG)
    yield "memory://references"
    fs.rm("/references", recursive=True)


# Where a picture may come from


async def test_bytes_are_their_own_source() -> None:
    assert await load_source(PNG) == PNG


@pytest.mark.parametrize("spelled", [str, Path, Path.as_uri], ids=["text", "path", "file URL"])
async def test_a_file_is_loaded(tmp_path: Path, spelled: Any) -> None:
    path = tmp_path / "a fox.png"
    path.write_bytes(PNG)

    assert await load_source(spelled(path)) == PNG


async def test_a_tilde_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "fox.png").write_bytes(PNG)

    assert await load_source("~/fox.png") == PNG


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(";base64," + base64.b64encode(PNG).decode(), id="base64"),
        pytest.param("," + "".join(f"%{byte:02x}" for byte in PNG), id="percent signs"),
    ],
)
async def test_a_data_url_is_decoded(body: str) -> None:
    assert await load_source("data:image/png" + body) == PNG


async def test_any_file_system_of_fsspec_is_read(memory: str) -> None:
    assert await load_source(f"{memory}/fox.png") == PNG


@pytest.mark.usefixtures("memory")
async def test_the_options_reach_the_file_system() -> None:
    options = {"path": "/references", "target_protocol": "memory"}

    assert await load_source("dir://fox.png", options=options) == PNG


@pytest.mark.parametrize("page", ["fox.png", "moved"], ids=["at once", "after a redirect"])
async def test_a_web_address_is_fetched(site: str, page: str) -> None:
    assert await load_source(f"{site}/{page}") == PNG


# What is refused on the way


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "empty.png").touch()
    (tmp_path / "large.png").write_bytes(b"\0" * 2000)
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "why"),
    [
        pytest.param("fox.png", "does not exist", id="missing"),
        pytest.param("", "is a folder", id="a folder"),
        pytest.param("empty.png", "is empty", id="empty"),
        pytest.param("large.png", "is larger than", id="too large"),
        pytest.param("pipe", "not a file", id="a pipe"),
        pytest.param("nul\0", "could not be read", id="an impossible name"),
    ],
)
async def test_a_bad_file_is_refused_by_name(
    folder: Path, limit: Limit, name: str, why: str
) -> None:
    limit(picture_max_bytes=1000)
    with pytest.raises(ReferenceImageError, match=why) as caught:
        await load_source(folder / name)

    assert str(folder) in str(caught.value)
    assert "JPEG" not in str(caught.value), "which is no help where there is no file"
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("source", "why"),
    [
        pytest.param(b"", "is empty", id="no bytes"),
        pytest.param(b"\0" * 1001, "is larger than", id="too many bytes"),
        pytest.param("data:image/png;base64,YQ=*=", "not valid base64", id="broken base64"),
        pytest.param("data:image/png", "no comma", id="data URL without data"),
        pytest.param("memory://references/nothing.png", "does not exist", id="nothing there"),
        pytest.param("memory://references", "is a folder", id="a remote folder"),
        pytest.param("s4://bucket/fox.png", "could not be read", id="an unknown protocol"),
        pytest.param("http://127.0.0.1:1/fox.png", r"\(ConnectError\)", id="nobody answers"),
    ],
)
@pytest.mark.usefixtures("memory")
async def test_a_bad_source_is_refused(limit: Limit, source: str | bytes, why: str) -> None:
    limit(picture_max_bytes=1000)
    with pytest.raises(ReferenceImageError, match=why):
        await load_source(source)


@pytest.mark.parametrize(
    ("page", "why"),
    [
        pytest.param("nothing", "does not exist", id="404"),
        pytest.param("forbidden", "HTTP status 403", id="403"),
        pytest.param("fox.png", "is larger than", id="too large"),
    ],
)
async def test_a_bad_answer_is_refused(site: str, limit: Limit, page: str, why: str) -> None:
    limit(picture_max_bytes=len(PNG) - 1)
    with pytest.raises(ReferenceImageError, match=why):
        await load_source(f"{site}/{page}")


async def test_a_silent_server_is_not_waited_for(site: str, limit: Limit) -> None:
    limit(source_seconds=0.05)
    with pytest.raises(ReferenceImageError, match=r"longer than 0\.05 s"):
        await load_source(f"{site}/silence")


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(f"http://user:{SECRET}@127.0.0.1:1/fox.png", id="a password"),
        pytest.param(f"http://127.0.0.1:1/fox.png?signature={SECRET}", id="a signature"),
        pytest.param(f"http://127.0.0.1:1/fox.png#{SECRET}", id="a fragment"),
        pytest.param(f"s4://user:{SECRET}@bucket/fox.png?token={SECRET}", id="an unknown protocol"),
        pytest.param(f"zip://fox.png::s4://user:{SECRET}@bucket/a.zip", id="a chain"),
        pytest.param(f"data:image/png;{SECRET}", id="data"),
    ],
)
async def test_no_error_tells_a_secret(url: str) -> None:
    with pytest.raises(ReferenceImageError) as caught:
        await load_source(url)

    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "fox.png" in str(caught.value) or url.startswith("data:")


@pytest.mark.parametrize("page", [f"fox.png?signature={SECRET}", "moved"], ids=["asked", "moved"])
async def test_no_log_line_tells_a_secret(
    site: str, page: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await load_source(f"{site}/{page}")

    assert SECRET not in caplog.text
    assert redaction._may_be_logged(logging.makeLogRecord({}))  # others log as ever


# Fitting


def test_a_picture_that_fits_passes_unchanged() -> None:
    assert fit(PNG, (64, 48)) == (PNG, "image/png", ".png")


@pytest.mark.parametrize(
    ("kind", "content_type", "suffix"),
    [("JPEG", "image/jpeg", ".jpg"), ("PNG", "image/png", ".png"), ("WEBP", "image/webp", ".webp")],
)
def test_the_type_is_told_from_the_content(kind: str, content_type: str, suffix: str) -> None:
    assert fit(encoded(plain(), kind), None)[1:] == (content_type, suffix)


@pytest.mark.parametrize(
    ("kind", "content_type"),
    [
        ("JPEG", "image/jpeg"),
        ("MPO", "image/jpeg"),
        ("PNG", "image/png"),
        ("WEBP", "image/png"),
        ("GIF", "image/png"),
        ("BMP", "image/png"),
        ("TIFF", "image/png"),
    ],
)
def test_every_kind_is_fitted(kind: str, content_type: str) -> None:
    more: dict[str, Any] = {"save_all": True, "append_images": [plain(BLUE)]}
    source = encoded(plain(), kind, **(more if kind == "MPO" else {}))  # of one it makes a JPEG
    data, told, _ = fit(source, (20, 20))

    assert told == content_type
    assert opened(data).size == (20, 20)
    assert colours(data, (10, 10)) == [RED]


def test_a_kind_that_servers_refuse_becomes_png_at_its_own_size() -> None:
    data, content_type, suffix = fit(encoded(plain(), "GIF"), None)

    assert (content_type, suffix) == ("image/png", ".png")
    assert opened(data).size == (64, 48)


def test_cover_fills_the_frame_and_crops_the_middle() -> None:
    data, *_ = fit(encoded(stripes()), (160, 160), "cover")

    assert opened(data).size == (160, 160)
    assert colours(data, (4, 4), (155, 155)) == [GREEN, GREEN]


def test_contain_shows_all_between_black_bars() -> None:
    data, *_ = fit(encoded(stripes()), (240, 200), "contain")

    assert opened(data).size == (240, 200)
    seen = colours(data, (20, 58), (20, 62), (120, 100), (220, 138), (220, 142))
    assert seen == [BLACK, RED, GREEN, BLUE, BLACK]


def test_contain_keeps_a_hair_line_visible() -> None:
    data, *_ = fit(encoded(plain(size=(1, 2000))), (65, 40), "contain")

    assert colours(data, (31, 20), (32, 20), (33, 20)) == [BLACK, RED, BLACK]


def test_exact_accepts_the_exact_size() -> None:
    assert fit(PNG, (64, 48), "exact")[0] == PNG


def test_exact_refuses_any_other_and_names_both() -> None:
    with pytest.raises(
        ReferenceImageError, match=r"^The reference image is 64x48, and the video 48x64\. .*cover"
    ):
        fit(PNG, (48, 64), "exact")


# Where the stripes' left end, which is red, is seen after each of EXIF's orientations.
ORIENTATIONS = {
    1: ((120, 40), "left"),
    2: ((120, 40), "right"),
    3: ((120, 40), "right"),
    4: ((120, 40), "left"),
    5: ((40, 120), "top"),
    6: ((40, 120), "top"),
    7: ((40, 120), "bottom"),
    8: ((40, 120), "bottom"),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("mode", ["cover", "contain", "exact"])
def test_a_turned_photograph_is_set_upright(orientation: int, kind: str, mode: Mode) -> None:
    size, red_at = ORIENTATIONS[orientation]
    image, exif = stripes(), Image.Exif()
    image.paste(BLACK, (0, 0, 10, 10))  # tells a mirrored picture from a turned one
    exif[0x0112] = orientation

    data, *_ = fit(encoded(image, kind, exif=exif), size, mode)

    width, height = size
    ends = {
        "left": (20, 20),
        "right": (width - 20, 20),
        "top": (20, 20),
        "bottom": (20, height - 20),
    }
    assert colours(data, ends[red_at]) == [RED]
    corner = {1: (4, 4), 2: (115, 4), 3: (115, 35), 4: (4, 35)}
    corner |= {5: (4, 4), 6: (35, 4), 7: (35, 115), 8: (4, 115)}
    assert colours(data, corner[orientation]) == [BLACK]
    assert opened(data).getexif().get(0x0112, 1) == 1


def test_metadata_does_not_survive_a_change() -> None:
    exif = Image.Exif()
    exif[0x010E] = "at home"
    source = encoded(plain(), "JPEG", exif=exif, comment=b"at home", quality=90)
    assert b"at home" in source

    assert b"at home" not in fit(source, (32, 32))[0]


def swapped_inks() -> bytes:
    """A profile of colours by which what is written as red is green."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = (profile.index(tag, 128) + 4 for tag in (b"rXYZ", b"gXYZ"))
    profile[red : red + 8], profile[green : green + 8] = (
        profile[green : green + 8],
        profile[red : red + 8],
    )
    return bytes(profile)


@pytest.mark.parametrize("size", [(64, 48), (32, 24)], ids=["right size", "another size"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_colours_of_a_profile_survive_and_the_profile_does_not(
    kind: str, size: tuple[int, int]
) -> None:
    quality = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    image = Image.new("RGB", (64, 48), (200, 30, 30))
    data, *_ = fit(encoded(image, kind, icc_profile=swapped_inks(), **quality), size)

    red, green, _ = opened(data).convert("RGB").getpixel((8, 8))  # type: ignore[misc]  # a colour
    assert green > 150 > 80 > red
    assert "icc_profile" not in opened(data).info
    none = fit(encoded(plain(), icc_profile=b"no profile"), size)[0]
    assert b"no profile" not in none


def place_of_a_photograph() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010E] = "canary: at home"
    exif.get_ifd(0x8825)[1] = "N-canary"
    return exif


def words() -> PngImagePlugin.PngInfo:
    told = PngImagePlugin.PngInfo()
    told.add_text("Author", "canary")
    told.add_itxt("Comment", "canary", zip=False)
    told.add(b"prVt", b"canary", after_idat=True)
    return told


TELLING = [
    ("JPEG", {"exif": place_of_a_photograph()}),
    ("JPEG", {"comment": b"canary"}),
    ("JPEG", {"xmp": b"<x:canary/>"}),
    ("PNG", {"exif": place_of_a_photograph()}),
    ("PNG", {"pnginfo": words()}),
    ("WEBP", {"exif": place_of_a_photograph(), "lossless": True}),
    ("WEBP", {"xmp": b"<x:canary/>", "lossless": True}),
]


@pytest.mark.parametrize(("kind", "told"), TELLING)
@pytest.mark.parametrize("size", [None, (64, 48), (32, 32)])
def test_a_picture_tells_nothing_but_its_pixels(
    kind: str, told: dict[str, Any], size: tuple[int, int] | None
) -> None:
    source = encoded(stripes().resize((64, 48)), kind, **told)
    assert b"canary" in source

    data, *_ = fit(source, size)

    assert b"canary" not in data
    if size != (32, 32):
        was, now = (opened(each).convert("RGB") for each in (source, data))
        assert was.tobytes() == now.tobytes(), "its pixels are as they were"
    assert fit(source, size)[0] == data
    sent, *_ = sendable(source)
    assert b"canary" not in sent


MEMORY = """
import sys
from prefect_sora.requests.reference import fit
data = sys.stdin.buffer.read()
def most():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
before = most()
fit(data, (1280, 720))
print((most() - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells it so")
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_small_file_of_many_pixels_takes_twice_its_pixels_at_most(mode: str) -> None:
    source = encoded(Image.new(mode, (8190, 8190), "red"))
    assert len(source) < 400_000
    command = [sys.executable, "-c", MEMORY]
    ended = subprocess.run(command, input=source, capture_output=True, check=True)
    once = 8190 * 8190 * 4 // 2**20
    assert int(ended.stdout) < 2.4 * once, "it was five times"


def test_a_colour_profile_of_other_inks_does_not() -> None:
    image = plain((0, 255, 255, 0), "CMYK")
    data, *_ = fit(encoded(image, "JPEG", icc_profile=b"printing press"), (32, 32))

    assert b"printing press" not in data


def transparent_palette() -> Image.Image:
    image = Image.new("P", (64, 48), 0)
    image.putpalette([*RED, *BLUE])
    image.info["transparency"] = 0
    return image


@pytest.mark.parametrize("size", [(64, 48), (32, 24)], ids=["right size", "another size"])
@pytest.mark.parametrize(
    ("data", "colour"),
    [
        pytest.param(encoded(plain((*BLUE, 0), "RGBA")), WHITE, id="transparent"),
        pytest.param(encoded(plain((0, 0), "LA")), WHITE, id="transparent grey"),
        pytest.param(encoded(transparent_palette()), WHITE, id="transparent palette"),
        pytest.param(encoded(plain(BLUE), transparency=BLUE), WHITE, id="transparent colour"),
        pytest.param(encoded(plain((*BLUE, 0), "RGBA"), "WEBP"), WHITE, id="transparent WebP"),
        pytest.param(encoded(plain().convert("P")), RED, id="palette"),
        pytest.param(encoded(plain(1, "1")), WHITE, id="black and white"),
        pytest.param(encoded(plain((0, 255, 255, 0), "CMYK"), "JPEG"), RED, id="CMYK"),
        pytest.param(encoded(plain(40 * 256, "I;16")), BLACK, id="dark 16-bit grey"),
        pytest.param(encoded(plain(65535, "I;16")), WHITE, id="white 16-bit grey"),
        pytest.param(encoded(plain(40 * 256, "I"), "TIFF"), BLACK, id="32-bit grey"),
    ],
)
def test_every_pixel_format_becomes_opaque_rgb(
    data: bytes, colour: tuple[int, ...], size: tuple[int, int]
) -> None:
    fitted, *_ = fit(data, size)

    assert colours(fitted, (10, 10)) == [colour]


def test_an_opaque_alpha_channel_is_no_reason_to_write_anew() -> None:
    data = encoded(plain((*RED, 255), "RGBA"))

    assert fit(data, (64, 48))[0] == data


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    source = encoded(plain(), kind, save_all=True, append_images=[plain(BLUE), plain(GREEN)])

    data, content_type, _ = fit(source, (64, 48))

    assert content_type == "image/png"
    assert not getattr(opened(data), "is_animated", False)
    assert colours(data, (10, 10)) == [RED]


def test_equal_input_gives_equal_output() -> None:
    source = encoded(stripes(), "JPEG")

    assert fit(source, (64, 64)) == fit(source, (64, 64))


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that its few bytes of data do not have."""
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


@pytest.mark.parametrize(
    "side", [8193, 12_000, 100_000], ids=["just too large", "Pillow warns", "Pillow refuses"]
)
def test_a_bomb_is_refused_before_it_is_decoded(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("it was decoded"))
    with pytest.raises(ReferenceImageError, match="too many pixels"):
        fit(png_of_size(side, side), (64, 48))


JPEG = encoded(stripes(), "JPEG")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(b"A red kite over a park.\n", "it is text", id="text"),
        pytest.param(b"<!DOCTYPE html>", "it is an HTML, SVG or XML page", id="a page"),
        pytest.param(b'{"error": "gone"}', "it is JSON", id="JSON"),
        pytest.param(b"\0\0\0\x18ftypqt  ", "it is HEIC, AVIF or a video", id="a film"),
        pytest.param(bytes(100), "it is unknown data", id="zeros"),
        pytest.param(JPEG[: len(JPEG) // 2], "cut or damaged", id="half a JPEG"),
        pytest.param(PNG[:60], "cut or damaged", id="the start of a PNG"),
        pytest.param(encoded(plain(0.5, "F"), "TIFF"), "floating-point", id="floating point"),
    ],
)
@pytest.mark.parametrize("size", [None, (64, 48)], ids=["any size", "a size"])
def test_what_is_no_picture_is_refused_with_a_way_on(
    data: bytes, why: str, size: tuple[int, int] | None
) -> None:
    with pytest.raises(ReferenceImageError, match=why) as caught:
        fit(data, size)

    assert "JPEG, PNG" in str(caught.value)
    assert caught.value.next_step


# Both together


async def test_a_prepared_reference_is_ready_to_send(tmp_path: Path) -> None:
    source = encoded(stripes(), "JPEG")
    (tmp_path / "misnamed.png").write_bytes(source)

    reference = await prepare(tmp_path / "misnamed.png", (64, 64), "contain")

    assert (reference.content_type, reference.filename) == ("image/jpeg", "reference.jpg")
    assert opened(reference.data).size == (64, 64)
    assert reference.source_sha256 == hashlib.sha256(source).hexdigest()
    assert "data" not in repr(reference)


@pytest.mark.usefixtures("memory")
async def test_the_options_of_a_prepared_reference_reach_its_file_system() -> None:
    options = {"path": "/references", "target_protocol": "memory"}

    assert (await prepare("dir://fox.png", None, options=options)).data == PNG


# What records say of it


@pytest.mark.parametrize(
    ("reference", "address"),
    [
        ("https://me:f00dfeed@host/fox.png?sig=f00dfeed#f00dfeed", "https://host/fox.png"),
        ("https://f00dfeed@host", "https://host"),
        ("s3://bucket/a fox.png", "s3://bucket/a fox.png"),
        ("zip://fox.png::https://host/all.zip?sig=f00dfeed", "zip://fox.png::https://host/all.zip"),
        ("pictures/fox#2.png", "pictures/fox#2.png"),
        (Path("pictures/fox?.png"), "pictures/fox?.png"),
        ("data:image/png;base64,f00dfeed", "data:image/png"),
        ("DATA:,f00dfeed", "data:"),
        ("data:f00dfeed", "data:"),
        (PNG, None),
        (None, None),
    ],
)
def test_a_record_says_where_a_picture_came_from_and_no_secret(
    reference: Any, address: str | None
) -> None:
    assert public_address(reference) == address


def test_an_address_in_a_record_is_short() -> None:
    address = public_address(f"https://host/{'x' * 1000}")
    assert address is not None
    assert (len(address), address[-1]) == (300, "…")


@pytest.fixture
def heif() -> None:
    """Read and write HEIC, which the extra `heic` does."""
    pytest.importorskip("pillow_heif").register_heif_opener()


@pytest.mark.usefixtures("heif")
def test_a_phones_photograph_becomes_a_jpeg_of_the_videos_size() -> None:
    photograph = encoded(stripes(), "HEIF", quality=95)
    data, content_type, suffix = fit(photograph, (60, 20))

    assert (content_type, suffix) == ("image/jpeg", ".jpg")
    assert opened(data).size == (60, 20)
    red, _, blue = opened(data).convert("RGB").getpixel((8, 10))  # type: ignore[misc]
    assert red > 200 > 60 > blue


@pytest.mark.usefixtures("heif")
def test_a_phones_photograph_is_sent_as_png_to_be_changed() -> None:
    data, content_type, suffix = sendable(encoded(stripes(), "HEIF"))
    assert (opened(data).size, content_type, suffix) == ((120, 40), "image/png", ".png")


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    readable.cache_clear()
    with pytest.raises(ReferenceImageError, match=r"pip install 'prefect-sora\[heic\]'"):
        fit(b"\0\0\0\x18ftypheic", None)
    readable.cache_clear()
