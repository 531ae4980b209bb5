"""Reference: any picture that a user points at becomes one that a render can start from."""

import asyncio
import base64
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from prefect_sora.errors import ReferenceImageError
from prefect_sora.limits import limits
from prefect_sora.requests import files
from prefect_sora.requests.files import public_address

Mode = Literal["cover", "contain", "exact"]

# What the video protocol takes, by Pillow's name; anything else is written anew as PNG.
_WIRE = {
    "JPEG": ("image/jpeg", ".jpg"),
    "PNG": ("image/png", ".png"),
    "WEBP": ("image/webp", ".webp"),
}
# APP1 to APP13, APP15 and comments: EXIF, XMP, profiles. JFIF and Adobe say how to read pixels.
_TELLING = {*range(0xE1, 0xEE), 0xEF, 0xFE}
_READ = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


@cache
def readable() -> tuple[str, ...]:
    """Name the kinds of picture that are read, in Pillow's words: HEIC where pillow-heif is."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return _READ
    register_heif_opener()
    return (*_READ, "HEIF")


def allowed() -> str:
    """Say which pictures are read."""
    size, pixels = limits().picture_max_bytes / 2**20, limits().picture_max_pixels / 2**20
    kinds = "JPEG, PNG, WebP, GIF, BMP, TIFF and HEIC images are read"
    if "HEIF" not in readable():
        kinds = (
            "JPEG, PNG, WebP, GIF, BMP and TIFF images are read, and HEIC ones with "
            "`pip install 'prefect-sora[heic]'`"
        )
    return f"{kinds}; up to {size:g} MiB and {pixels:g} megapixels."


def fit(
    data: bytes,
    size: tuple[int, int] | None,
    mode: Mode = "cover",
    *,
    named: str = "The reference image",
) -> tuple[bytes, str, str]:
    """Return the picture at exactly `size`, its content type and its suffix.

    A picture that needs no change and tells nothing but its pixels passes unchanged,
    byte for byte. Any other is turned upright (EXIF), reduced to its first frame and to
    8-bit RGB, laid on white where it is transparent (a video has no alpha), brought to
    sRGB, and written without metadata (GPS, words, profiles): as JPEG from JPEG and HEIC,
    its pixels untouched or at quality 95, else as PNG. Equal input gives equal output.

    Args:
        data: A picture of a kind that `allowed` names.
        size: Width and height of the video; None keeps the picture's own.
        mode: `cover` fills the frame and crops the middle, `contain` shows all
            between black bars, `exact` refuses any other size.
        named: What errors call it.

    Raises:
        ReferenceImageError: No picture, broken, too large, or not of the exact size.
    """
    try:
        with Image.open(io.BytesIO(data), formats=readable()) as image:
            return _fit(data, image, size, mode, named)
    except ReferenceImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels(named, "far too many") from error
    except UnidentifiedImageError as error:
        raise ReferenceImageError(
            f"{named} is no picture that can be read: it is {_looks_like(data)}. {allowed()}",
            next_step="Save it as PNG or JPEG.",
        ) from error
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, …
        raise ReferenceImageError(
            f"{named} is cut or damaged ({error}). {allowed()}",
            next_step="Save or fetch it again, or give another one.",
        ) from error


def _fit(
    data: bytes, image: Image.Image, size: tuple[int, int] | None, mode: Mode, named: str
) -> tuple[bytes, str, str]:
    # Known from the header, before any is decoded.
    if image.width * image.height > limits().picture_max_pixels:
        raise _too_many_pixels(named, f"{image.width}x{image.height}")
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    upright = ImageOps.exif_transpose(image) if turned else image  # which would be copied
    size = size or upright.size
    if mode == "exact" and upright.size != size:
        raise ReferenceImageError(
            "{} is {}x{}, and the video {}x{}.".format(named, *upright.size, *size),
            next_step="Resize it, or have it fitted: fit cover crops it, fit contain adds bars.",
        )
    sendable = image.format in _WIRE and not getattr(image, "is_animated", False)
    fits = not turned and upright.size == size and _is_plain(upright)
    if sendable and fits and not tells_more(image):
        return data, *_WIRE[str(image.format)]
    profile = upright.info.get("icc_profile") if upright.mode in ("RGB", "RGBA") else None
    if fits and not profile and (bare := bare_jpeg(data, image)):
        return bare, *_WIRE["JPEG"]
    out = io.BytesIO()
    fitted = _to_rgb(_shrunk(upright, size, mode), named)
    fitted = in_srgb((_contain if mode == "contain" else _cover)(fitted, size), profile)
    fitted.info = {}  # Pillow would write its comment
    # MPO: a phone's JPEG with further pictures behind it. HEIF: a phone's photograph.
    if image.format in ("JPEG", "MPO", "HEIF"):
        fitted.save(out, "JPEG", quality=95, subsampling=0)
        return out.getvalue(), *_WIRE["JPEG"]
    fitted.save(out, "PNG")
    return out.getvalue(), *_WIRE["PNG"]


def tells_more(image: Image.Image) -> bool:
    """Whether a file tells more than its pixels: a place, a camera, words, a profile of colours."""
    image.load()  # a PNG may have words behind its pixels
    apps = {name for name, _ in getattr(image, "applist", ())}
    return bool(
        apps - {"APP0", "APP14"}  # JFIF, and how Adobe wrote the colours
        or getattr(image, "text", None)
        or getattr(image, "private_chunks", None)
        or {"exif", "icc_profile", "xmp", "comment", "photoshop"} & image.info.keys()
    )


def bare_jpeg(data: bytes, image: Image.Image) -> bytes | None:
    """A JPEG without what it tells besides its pixels, which stay as they are; None of others."""
    if image.format != "JPEG":
        return None
    kept, at = [data[:2]], 2
    while data[at + 1] != 0xDA:  # the pixels begin (ITU T.81, B.1.1.3)
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        kept += [] if data[at + 1] in _TELLING else [data[at:end]]
        at = end
    bare = b"".join(kept) + data[at : data.index(b"\xff\xd9", at) + 2]
    with Image.open(io.BytesIO(bare), formats=["JPEG"]) as same:
        return bare if same.tobytes() == image.tobytes() else None


def in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The picture in the colours that are meant where no profile is; as it is, if that fails."""
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile or b""))
        plain = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, own, plain, outputMode=image.mode) or image
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image


