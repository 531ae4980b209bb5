"""Wait options: how long a job is waited for, where somebody says so and where nobody does."""

import re
from dataclasses import dataclass
from typing import Final

from prefect_sora.limits import limits
from prefect_sora.renders.finish.cancel import OnCancel

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


@dataclass(frozen=True, kw_only=True)
class WaitOptions:
    """How long a job is waited for, and what becomes of it when the wait is cancelled.

    Attributes:
        timeout_seconds: The deadline of each render, of its submission too; past it the job is
            still resumable. None: as long as the clip's length, size and model give
            (`deadline_seconds`), 600 s at least.
        poll_interval_seconds: Shortest pause between two requests.
        max_poll_attempts: The deadline in polls; the sooner of the two ends the wait.
        stall_seconds: How long status and progress may stay as they are, in a queue too.
        on_cancel: `leave` the job to the next run, or `delete` it where a person has cancelled
            the run that submitted it, and it is not finished.
        strict: Whether a clip of another size or length than was asked for is an error, once it
            is kept; else `StoredVideo.differences` tells it.
    """

    timeout_seconds: float | None = None
    poll_interval_seconds: float = 5.0
    max_poll_attempts: int | None = None
    stall_seconds: float | None = None
    on_cancel: OnCancel = "leave"
    strict: bool = False
