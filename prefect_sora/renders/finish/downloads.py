"""Downloads: a finished video becomes a file here, from the store that has it, or its server."""

import logging
import tempfile
from functools import partial
from pathlib import Path
from time import time
from typing import Protocol

from prefect_sora.errors import DownloadError, StorageError, VideoExpiredError
from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.media import drawing
from prefect_sora.renders.finish.copies import copy
from prefect_sora.renders.finish.fetch import download as fetch_to
from prefect_sora.renders.finish.stills import DRAWN_SUFFIXES, Still, Variant, fetch_still
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import Server
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.backends.concurrency import DRAWING, start
from prefect_sora.store.ledger import Ledger

log = logging.getLogger(__name__)


class Holder(Protocol):
    """Who made a video."""

    async def describe(self) -> Server:
        """Describe the server; it is not asked."""

    async def get_client(self) -> VideoClient:
        """Connect to the server."""


async def download(
    video: VideoJob | StoredVideo | str,
    holder: Holder,
    path: Path,
    variant: Variant = "video",
    ledger: Ledger | None = None,
) -> Path:
    """Bring a finished video, or a still of it, to a file, whole or not at all.

    What a store has kept is copied from there, and the server is asked nothing.

    Args:
        video: A handle, the server's id of a video, or a render's key in the store.
        holder: Who made it.
        path: The file to write; a still's content decides its suffix.
        variant: Which file; a still that is not there is drawn from the video.
        ledger: The records of the store that may have it; a `StoredVideo` says so itself.

    Returns:
        The file that was written.

    Raises:
        DownloadError: Neither the store nor the server gives it.
        StorageError: The path cannot be written.
    """
    path = path.expanduser().absolute()
    if home := await _home_of(video, holder, ledger):
        try:
            return await copy(*home, path, variant)
        except DownloadError as error:
            log.warning("%s The server is asked for it.", error.message)
    job, client = _as_job(video), await holder.get_client()
    try:
        if variant != "video":
            return await download_still(job, client, path, variant)
        await fetch_to(job, client, path)
    except DownloadError as error:
        gone = isinstance(error, VideoExpiredError)
        steps = () if isinstance(video, str) else error.steps  # those name a render
        if isinstance(video, str):
            error.advise("Try again in a moment.")
            if gone:  # an id that nobody has heard of looks the same
                error.message = f"The server has no video {video}, or no longer."
                error.about(paid="unknown")
                error.advise("Check the id, and which server and store it is of.")
        if gone and ledger is None and not isinstance(video, StoredVideo):
            error.advise(
                "If a store has kept it, name that store: it is copied from there.", *steps
            )
        raise
    return path


async def find_kept(
    video: VideoJob | StoredVideo | str, holder: Holder, ledger: Ledger
) -> StoredVideo | None:
    """Find what a store has kept of a render; None where it has not.

    Raises:
        StorageError: The store cannot be read.
    """
    if isinstance(video, str):
        state = await ledger.named(video, (await holder.describe()).identity)
        record = state.stored if state else None
    else:
        record = await ledger.stored(video.folder)
    return record.video if record else None


async def download_still(video: VideoJob, client: VideoClient, path: Path, variant: Still) -> Path:
    """Bring a still of a finished video to this machine; its content decides its suffix.

    Where the server has none, or answers with the video once more, it is drawn from the
    video, which is fetched for that.

    Args:
        video: The finished video.
        client: Who holds it.
        path: The file to write; its suffix is replaced by the right one.
        variant: Which still.

    Raises:
        DownloadError: The video could not be fetched.
        CorruptVideoError: No frame of it can be decoded.
        StorageError: The path cannot be written.
    """
    data, suffix = b"", None
    if variant in client.server.profile.variants:
        data, suffix = await fetch_still(client, video.video_id, variant)
    if suffix is None:
        with tempfile.TemporaryDirectory(prefix="prefect-sora-") as folder:
            whole = Path(folder) / "video.mp4"
            await fetch_to(video, client, whole)
            data = (await start(DRAWING, partial(drawing.stills, whole)))[variant]
        suffix = DRAWN_SUFFIXES[variant]
    target = path.expanduser().absolute().with_suffix(suffix)
    await VideoFolder(str(target.parent)).put(target.name, data)
    return target


async def _home_of(
    video: VideoJob | StoredVideo | str, holder: Holder, ledger: Ledger | None
) -> tuple[StoredVideo, VideoFolder] | None:
    """Find where a video is kept; None where nobody says so."""
    if ledger is None:
        if not isinstance(video, StoredVideo):
            return None
        return video, VideoFolder(video.url.removesuffix(f"/{video.folder}/video.mp4"))
    try:
        kept = await find_kept(video, holder, ledger)
    except StorageError as error:
        log.warning("%s The server is asked for the video.", error.message)
        return None
    return (kept, ledger.store) if kept else None


def _as_job(video: VideoJob | StoredVideo | str) -> VideoJob:
    """Name a video for its server, in a handle that tells no more than is known."""
    if isinstance(video, VideoJob):
        return video
    if isinstance(video, str):
        about = {"key": "", "folder": "", "provider": "", "title": video, "video_id": video}
        return VideoJob.model_validate({**about, "submitted_at": time()})
    return VideoJob.model_validate({**video.model_dump(), "submitted_at": video.created_at})
