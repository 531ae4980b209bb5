"""Expiry: a server keeps its finished videos for a while, often for no more than an hour."""

from datetime import UTC, datetime

from prefect_sora.errors import VideoExpiredError
from prefect_sora.handles import RenderedVideo, VideoJob


def expired(video: VideoJob) -> VideoExpiredError:
    """Say that a video was not fetched in time."""
    at = video.expires_at if isinstance(video, RenderedVideo) else None
    return VideoExpiredError(
        f"The server no longer has this video{f': it expired at {_clock(at)}' if at else ''}.",
        key=video.key,
        next_step="It cannot be fetched any more. To render, and pay for, it once more: "
        f"`prefect-sora resume {video.key} --resubmit`, or a new take.",
    )


def fetch_again(video: VideoJob) -> str:
    """Say how to fetch a video that the server still has, and until when."""
    expires_at = video.expires_at if isinstance(video, RenderedVideo) else None
    until = f" until {_clock(expires_at)}" if expires_at else ", often for no more than an hour"
    return f"`prefect-sora resume {video.key}` fetches it again; the server has it{until}."


def _clock(at: float) -> str:
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{at:g}"  # no Unix seconds, whatever the server means
