"""Keep: a finished video is streamed into the store, checked, and recorded.

`fetch → store`. The video's bytes pass through in chunks; what stands under the
final name has the announced length, is a whole MP4 file, and has the recorded hash.
So a file that stands there without its record, as a crash between the two leaves
it, is as good as fetched: the server need not even know the job any more.
"""

import hashlib
import logging
from functools import partial
from time import time
from typing import Any

from prefect_sora.errors import CorruptVideoError, SoraError
from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.limits import limits
from prefect_sora.renders.finish.as_asked import asked_instead
from prefect_sora.renders.finish.fetch import Fetched, Mp4Check, about, fetch
from prefect_sora.renders.finish.stills import put_stills
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.backends import VideoFolder, Written
from prefect_sora.store.backends.concurrency import BYTES, start
from prefect_sora.store.ledger import Ledger

log = logging.getLogger(__name__)


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
            with about(video):
                stills = await put_stills(ledger.store, video.folder, video.video_id, client)
                return await _record(video, client, ledger, fetched, stills)
        except SoraError:
            # Another worker that has kept it removes what this one was writing.
            with about(video):
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
    with about(video):
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
    scanner, digest, size_bytes = Mp4Check(), hashlib.sha256(), 0
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
        **_costs(video, client, fetched.info.duration_seconds),
        created_at=time(),
        **stills,
        **await asked_instead(video, begun, fetched.info, ledger),
    )
    standing = await ledger.keep(video.folder, stored, begun)
    ours = video.attempt == 1 and begun is not None and begun.owner.is_this_process()
    await ledger.sweep(video.folder, all_of_it=not ours)
    return standing


def _costs(video: VideoJob, client: VideoClient, seconds: float | None) -> dict[str, Any]:
    told = {"actual_usd": video.actual_usd, "cost_doubt": video.cost_doubt}
    usd = video.cost_usd
    # An existing video was paid for by whoever rendered it.
    if usd is None and (video.kind != "existing" or client.server.local):
        usd = client.server.cost_usd(video.model, video.size, video.seconds or seconds)
    return {"cost_usd": usd, **told}
