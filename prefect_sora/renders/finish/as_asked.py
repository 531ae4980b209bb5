"""As asked: a clip of another size or length than was asked for is paid, so it is kept and told."""

import contextlib
from typing import Any, Final

from prefect_sora.errors import NotAsAskedError, StorageError
from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.limits import limits
from prefect_sora.media.mp4 import Mp4Info
from prefect_sora.requests.video import DERIVED
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import Reserved

_SIZES: Final = frozenset({"width", "height"})
_LENGTHS: Final = frozenset({"num_frames", "fps", "frame_rate"})
"""Further fields of diffusion servers; where one is sent, it says more than ours do."""


async def asked_instead(
    video: VideoJob, begun: Reserved | None, came: Mp4Info, ledger: Ledger
) -> dict[str, Any]:
    """Compare a clip with its request; return the fields of `StoredVideo` that tell a difference.

    A remix and an edit are compared with the clip that they start from, an extension with that
    clip and what it adds, where the store has it.

    Args:
        video: The job.
        begun: Its reservation, which has the request; None where it cannot be read.
        came: What the file says of itself.
        ledger: The store's records.
    """
    size, seconds = await _asked(video, begun, ledger)
    told: dict[str, Any] = {}
    if size and size != f"{came.width}x{came.height}":
        told["asked_size"] = size
    length = came.duration_seconds
    if seconds and length and abs(length - seconds) > limits().length_tolerance_seconds:
        told["asked_seconds"] = seconds
    return told


async def _asked(
    video: VideoJob, begun: Reserved | None, ledger: Ledger
) -> tuple[str | None, float | None]:
    if begun is None or video.kind == "existing":
        return None, None
    if video.kind in DERIVED:
        source = await _source(video, ledger)
        if source is None:
            return None, None
        added = _seconds(begun) if video.kind == "extend" else 0.0
        length = source.duration_seconds
        return f"{source.width}x{source.height}", length + added if length else None
    extra = begun.request.get("extra")
    given = set(extra) if isinstance(extra, dict) else set()
    size = begun.request.get("size")
    return (
        size if isinstance(size, str) and not given & _SIZES else None,
        None if given & _LENGTHS else _seconds(begun) or None,
    )


def _seconds(begun: Reserved) -> float:
    """Say how many seconds a request asked for; 0 where it cannot be read."""
    seconds = begun.request.get("seconds")
    return float(seconds) if isinstance(seconds, (int, float)) else 0.0


async def _source(video: VideoJob, ledger: Ledger) -> StoredVideo | None:
    if video.parent_key:
        with contextlib.suppress(StorageError):  # it would only be compared with
            state = await ledger.named(video.parent_key)
            return state.stored.video if state and state.stored else None
    return None


def held_to(strict: bool, video: StoredVideo) -> StoredVideo:
    """Return a kept clip, unless it is not as it was asked for and that is refused.

    Args:
        strict: Refuse it.
        video: The clip.

    Raises:
        NotAsAskedError: It is another, and `strict`. It is kept all the same.
    """
    if strict and video.differences:
        raise NotAsAskedError(
            f"The clip is another than was asked for: {' and '.join(video.differences)}.",
            video=video,
            key=video.key,
            video_id=video.video_id,
            paid="yes",
            next_step=f"It is kept at {video.url}. Ask for what the server renders, or leave out "
            "strict to take it as it is.",
        )
    return video


__all__ = ["asked_instead", "held_to"]
