"""Download stills: other files of a finished video, the server's own or drawn from the video."""

import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Literal

from prefect_sora.handles import VideoJob
from prefect_sora.media import previews
from prefect_sora.renders.finish.keep import download
from prefect_sora.renders.finish.stills import DRAWN_SUFFIXES, fetch_still
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.backends.concurrency import DRAWING, start

Still = Literal["thumbnail", "spritesheet"]
Variant = Literal["video"] | Still


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
            await download(video, client, whole)
            data = asdict(await start(DRAWING, partial(previews.stills, whole)))[variant]
        suffix = DRAWN_SUFFIXES[variant]
    target = path.expanduser().absolute().with_suffix(suffix)
    await VideoFolder(str(target.parent)).put(target.name, data)
    return target
