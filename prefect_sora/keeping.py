"""Keep: a finished video is streamed into the store, checked, and recorded.

`fetch → store`. The video's bytes pass through in chunks; what stands under the
final name has the announced length, is a whole MP4 file, and has the recorded hash.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from time import time
from typing import Final

from prefect_sora import catalogue, media
from prefect_sora.client import VideoClient
from prefect_sora.errors import (
    CorruptVideoError,
    DownloadError,
    RateLimitError,
    SoraError,
    UnavailableError,
    VideoExpiredError,
    VideoNotFoundError,
)
from prefect_sora.handles import RenderedVideo, StoredVideo, VideoJob
from prefect_sora.ledger import Ledger
from prefect_sora.mp4 import Mp4Info, Mp4Scanner
from prefect_sora.storage import VideoFolder, Written

log = logging.getLogger(__name__)

DOWNLOAD_ATTEMPTS: Final = 5
"""How often one call fetches a video whose bytes come cut or wrong. Ours."""

MAX_STILL_BYTES: Final = 20 * 1024 * 1024
"""A thumbnail or spritesheet above this is none. Ours."""

_SUFFIXES: Final = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG": ".png",
    b"RIFF": ".webp",
}
_DRAWN: Final = {"thumbnail": ".webp", "spritesheet": ".jpg", "preview": ".webp"}


@dataclass(frozen=True)
class Fetched:
    """A whole video at its place."""

    written: Written
    info: Mp4Info


async def fetch(video: VideoJob, client: VideoClient, folder: VideoFolder, name: str) -> Fetched:
    """Stream the video into `folder` as `name`, whole or not at all.

    Raises:
        VideoExpiredError: The server no longer has it.
        CorruptVideoError: What arrives is not a whole MP4 file, time after time.
        DownloadError: The download breaks, time after time.
        StorageError: The store refuses.
    """
    for attempt in range(1, DOWNLOAD_ATTEMPTS + 1):
        try:
            return await _fetch_once(video, client, folder, name)
        except (CorruptVideoError, UnavailableError, RateLimitError, VideoNotFoundError) as error:
            failure = _download_error(error, video)
            last = attempt == DOWNLOAD_ATTEMPTS or not failure.retryable
            log.warning("Download %d of video %s: %s", attempt, video.video_id, error.message)
            if last:
                raise failure from error
            asked = getattr(error, "retry_after_s", None) or 0.0
            await asyncio.sleep(max(asked, min(0.5 * 2 ** (attempt - 1), 8.0)))
    raise AssertionError("unreachable: the last attempt returns or raises")


async def _fetch_once(
    video: VideoJob, client: VideoClient, folder: VideoFolder, name: str
) -> Fetched:
    scanner = _Mp4Check()
    async with client.content(video.video_id) as content:
        written = await folder.write(
            name, content.chunks, expected_bytes=content.expected_bytes, check=scanner
        )
    return Fetched(written, scanner.info)


class _Mp4Check(Mp4Scanner):
    """The scanner, remembering what it found."""

    info: Mp4Info

    def finish(self) -> Mp4Info:
        self.info = super().finish()
        return self.info


def _download_error(error: SoraError, video: VideoJob) -> DownloadError:
    expires_at = video.expires_at if isinstance(video, RenderedVideo) else None
    if isinstance(error, CorruptVideoError):
        error.about(key=video.key, video_id=video.video_id, paid="yes")
        error.next_step = _fetch_again(video, expires_at)
        return error
    gone = isinstance(error, VideoNotFoundError) and (
        error.status == 410 or (expires_at is not None and time() >= expires_at)
    )
    if gone:
        return VideoExpiredError(
            "The server no longer has this video.",
            key=video.key,
            video_id=video.video_id,
            paid="yes",
            next_step="It cannot be fetched any more; a new take renders, and pays for, another.",
        )
    return DownloadError(
        f"The finished video could not be fetched. {error.message}",
        key=video.key,
        video_id=video.video_id,
        paid="yes",
        next_step=_fetch_again(video, expires_at),
    )


def _fetch_again(video: VideoJob, expires_at: float | None) -> str:
    until = f" until {_clock(expires_at)}" if expires_at else ", often for no more than an hour"
    return f"`prefect-sora resume {video.key}` fetches it again; the server has it{until}."


def _clock(at: float) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


async def keep(video: VideoJob, client: VideoClient, ledger: Ledger) -> StoredVideo:
    """Bring a finished video into the store, with its stills, and record it.

    One that is recorded already is returned as it stands.

    Raises:
        DownloadError: See `fetch`; the job stays resumable.
        StorageError: The store refuses; the job stays resumable.
    """
    state = await ledger.state(video.folder)
    if state.stored:
        return state.stored.video
    try:
        fetched = await fetch(video, client, ledger.store, f"{video.folder}/video.mp4")
        stills = await _stills(video, client, ledger.store)
    except SoraError as error:
        error.about(key=video.key, video_id=video.video_id, paid="yes")
        raise
    seconds = fetched.info.duration_seconds or video.seconds
    stored = StoredVideo(
        key=video.key,
        attempt=video.attempt,
        folder=video.folder,
        video_id=video.video_id,
        provider=video.provider,
        title=video.title,
        model=video.model,
        take=video.take,
        parent_key=video.parent_key,
        url=fetched.written.url,
        sha256=fetched.written.sha256,
        size_bytes=fetched.written.size_bytes,
        width=fetched.info.width,
        height=fetched.info.height,
        duration_seconds=fetched.info.duration_seconds,
        cost_usd=_cost(video, client, seconds),
        created_at=time(),
        **stills,
    )
    return await ledger.keep(video.folder, stored)


def _cost(video: VideoJob, client: VideoClient, seconds: float | None) -> float | None:
    if client.server.local:
        return 0.0
    if video.kind == "existing":
        return None  # paid by whoever rendered it
    return catalogue.cost_usd(video.model, video.size, video.seconds or seconds)


async def _stills(video: VideoJob, client: VideoClient, store: VideoFolder) -> dict[str, str]:
    """Put thumbnail, spritesheet and preview beside the video.

    The server's own where it has them, else drawn from the video. They never
    fail a render: what is missing is missing.
    """
    urls: dict[str, str] = {}
    for variant in sorted(client.server.profile.variants):
        try:
            async with client.content(video.video_id, variant) as content:
                data = await _small(content.chunks)
        except SoraError as error:
            log.info("No %s from the server: %s", variant, error.message)
            continue
        suffix = next((s for magic, s in _SUFFIXES.items() if data.startswith(magic)), None)
        if suffix:  # anything else, such as the video once more, is no still
            urls[variant] = await store.put(f"{video.folder}/{variant}{suffix}", data)
    drawn = await asyncio.to_thread(_draw, store, f"{video.folder}/video.mp4", {*urls})
    for name, data in drawn.items():
        if name not in urls:
            urls[name] = await store.put(f"{video.folder}/{name}{_DRAWN[name]}", data)
    return {f"{name}_url": url for name, url in urls.items()}


def _draw(store: VideoFolder, name: str, given: set[str]) -> dict[str, bytes]:
    """Draw all pictures, or the preview alone where the server gave the others."""
    try:
        with store.open(name) as file:
            if given >= _DRAWN.keys() - {"preview"}:
                return {"preview": media.preview(file)}
            return asdict(media.stills(file))
    except (SoraError, OSError) as error:
        log.warning("No preview of %s: %s", name, error)
        return {}


async def _small(chunks: AsyncIterator[bytes]) -> bytes:
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) > MAX_STILL_BYTES or bytes(data[4:8]) == b"ftyp":
            return b""
    return bytes(data)


async def download(video: VideoJob, client: VideoClient, path: Path) -> Fetched:
    """Fetch a finished video to a path on this machine, whole or not at all.

    Raises:
        DownloadError: See `fetch`.
        StorageError: The path cannot be written.
    """
    path = path.expanduser().absolute()
    return await fetch(video, client, VideoFolder(str(path.parent)), path.name)


__all__ = ["Fetched", "download", "fetch", "keep"]
