"""How long a render may take where nobody says: what its length, its pixels and its model need."""

import re
from typing import Final

from prefect_sora.limits import limits

BASE_CLIP_SECONDS: Final = 8
BASE_CLIP_PIXELS: Final = 1280 * 720
"""The base clip: 8 s of 720p on a base model. It fills in what a request leaves open. Ours."""

PRO_FACTOR: Final = 3.0
"""How much longer a `pro` model may take for the same clip. Ours: it is priced three times as
high, and nobody publishes times."""

_PRO: Final = re.compile(r"(?:^|[^a-z0-9])pro(?:$|[^a-z0-9])", re.IGNORECASE)


def deadline_seconds(model: str | None, size: str | None, seconds: float | None) -> float:
    """Compute the deadline of one render, in seconds.

    It grows with the clip's length, with its pixels, and threefold for a `pro` model:
    600 for 8 s of 1280x720, 900 for 12 s, 3,600 for 16 s of a `pro` model, 10,125 for
    20 s of 1920x1080 of such a model. Never less than 600, never more than a day.

    Args:
        model: The video model; None for a server's only one.
        size: `WIDTHxHEIGHT`; None where the request leaves it to its source.
        seconds: The clip's length; None where its source decides, too.
    """
    width, _, height = (size or "").partition("x")
    pixels = int(width) * int(height) if width.isdigit() and height.isdigit() else BASE_CLIP_PIXELS
    scale = (seconds or BASE_CLIP_SECONDS) / BASE_CLIP_SECONDS * pixels / BASE_CLIP_PIXELS
    if model and _PRO.search(model):
        scale *= PRO_FACTOR
    return min(limits().deadline_seconds * max(scale, 1.0), limits().deadline_max_seconds)
