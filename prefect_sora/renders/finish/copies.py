"""Copies: what a store has kept, as a file on this machine; no server is asked."""

import hashlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from prefect_sora.errors import CorruptVideoError, DownloadError, SoraError
from prefect_sora.handles import StoredVideo
from prefect_sora.media import drawing
from prefect_sora.renders.finish.stills import DRAWN_SUFFIXES, Still, Variant
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.backends.concurrency import DRAWING, pieces, start


async def copy(kept: StoredVideo, store: VideoFolder, path: Path, variant: Variant) -> Path:
    """Copy a kept video, or a still of it, out of its store, whole or not at all.

    Args:
        kept: What the store has.
        store: Where it is.
        path: The file to write; a still's content decides its suffix.
        variant: Which file; a still that the store lacks is drawn from the video.

    Returns:
        The file that was written.

    Raises:
        DownloadError: The file is not in the store as it was recorded.
        StorageError: The path cannot be written.
    """
    path = path.expanduser().absolute()
    if variant != "video":
        return await _copy_still(kept, store, path, variant)
    target = VideoFolder(str(path.parent))
    await target.write(
        path.name,
        _chunks(store, f"{kept.folder}/video.mp4"),
        expected_bytes=kept.size_bytes,
        check=_Same(kept.sha256),
    )
    return path


async def _copy_still(kept: StoredVideo, store: VideoFolder, path: Path, variant: Still) -> Path:
    url = kept.thumbnail_url if variant == "thumbnail" else kept.spritesheet_url
    name = url.rpartition("/")[2] if url else ""
    data = await store.read(f"{kept.folder}/{name}") if name else None
    if data is None:
        name = variant + DRAWN_SUFFIXES[variant]
        data = await start(DRAWING, partial(_drawn, store, f"{kept.folder}/video.mp4", variant))
    target = path.with_suffix(Path(name).suffix)
    await VideoFolder(str(target.parent)).put(target.name, data)
    return target


def _drawn(store: VideoFolder, name: str, variant: Still) -> bytes:
    try:
        with store.open(name) as file:
            drawn: bytes = drawing.stills(file)[variant]
            return drawn
    except (SoraError, OSError) as error:
        raise DownloadError(f"{store.url(name)} cannot be drawn: {error}") from None


async def _chunks(store: VideoFolder, name: str) -> AsyncIterator[bytes]:
    try:
        async for piece in pieces(store.open(name)):
            yield piece
    except (SoraError, OSError) as error:
        said = error.message if isinstance(error, SoraError) else error
        raise DownloadError(f"{store.url(name)} cannot be read: {said}") from None


class _Same:
    """Sees that what is copied is what was kept."""

    def __init__(self, sha256: str) -> None:
        self._expected, self._digest = sha256, hashlib.sha256()

    def feed(self, chunk: bytes) -> None:
        self._digest.update(chunk)

    def finish(self) -> None:
        if self._digest.hexdigest() != self._expected:
            raise CorruptVideoError("The file in the store is not the one that was kept.")
