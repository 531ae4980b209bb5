"""Clean up: what a server still holds and the store has kept is deleted there, and nothing else."""

import os
from dataclasses import dataclass, replace
from functools import partial
from time import time
from typing import Literal

from prefect_sora.errors import ForeignRecordError, NewerStoreError, SoraError
from prefect_sora.handles import RemoteVideo
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.listing import every_video, remote_video
from prefect_sora.store.backends.concurrency import BYTES, start
from prefect_sora.store.ledger import Ledger

Verdict = Literal["kept", "deleted", "too young", "not kept", "unfinished", "failed"]
"""`kept` stands whole in the store, so it may be deleted; `not kept` is at the server alone."""


@dataclass(frozen=True)
class Found:
    """One video of the server, and what may become of it there."""

    video: RemoteVideo
    verdict: Verdict
    url: str | None = None
    why: str | None = None


async def look(client: VideoClient, ledger: Ledger, older_than_seconds: float) -> list[Found]:
    """Find out which of the server's videos the store has kept, whole.

    Args:
        client: The server.
        ledger: The store's records.
        older_than_seconds: Those made later are left alone.

    Raises:
        InvalidRequestError: The server has no list.
        ApiError: Its list cannot be read.
        StorageError: The store cannot be read.
    """
    folders = {folder[-12:]: folder for folder in await ledger.folders()}
    found = []
    async for video in every_video(client):
        remote = remote_video(video, client.server.label)
        if remote.status not in ("completed", "failed", "cancelled", "expired"):
            found.append(Found(remote, "unfinished"))
            continue
        try:
            key = await ledger.holder(client.server.identity, video.id)
            record = await ledger.stored(folders[key]) if key in folders else None
        except (ForeignRecordError, NewerStoreError) as error:
            found.append(Found(remote, "not kept", why=error.message))
            continue
        if record is None or record.video.video_id != video.id:
            found.append(Found(remote, "not kept"))
        elif video.created_at is None or time() - video.created_at < older_than_seconds:
            found.append(Found(remote, "too young", record.video.url))
        else:
            name = f"{record.video.folder}/video.mp4"
            whole = await start(BYTES, partial(_size, ledger, name)) == record.video.size_bytes
            why = None if whole else "its file in the store is not as it was recorded"
            found.append(Found(remote, "kept" if whole else "not kept", record.video.url, why))
    return found


async def clean(found: list[Found], client: VideoClient) -> list[Found]:
    """Delete at the server what the store has kept; a failed deletion stops no other."""
    return [await _clean(one, client) if one.verdict == "kept" else one for one in found]


async def _clean(one: Found, client: VideoClient) -> Found:
    try:
        await client.delete(one.video.video_id)
    except SoraError as error:
        return replace(one, verdict="failed", why=error.message)
    return replace(one, verdict="deleted")


def _size(ledger: Ledger, name: str) -> int | None:
    try:
        with ledger.store.open(name) as file:
            return file.seek(0, os.SEEK_END)
    except (SoraError, OSError):
        return None
