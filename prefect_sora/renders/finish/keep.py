"""Keep: a finished video is streamed into the store, checked, and recorded.

`fetch → store`. The video's bytes pass through in chunks; what stands under the
final name has the announced length, is a whole MP4 file, and has the recorded hash.
So a file that stands there without its record, as a crash between the two leaves
it, is as good as fetched: the server need not even know the job any more.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
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
from prefect_sora.handles import RenderedVideo, StoredVideo, VideoJob
from prefect_sora.limits import limits
from prefect_sora.media.mp4 import Mp4Info, Mp4Scanner
from prefect_sora.renders.finish.as_asked import asked_instead
from prefect_sora.renders.finish.expiry import Turns, expired, fetch_again, not_fetched
from prefect_sora.renders.finish.stills import put_stills
from prefect_sora.servers.not_found import ROUTE_ALIKE, Absence
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.backends import VideoFolder, Written
from prefect_sora.store.backends.concurrency import BYTES, start
from prefect_sora.store.ledger import Ledger

log = logging.getLogger(__name__)

_turns: WeakKeyDictionary[VideoClient, Turns] = WeakKeyDictionary()


@dataclass(frozen=True)
class Fetched:
    """A whole video at its place."""

    written: Written
    info: Mp4Info


async def keep(video: VideoJob, client: VideoClient, ledger: Ledger) -> StoredVideo:
    """Bring a finished video into the store, with its stills, and record it.

    One that is kept already is returned as it stands. Whatever is raised, the job stays resumable.

    Raises:
        VideoExpiredError: The server no longer has it.
        DownloadError: The download breaks, or brings no whole MP4 file, time after time.
        AuthenticationError: The key does not work, or no longer.
        StorageError: The store refuses.
    """
    with ledger.about(video.key):
        if standing := await kept(video, client, ledger):
            return standing
        try:
            fetched = await fetch(video, client, ledger.store, f"{video.folder}/video.mp4")
            with _about(video):
                stills = await put_stills(ledger.store, video.folder, video.video_id, client)
                return await _record(video, client, ledger, fetched, stills)
        except SoraError:
            # Another worker that has kept it removes what this one was writing.
            with _about(video):
                record = await ledger.stored(video.folder)
            if record:
                return record.video
            raise


async def kept(video: VideoJob, client: VideoClient, ledger: Ledger) -> StoredVideo | None:
    """Find a video that is in the store already; the server is asked nothing.

    A whole file without its record is recorded now. One that is not whole is none.

    Raises:
        StorageError: The store cannot be read.
    """
    name = f"{video.folder}/video.mp4"
    with _about(video):
        names = await ledger.store.names(video.folder)
        if record := await ledger.stored(video.folder, names):
            await ledger.close(video.folder)
            return record.video
        if "video.mp4" not in names:
            return None
        try:
            found = await start(BYTES, partial(_read_back, ledger.store, name))
        except CorruptVideoError as error:
            log.warning("%s is not the video %s: %s", name, video.video_id, error.message)
            return None
        log.info("%s was there already, without its record.", name)
        stills = await put_stills(ledger.store, video.folder, video.video_id, None)
        return await _record(video, client, ledger, found, stills)


def _read_back(store: VideoFolder, name: str) -> Fetched:
    scanner, digest, size_bytes = _Mp4Check(), hashlib.sha256(), 0
    with store.open(name) as file:
        while chunk := file.read(limits().piece_bytes):
            scanner.feed(chunk)
            digest.update(chunk)
            size_bytes += len(chunk)
    return Fetched(Written(store.url(name), size_bytes, digest.hexdigest()), scanner.finish())


async def _record(
    video: VideoJob, client: VideoClient, ledger: Ledger, fetched: Fetched, stills: dict[str, str]
) -> StoredVideo:
    begun = await ledger.reservation(video.folder, video.attempt)
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
        cost_usd=_cost(video, client, fetched.info.duration_seconds),
        created_at=time(),
        **stills,
        **await asked_instead(video, begun, fetched.info, ledger),
    )
    standing = await ledger.keep(video.folder, stored, begun)
    ours = video.attempt == 1 and begun is not None and begun.owner.is_this_process()
    await ledger.sweep(video.folder, all_of_it=not ours)
    return standing


def _cost(video: VideoJob, client: VideoClient, seconds: float | None) -> float | None:
    if video.cost_usd is not None:
        return video.cost_usd
    if video.kind == "existing" and not client.server.local:
        return None  # paid by whoever rendered it
    return client.server.cost_usd(video.model, video.size, video.seconds or seconds)


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
    with _about(video):
        while True:
            try:
                async with _turns.setdefault(client, Turns()).turn(video):
                    return await _fetch_once(video, client, folder, name, absence)
            except VideoExpiredError:
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
    try:
        return await _stream(video, client, folder, name)
    except (RejectedError, VideoNotFoundError) as error:
        refused = error
    # Some servers keep their files elsewhere, and say in the job where. The address is
    # signed and valid for a short time: so it is asked for here, and never written down.
    url = await _place(video, client, refused, absence)
    if url is None and refused.status == 404:
        # Where replicas take turns, the other one was asked for the file: ask twice more.
        for _ in range(2):
            with contextlib.suppress(VideoNotFoundError):
                return await _stream(video, client, folder, name)
    if url is None:
        raise UnavailableError(refused.message, status=refused.status)
    try:
        return await _stream(video, client, folder, name, url)
    except VideoNotFoundError as error:  # the file, and not the job
        raise UnavailableError(error.message, status=error.status) from None


async def _stream(
    video: VideoJob, client: VideoClient, folder: VideoFolder, name: str, url: str | None = None
) -> Fetched:
    scanner = _Mp4Check()
    async with client.content(video.video_id, url=url) as content:
        written = await folder.write(
            name, content.chunks, expected_bytes=content.expected_bytes, check=scanner
        )
    return Fetched(written, scanner.info)


async def _place(
    video: VideoJob,
    client: VideoClient,
    refused: RejectedError | VideoNotFoundError,
    absence: Absence,
) -> str | None:
    """Ask the job where its file lies; None where it does not say, so far.

    Raises:
        VideoExpiredError: It says that there is none any more.
        VideoNotFoundError: The server does not know the job either.
    """
    expires_at = video.expires_at if isinstance(video, RenderedVideo) else None
    gone = refused.status == 410
    unknown: VideoNotFoundError | None = None
    try:
        job = await client.retrieve(video.video_id, anew=absence.answers > 0)
    except VideoNotFoundError as error:
        unknown = error
    except SoraError as error:
        log.info("Where video %s lies is not known: %s", video.video_id, error.message)
    else:
        if absence.found():
            log.warning("Video %s: %s", video.video_id, ROUTE_ALIKE)
        if job.url:
            return job.url
        gone = gone or job.status in ("expired", "deleted")
        expires_at = job.expires_at or expires_at
    if gone or (refused.status == 404 and expires_at is not None and time() >= expires_at):
        raise expired(video)
    if unknown:
        raise unknown
    return None


class _Mp4Check(Mp4Scanner):
    """The scanner, remembering what it found."""

    info: Mp4Info

    def finish(self) -> Mp4Info:
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
def _about(video: VideoJob) -> Iterator[None]:
    """Add to every error which paid video it is about, and how to get it."""
    try:
        yield
    except SoraError as error:
        if not error.names_a_resume:
            error.advise(*error.steps, fetch_again(video))
        error.about(key=video.key, video_id=video.video_id, paid="yes")
        raise


__all__ = ["Fetched", "download", "fetch", "keep", "kept"]