def _shrunk(image: Image.Image, size: tuple[int, int], mode: Mode) -> Image.Image:
    """Shrink a picture that is far larger than is wanted, so that its copies are small, too."""
    sides = [have // want for have, want in zip(image.size, size, strict=True)]
    times = (max if mode == "contain" else min)(sides) // 2
    return image.reduce(times) if times > 1 and image.mode in ("RGB", "RGBA", "L") else image


def _is_plain(image: Image.Image) -> bool:
    """Whether every reader sees the same picture: 8 bits a channel, and opaque."""
    if image.mode == "RGBA":
        return image.getchannel("A").getextrema() == (255, 255)
    return image.mode in ("RGB", "L") and not image.has_transparency_data


def _to_rgb(image: Image.Image, named: str) -> Image.Image:
    if image.mode == "F":
        raise ReferenceImageError(
            f"{named} has floating-point pixels, whose white is unknown. {allowed()}",
            next_step="Save it with 8 bits a channel.",
        )
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip instead of scale
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    ground = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")


def _cover(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS)


def _contain(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    scale = min(size[0] / image.width, size[1] / image.height)
    width, height = (max(1, round(side * scale)) for side in image.size)
    small = image.resize((width, height), Image.Resampling.LANCZOS)
    frame = Image.new("RGB", size, "black")
    frame.paste(small, ((size[0] - width) // 2, (size[1] - height) // 2))
    return frame


def _too_many_pixels(named: str, size: str) -> ReferenceImageError:
    return ReferenceImageError(
        f"{named} has too many pixels ({size}). {allowed()}",
        next_step="Make it smaller: a video's frame is enough.",
    )


def _looks_like(data: bytes) -> str:
    text = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    if data[4:8] == b"ftyp":
        return "HEIC, AVIF or a video"
    if text.startswith(b"<"):
        return "an HTML, SVG or XML page"
    if text.startswith((b"{", b"[")):
        return "JSON"
    printable = text.isascii() and text.decode().replace("\n", "").isprintable()
    return "text" if printable else "unknown data"


@dataclass(frozen=True)
class Reference:
    """A picture ready to send.

    Attributes:
        data: The fitted bytes.
        content_type: Told from the content, not from a suffix.
        filename: A neutral name with the right suffix.
        source_sha256: Hash of the bytes as the user gave them, for the render's identity.
    """

    data: bytes = field(repr=False)
    content_type: str
    filename: str
    source_sha256: str

    @property
    def data_url(self) -> str:
        """The picture as a URL of its own, for servers that take no files."""
        return f"data:{self.content_type};base64,{base64.b64encode(self.data).decode()}"


async def prepare(
    source: str | Path | bytes,
    size: tuple[int, int] | None,
    mode: Mode = "cover",
    *,
    options: Mapping[str, Any] | None = None,
) -> Reference:
    """Load a picture and fit it to the video's size.

    Args:
        source: A path, an http(s) or data: URL, any URL that fsspec opens, or the bytes.
        size: Width and height of the video in pixels; None leaves the picture's own.
        mode: How a picture of another shape is fitted.
        options: For fsspec's file system, such as credentials; http(s) takes none.

    Raises:
        ReferenceImageError: It cannot be loaded or fitted. Nothing was sent.
    """
    original = await load_source(source, options=options)
    named = f"The reference image {shown(source)}"
    data, content_type, suffix = await asyncio.to_thread(fit, original, size, mode, named=named)
    return Reference(data, content_type, f"reference{suffix}", hashlib.sha256(original).hexdigest())


async def load_source(
    source: str | Path | bytes,
    *,
    options: Mapping[str, Any] | None = None,
    what: str = "reference image",
) -> bytes:
    """Return a picture's bytes, at most `Limits.picture_max_bytes`, within a minute.

    Args:
        source: A path, an http(s) or data: URL, any URL that fsspec opens, or the bytes.
        options: For fsspec's file system, such as credentials; http(s) takes none.
        what: What errors call it.

    Raises:
        ReferenceImageError: It is missing, unreadable, empty, too large or too slow.
    """
    try:
        most = limits().picture_max_bytes
        return await files.load(source, max_bytes=most, options=options, private=False)
    except files.UnreadableError as error:
        problem = str(error)
    raise ReferenceImageError(
        f"The {what} {shown(source)} {problem}.",
        next_step="Give another one." if "larger" in problem else "Name a picture that is there.",
    )


def shown(source: str | Path | bytes) -> str:
    """The source without what may be secret in it."""
    address = public_address(source)
    if address is None:
        return "given as bytes"
    return "in the data: URL" if str(source).lower().startswith("data:") else f'"{address}"'


__all__ = ["Reference", "load_source", "prepare", "public_address"]
