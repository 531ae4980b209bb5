"""Pictures: what bytes show, told from the bytes alone, and whether they are a whole picture."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from prefect_sora.errors import CorruptVideoError, ReferenceImageError
from prefect_sora.limits import limits
from prefect_sora.requests.reference import allowed, bare_jpeg, in_srgb, readable, tells_more

_SUFFIXES: Final = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "GIF": ".gif"}
_TYPES: Final = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}

_THUMBNAIL_SIDE: Final = 640
_COLUMNS: Final = 5


@dataclass(frozen=True)
class Picture:
    """A whole picture that an image model has made.

    Attributes:
        data: The file's bytes, as they came.
        suffix: The file name's, by its content.
        has_alpha: Whether a pixel of it is see-through.
    """

    data: bytes
    format: str
    suffix: str
    width: int
    height: int
    has_alpha: bool


def picture_of(data: bytes) -> Picture:
    """Decode a picture to its last pixel.

    Raises:
        CorruptVideoError: It is no whole picture of a kind that image models make.
    """
    try:
        with warnings.catch_warnings():
            # The picture is paid for, so it is kept however large it is.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = _whole(data, tuple(_SUFFIXES))
        kind = str(image.format)
        clear = image.has_transparency_data and (
            image.convert("RGBA").getchannel("A").histogram()[255] < image.width * image.height
        )
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, …
        told = "no picture" if isinstance(error, UnidentifiedImageError) else "cut or damaged"
        raise CorruptVideoError(f"What came is {told} ({len(data)} bytes).") from None
    return Picture(data, kind.lower(), _SUFFIXES[kind], *image.size, clear)


def sheet_of(pictures: Sequence[Picture]) -> bytes:
    """Draw all pictures small, side by side, as one WebP for a page in a UI."""
    side = _THUMBNAIL_SIDE if len(pictures) == 1 else _THUMBNAIL_SIDE // 2
    small: list[Image.Image] = []
    for picture in pictures:
        with Image.open(io.BytesIO(picture.data)) as image:
            image.thumbnail((side, side))
            small.append(image.convert("RGBA" if picture.has_alpha else "RGB"))
    columns = min(_COLUMNS, len(small))
    width, height = max(i.width for i in small), max(i.height for i in small)
    mode = "RGBA" if any(i.mode == "RGBA" for i in small) else "RGB"
    sheet = Image.new(mode, (width * columns, height * -(-len(small) // columns)))
    for number, one in enumerate(small):
        sheet.paste(one, (number % columns * width, number // columns * height))
    file = io.BytesIO()
    sheet.save(file, "WEBP", quality=80, method=2)
    return file.getvalue()


def sendable(data: bytes, what: str = "picture to change") -> tuple[bytes, str, str]:
    """Return a picture as an image server takes it, its content type and its suffix.

    PNG, JPEG and WebP that tell nothing but their pixels pass unchanged, transparency and all.
    Others are written anew, upright, in sRGB and without what they tell besides: JPEG as JPEG,
    all else as PNG.

    Raises:
        ReferenceImageError: It is no whole picture of a kind that is read, or is too large.
    """
    try:
        with Image.open(io.BytesIO(data), formats=readable()) as header:
            if (
                header.width * header.height <= limits().picture_max_pixels
            ):  # known before any is decoded
                return _as_sent(data, _whole(data, readable()))
            problem = f"has too many pixels ({header.width}x{header.height})"
    except UnidentifiedImageError:
        problem = f"is no image that we read. {allowed()}"
    except Exception as error:  # as above
        problem = f"is cut, damaged or too large ({type(error).__name__})"
    raise _refused(what, problem)


def _whole(data: bytes, kinds: tuple[str, ...]) -> Image.Image:
    """Decode all of it; Pillow forgives a PNG, a WebP and a GIF that lack their end.

    Raises:
        Exception: Whatever Pillow's decoders raise.
    """
    with Image.open(io.BytesIO(data), formats=kinds) as image:
        kind = image.format
        if kind == "PNG":
            image.verify()  # every chunk's checksum, to the last one
    is_cut = {
        "WEBP": lambda: int.from_bytes(data[4:8], "little") + 8 > len(data),
        "GIF": lambda: b";" not in data[-16:],
    }
    if kind in is_cut and is_cut[kind]():
        raise OSError("its end is missing")
    whole = Image.open(io.BytesIO(data), formats=kinds)
    whole.load()
    return whole


def _as_sent(data: bytes, image: Image.Image) -> tuple[bytes, str, str]:
    if image.format in _TYPES and not tells_more(image):
        return data, _TYPES[image.format], _SUFFIXES[image.format]
    profile = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA") else None
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    if not (turned or profile) and (bare := bare_jpeg(data, image)):
        return bare, _TYPES["JPEG"], _SUFFIXES["JPEG"]
    upright = in_srgb(ImageOps.exif_transpose(image), profile)
    kind = "JPEG" if image.format == "JPEG" else "PNG"
    plain = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    plain.info = {}  # Pillow would write its comment
    out = io.BytesIO()
    plain.save(out, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
    return out.getvalue(), _TYPES[kind], _SUFFIXES[kind]


def check_mask(mask: bytes, first: bytes) -> None:
    """See that a mask says where the first picture may change.

    Raises:
        ReferenceImageError: It is no PNG of the same size with transparent pixels.
    """
    with Image.open(io.BytesIO(mask)) as over, Image.open(io.BytesIO(first)) as under:
        if over.format != "PNG" or not over.has_transparency_data:
            raise _refused("mask", "is no PNG with transparent pixels, where changes may be")
        if over.size != under.size:
            sizes = "{}x{}, and the first picture {}x{}".format(*over.size, *under.size)
            raise _refused("mask", f"has another size than the picture: it is {sizes}")


def _refused(what: str, problem: str) -> ReferenceImageError:
    said = f"The {what} {problem}"
    return ReferenceImageError(said.rstrip(".") + ".", next_step="Give another one.")
