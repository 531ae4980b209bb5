"""What happened to each render, as small immutable records beside its video.

```text
<store>/<words-of-the-prompt>-<key>/
    reserved.json      before the create request: one of all racing workers wins it
    accepted.json      the video id, before anything else is done with it
    stored.json        or failed.json: how it ended
    …-2.json           the same of the second attempt, after a definite failure or a crash
<store>/.claims/       which render holds which video id, so that no two hold one
```

Records are created exclusively and never edited; which attempt's newest record is
the state, `standing` says. A torn or unreadable record counts as absent, which is the
careful reading of each of them: an unreadable acceptance is a doubt to resolve
with the server, never a licence to pay again. One that a later version of this
package wrote is an error.
"""

import asyncio
import contextlib
import hashlib
import re
from dataclasses import replace
from datetime import timedelta
from time import time
from typing import Final, TypeVar

from pydantic import BaseModel

from prefect_sora.errors import NewerStoreError, StorageError
from prefect_sora.handles import StoredImage, StoredVideo, VideoJob
from prefect_sora.identity import KEY_DIGITS, key_of
from prefect_sora.records import (
    SCHEMA,
    Accepted,
    Failed,
    Record,
    RenderState,
    Reserved,
    Stored,
    StoredPictures,
    read_record,
)
from prefect_sora.standing import telling, to_read
from prefect_sora.storage import VideoFolder
from prefect_sora.storage.filesystems import local_path, scheme_of
from prefect_sora.storage.refusals import plain_url

LEASE_SECONDS: Final = 180.0
"""How long a reservation speaks for its worker: longer than it may take to send the create
request (`windows.SEND_SECONDS`) and to get its answer. Ours."""

TORN: Final = "unreadable"
"""Who holds a claim that cannot be read: nobody's key."""

_RECORD_NAME: Final = re.compile(r"^(reserved|accepted|stored|failed)(?:-(\d+))?\.json$")

_R = TypeVar("_R", bound=Record)

# Tokens of the reservations that code in this process is working on now. A
# reservation of ours that is not among them was left by a run that ended.
_working: set[str] = set()


