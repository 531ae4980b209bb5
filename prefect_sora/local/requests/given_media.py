"""Given media: pictures that come with a request, as data URLs or as files."""

import base64
import binascii
import io
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from prefect_sora.local.requests.refusals import bad

if TYPE_CHECKING:  # Pillow is loaded where the first picture comes
    from PIL import Image

EDGE_LIMIT: Final = 4096
"""The longest edge that is drawn, in pixels."""

IMAGE_FORMATS: Final = ("JPEG", "PNG", "WEBP")


def data_of(url: object, param: str) -> bytes:
    """The bytes of a data URL.

    Raises:
        Refusal: It is another kind of URL, or is not base64.
    """
    match = re.match(r"data:[^,]{0,100};base64,", url) if isinstance(url, str) else None
    if not isinstance(url, str) or match is None:
        raise bad(param, "this server takes data URLs only, not links")
    try:
        return base64.b64decode(url[match.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise bad(param, "its data URL is not base64") from None


def opened_image(
    data: bytes, param: str, decodes: Callable[[tuple[int, int]], bool]
) -> "Image.Image":
    """Open a picture; decode it whole where its size says that it will be used.

    Args:
        data: The file.
        param: The field that it came in.
        decodes: Told the width and height; a picture of another size is not decoded, because
            a small file can hold a huge picture.

    Raises:
        Refusal: It is no JPEG, PNG or WebP image, or is torn.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)
        if decodes(image.size):
            image.load()
    except Exception:  # Pillow raises many kinds on bad bytes
        raise bad(param, "it is not a readable JPEG, PNG or WebP image") from None
    return image
