"""Fetch: a finished video is streamed to its place, whole or not at all, wherever it lies.

The video's bytes pass through in chunks; what stands under the final name has the announced
length, is a whole MP4 file, and has the hash that is told.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import time
from weakref import WeakKeyDictionary

from prefect_sora.errors import (
    CorruptVideoError,
    DownloadError,
    RateLimitError,
    RejectedError,
    SoraError,
    UnavailableError,
    VideoExpiredError,
    VideoNotFoundError,
)
from prefect_sora.handles import RenderedVideo, VideoJob
from prefect_sora.limits import limits
from prefect_sora.media.mp4 import Mp4Info, Mp4Scanner
from prefect_sora.renders.finish.expiry import Turns, expired, fetch_again, not_fetched
from prefect_sora.servers.not_found import ROUTE_ALIKE, Absence
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.http.arrivals import REFUSED
from prefect_sora.store.backends import VideoFolder, Written

log = logging.getLogger(__name__)

_turns: WeakKeyDictionary[VideoClient, Turns] = WeakKeyDictionary()


@dataclass(frozen=True)
class Fetched:
    """A whole video at its place."""

    written: Written
    info: Mp4Info


async def download(video: VideoJob, client: VideoClient, path: Path) -> Fetched:
    """Fetch a finished video to a path on this machine, whole or not at all.

    Raises:
        VideoExpiredError: The server no longer has it.
        DownloadError: The download breaks, or brings no whole MP4 file, time after time.
        AuthenticationError: The key does not work, or no longer.
        StorageError: The path cannot be written.
    """
    path = path.expanduser().absolute()
    return await fetch(video, client, VideoFolder(str(path.parent)), path.name)


async def fetch(video: VideoJob, client: VideoClient, folder: VideoFolder, name: str) -> Fetched:
    """Stream the video into `folder` as `name`, whole or not at all.

    Raises:
        VideoExpiredError: The server no longer has it.
        CorruptVideoError: What arrives is not a whole MP4 file, time after time.
        DownloadError: The download breaks, time after time.
        AuthenticationError: The key does not work, or no longer.
        StorageError: The store refuses.
    """
    absence, clock = Absence(client.server.profile.lost_after_s), asyncio.get_running_loop().time
    attempt = 0
    with about(video):
        while True:
            try:
                async with _turns.setdefault(client, Turns()).turn(video):
                    return await _fetch_once(video, client, folder, name, absence)
            except (TooLargeError, VideoExpiredError):
                raise
            except (DownloadError, UnavailableError, RateLimitError, VideoNotFoundError) as error:
                unknown = isinstance(error, VideoNotFoundError)
                if unknown and absence.missed(clock()):
                    raise expired(video) from None
                # Until a 404 may be believed, asking again does not count as an attempt.
                attempt += not unknown or absence.contradicted
                log.warning("Download %d of video %s: %s", attempt, video.video_id, error.message)
                if attempt >= limits().download_attempts:
                    raise not_fetched(error, video, absence) from None
                longest = absence.pace_s if unknown else limits().download_pause_max_seconds
                tried = max(attempt, absence.answers)
                await asyncio.sleep(min(_pause(error, tried, video), longest))


async def _fetch_once(
    video: VideoJob, client: VideoClient, folder: VideoFolder, name: str, absence: Absence
) -> Fetched:
    """Try each place that the server has for the file.

    An address that a job names is signed and valid for a short time: so it is asked for here,
    and never written down.
    """
    route, refused = client.server.profile.content_route, None
    if route == "first":
        try:
            return await _stream(video, client, folder, name)
        except (RejectedError, VideoNotFoundError) as error:
            refused = error
    dead: UnavailableError | None = None
    for url in await _places(video, client, refused, absence):
        try:
            return await _stream(video, client, folder, name, url)
        except UnavailableError as error:
            if error.status is None or error.status not in REFUSED:
                raise
            dead = error  # its signature has run out, say
    if route == "last" or (refused and refused.status == 404 and not dead):
        # Where replicas take turns, the other one was asked for the file: ask twice more.
        for _ in range(2):
            try:
                return await _stream(video, client, folder, name)
            except (RejectedError, VideoNotFoundError) as error:
                refused = error
    told = dead or refused
    if told is None:
        raise UnavailableError(
            f"The server {client.server.label} says that the video is finished, and not where its "
            "file is."
        )
    if (dead and _is_over(video)) or (route == "last" and refused and refused.status == 410):
        raise expired(video)
    raise UnavailableError(told.message, status=told.status)


async def _stream(
    video: VideoJob, client: VideoClient, folder: VideoFolder, name: str, url: str | None = None
) -> Fetched:
    scanner = Mp4Check(_most_bytes(video))
    async with client.content(video.video_id, url=url) as content:
        scanner.expect(content.expected_bytes or 0)
        written = await folder.write(
            name, content.chunks, expected_bytes=content.expected_bytes, check=scanner
        )
    return Fetched(written, scanner.info)


async def _places(
    video: VideoJob,
    client: VideoClient,
    refused: RejectedError | VideoNotFoundError | None,
    absence: Absence,
) -> tuple[str, ...]:
    """Ask the job where its file lies; nowhere, where it does not say, so far.

    Raises:
        VideoExpiredError: It says that there is none any more.
        VideoNotFoundError: The server does not know the job either.
        ApiError: The job cannot be asked for, and nothing else tells of its file.
    """
    gone, is_over = refused is not None and refused.status == 410, _is_over(video)
    unknown: VideoNotFoundError | None = None
    try:
        job = await client.retrieve(video.video_id, anew=absence.answers > 0)
    except VideoNotFoundError as error:
        unknown = error
    except SoraError as error:
        if refused is None:
            raise
        log.info("Where video %s lies is not known: %s", video.video_id, error.message)
    else:
        if absence.found():
            log.warning("Video %s: %s", video.video_id, ROUTE_ALIKE)
        if job.urls:
            return job.urls
        gone = gone or job.status in ("expired", "deleted")
        is_over = is_over or (job.expires_at is not None and time() >= job.expires_at)
    if gone or (is_over and (refused is None or refused.status == 404)):
        raise expired(video)
    if unknown:
        raise unknown
    return ()


def _is_over(video: VideoJob) -> bool:
    """Whether the time is past until which its server keeps it."""
    expires_at = video.expires_at if isinstance(video, RenderedVideo) else None
    return expires_at is not None and time() >= expires_at


def _most_bytes(video: VideoJob) -> int:
    """The most that the file may have of what was asked for, in bytes."""
    width, _, height = (video.size or "").partition("x")
    if not (width.isdecimal() and height.isdecimal() and video.seconds):
        return limits().video_max_bytes
    pixels = int(width) * int(height) * video.seconds
    most = limits().video_base_bytes + limits().video_pixel_second_bytes * pixels
    return min(int(most), limits().video_max_bytes)


class TooLargeError(CorruptVideoError):
    """More arrives than what was asked for can have; to fetch it again would bring no less."""

    retryable = False


class Mp4Check(Mp4Scanner):
    """The scanner, remembering what it found; it stops what is larger than anything asked for."""

    info: Mp4Info

    def __init__(self, most_bytes: int | None = None) -> None:
        super().__init__()
        self._most_bytes, self._came_bytes = most_bytes, 0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            TooLargeError: They are too many.
            CorruptVideoError: It is no MP4 file.
        """
        self._came_bytes += len(chunk)
        self.expect(self._came_bytes)
        super().feed(chunk)

    def expect(self, size_bytes: int) -> None:
        """See that so many bytes may come.

        Raises:
            TooLargeError: They are too many.
        """
        if self._most_bytes is not None and size_bytes > self._most_bytes:
            raise TooLargeError(
                f"The file has more than {self._most_bytes:,} bytes, which is more than the video "
                "that was asked for can have.",
                next_step="If it may, raise video_base_bytes or video_max_bytes among the limits "
                "(PREFECT_SORA_LIMITS).",
            )

    def finish(self) -> Mp4Info:
        """Say what the whole file is."""
        self.info = super().finish()
        return self.info


def _pause(error: SoraError, attempt: int, video: VideoJob) -> float:
    asked: float = getattr(error, "retry_after_s", None) or 0.0
    grown: float = limits().retry_pause_seconds * 2 ** (attempt - 1)
    pause = min(max(asked, grown), limits().download_pause_max_seconds)
    if isinstance(video, RenderedVideo) and video.expires_at and video.expires_at > time():
        return min(pause, (video.expires_at - time()) / 2)  # while it is still there
    return pause


@contextlib.contextmanager
def about(video: VideoJob) -> Iterator[None]:
    """Add to every error which paid video it is about, and how to get it."""
    try:
        yield
    except SoraError as error:
        if not error.names_a_resume:
            error.advise(*error.steps, fetch_again(video))
        error.about(key=video.key, video_id=video.video_id, paid="yes")
        raise