class Ledger:
    """The records of one store."""

    def __init__(self, store: VideoFolder) -> None:
        self.store = store

    @property
    def place(self) -> str:
        """Where the store is, as --store takes it, from whatever folder."""
        root = self.store.root
        return local_path(root) if scheme_of(root) in {"file", "local"} else plain_url(root)

    async def state(self, folder: str) -> RenderState:
        """Read where a render stands; one that was never begun is `new`.

        Raises:
            StorageError: The store cannot be read, so nothing may be paid.
        """
        kinds = _kinds(await self.store.names(folder))
        if not kinds:
            return RenderState(folder)
        read: list[RenderState] = []
        for attempts in to_read(kinds):
            read += await asyncio.gather(*(self._attempt(folder, n, kinds) for n in attempts))
            if any(one.is_kept for one in read):
                break
        return replace(telling(read), newest=max(kinds))

    async def stored(self, folder: str, names: list[str] | None = None) -> Stored | None:
        """Read the record of a kept video, where there is one, and no other.

        Args:
            folder: The render's.
            names: What stands in it, where that is known already.
        """
        kinds = _kinds(await self.store.names(folder) if names is None else names)
        stored = [attempt for attempt, found in kinds.items() if "stored" in found]
        return await self._read(folder, "stored", max(stored), Stored) if stored else None

    async def reservation(self, folder: str, attempt: int) -> Reserved | None:
        """Read who began an attempt, where that can be read."""
        return await self._read(folder, "reserved", attempt, Reserved)

    async def closed(self, folder: str, attempt: int) -> Failed | None:
        """Read how an attempt was closed without a video, where it was."""
        return await self._read(folder, "failed", attempt, Failed)

    async def attempts(self, folder: str) -> list[RenderState]:
        """Read all attempts of a render, the first one first."""
        kinds = _kinds(await self.store.names(folder))
        states = (self._attempt(folder, attempt, kinds) for attempt in sorted(kinds))
        return list(await asyncio.gather(*states))

    async def sweep(self, folder: str, *, all_of_it: bool) -> None:
        """Remove what dead processes left half written of a kept render; as well as may be.

        Args:
            folder: The render's, which nobody needs to write to any more.
            all_of_it: What a living one writes there, too, and the claims' remains.
        """
        with contextlib.suppress(StorageError):
            await self.store.sweep_parts(folder, older_than=timedelta(0) if all_of_it else None)
            if all_of_it:
                await self.store.sweep_parts(".claims", older_than=None)

    async def accepted_ids(self, folder: str) -> set[str]:
        """Read which videos the attempts of this render were accepted as."""
        kinds = _kinds(await self.store.names(folder))
        records = await asyncio.gather(
            *(
                self._read(folder, "accepted", attempt, Accepted)
                for attempt, found in kinds.items()
                if "accepted" in found
            )
        )
        return {record.job.video_id for record in records if record}

    async def _attempt(self, folder: str, attempt: int, kinds: dict[int, set[str]]) -> RenderState:
        async def read(kind: str, model: type[_R]) -> _R | None:
            return (
                await self._read(folder, kind, attempt, model) if kind in kinds[attempt] else None
            )

        found = await asyncio.gather(
            read("reserved", Reserved),
            read("accepted", Accepted),
            read("stored", Stored),
            read("failed", Failed),
        )
        pictures = None if found[2] else await read("stored", StoredPictures)
        return RenderState(folder, attempt, *found, pictures)

    async def folders(self) -> list[str]:
        """List the folders of all renders in the store."""
        return [
            name.rstrip("/")
            for name in await self.store.names()
            if name.endswith("/") and re.fullmatch(rf"[0-9a-f]{{{KEY_DIGITS}}}", key_of(name))
        ]

    async def find(self, key: str) -> list[str]:
        """Find the folders whose key begins like this."""
        return [folder for folder in await self.folders() if key_of(folder).startswith(key.lower())]

    async def unfinished(self, slug: str | None = None) -> list[RenderState]:
        """Find the renders that were begun and neither kept nor failed."""
        folders = [
            folder
            for folder in await self.folders()
            if slug is None or folder[: -KEY_DIGITS - 1] == slug
        ]
        states = await asyncio.gather(*(self.state(folder) for folder in folders))
        return [state for state in states if state.name in ("reserved", "accepted")]

    async def reserve(self, folder: str, record: Reserved) -> bool:
        """Take the right to send the create request; False where another worker has it.

        Raises:
            StorageError: The store refused, or lets two writers create the same file: then
                nothing may be sent.
        """
        await self.store.require_exclusive()
        _working.add(record.owner.token)
        won = False
        try:
            won = await self._create(folder, "reserved", record)
        finally:
            if not won:
                _working.discard(record.owner.token)
        return won

    def release(self, record: Reserved) -> None:
        """Stop working on a reservation, whatever came of it."""
        _working.discard(record.owner.token)

    @staticmethod
    def is_held(record: Reserved) -> bool:
        """Whether a live worker may still be between its reservation and its record."""
        if record.owner.is_this_process():
            return record.owner.token in _working
        # A process that lives may have given this render up long ago.
        until = record.at + (record.lease_seconds or LEASE_SECONDS)
        return record.owner.is_dead() is not True and time() < until

    async def claim(self, server: str, video_id: str, key: str) -> str:
        """Take a video id for one render, unless another has it; return who holds it now."""
        claim = _Claim(key=key, video_id=video_id, server=server)
        if await self.store.create(_claim_path(server, video_id), _json(claim)):
            return key
        return await self.holder(server, video_id) or TORN

    async def holder(self, server: str, video_id: str) -> str | None:
        """Read which render holds a video id: its key, None, or `TORN`."""
        name = _claim_path(server, video_id)
        data = await self.store.read(name)
        claim = read_record(_Claim, data, name)
        return claim.key if claim else None if data is None else TORN

    async def claims_of(self, server: str, key: str) -> list[str]:
        """Find the video ids that a render holds: every claim of the store is read."""
        names = [name for name in await self.store.names(".claims") if name.endswith(".json")]
        gate = asyncio.Semaphore(16)

        async def read(name: str) -> _Claim | None:
            async with gate:
                name = f".claims/{name}"
                return read_record(_Claim, await self.store.read(name), name)

        claims = await asyncio.gather(*(read(name) for name in names))
        return [c.video_id for c in claims if c and (c.server, c.key) == (server, key)]

    async def accept(self, folder: str, job: VideoJob) -> VideoJob:
        """Make the video id durable."""
        record = Accepted(key=job.key, attempt=job.attempt, at=time(), job=job)
        if not await self._create(folder, "accepted", record):
            standing = await self._read(folder, "accepted", job.attempt, Accepted)
            if standing is None or standing.job.video_id != job.video_id:
                raise StorageError(
                    "The store holds another acceptance of this attempt.",
                    key=job.key,
                    video_id=job.video_id,
                    paid="yes",
                    next_step=f"`prefect-sora resume {job.key} --adopt {job.video_id}` takes this.",
                )
        return job

    async def keep(self, folder: str, video: StoredVideo) -> StoredVideo:
        """Record that the video is kept; the first record of several stands."""
        record = Stored(key=video.key, attempt=video.attempt, at=time(), video=video)
        if await self._create(folder, "stored", record):
            return video
        standing = await self._read(folder, "stored", video.attempt, Stored)
        return standing.video if standing else video

    async def keep_pictures(self, image: StoredImage) -> StoredImage:
        """Record that pictures are kept; the first record of several stands."""
        record = StoredPictures(key=image.key, attempt=image.attempt, at=time(), image=image)
        if await self._create(image.folder, "stored", record):
            return image
        standing = await self._read(image.folder, "stored", image.attempt, StoredPictures)
        return standing.image if standing else image

    async def fail(self, folder: str, record: Failed) -> None:
        """Close an attempt without a video; a record that stands already stays."""
        await self._create(folder, "failed", record)

    async def _create(self, folder: str, kind: str, record: Record) -> bool:
        return await self.store.create(_path(folder, kind, record.attempt), _json(record))

    async def _read(self, folder: str, kind: str, attempt: int, model: type[_R]) -> _R | None:
        name = _path(folder, kind, attempt)
        try:
            return read_record(model, await self.store.read(name), name)
        except NewerStoreError as error:
            error.about(key=key_of(folder))
            raise


def _kinds(names: list[str]) -> dict[int, set[str]]:
    """Sort a folder's records by their attempt."""
    kinds: dict[int, set[str]] = {}
    for name in names:
        if match := _RECORD_NAME.match(name):
            kinds.setdefault(int(match[2] or 1), set()).add(match[1])
    return kinds


class _Claim(BaseModel):
    schema_version: int = SCHEMA
    key: str
    video_id: str
    server: str


def _claim_path(server: str, video_id: str) -> str:
    name = hashlib.sha256(f"{server}\n{video_id}".encode()).hexdigest()[:32]
    return f".claims/{name}.json"


def _path(folder: str, kind: str, attempt: int) -> str:
    return f"{folder}/{kind}{'' if attempt == 1 else f'-{attempt}'}.json"


def _json(record: BaseModel) -> bytes:
    return record.model_dump_json(indent=1).encode()
