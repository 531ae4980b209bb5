"""What happened to each render, as small immutable records beside its video.

```text
<store>/<words-of-the-prompt>-<key>/
    reserved.json      before the create request: one of all racing workers wins it
    accepted.json      the video id, before anything else is done with it
    stored.json        or failed.json: how it ended
    …-2.json           the same of the second attempt, after a definite failure or a crash
<store>/.claims/       which render holds which video id, so that no two hold one
```

Records are created exclusively and never edited; the newest attempt's newest
record is the state. A torn or unreadable record counts as absent, which is the
careful reading of each of them: an unreadable acceptance is a doubt to resolve
with the server, never a licence to pay again.
"""

import asyncio
import hashlib
import re
from dataclasses import dataclass
from time import time
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from prefect_sora.errors import ModerationError, Paid, RenderFailedError, StorageError
from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.identity import KEY_DIGITS, Owner, key_of, new_owner
from prefect_sora.storage import VideoFolder

SCHEMA: Final = 1

LEASE_SECONDS: Final = 180.0
"""How long a reservation speaks for a worker that cannot be looked at (another machine).
Twice the longest create request. Ours."""

_RECORD_NAME: Final = re.compile(r"^(reserved|accepted|stored|failed)(?:-(\d+))?\.json$")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: int = SCHEMA
    key: str
    attempt: int
    at: float


class Reserved(_Record):
    """Somebody is about to send the create request."""

    fingerprint: str
    request_digest: str
    request: dict[str, JsonValue]
    reference: str | None = None
    reference_sha256: str | None = None
    server: str
    provider: str
    scope: str
    parent_key: str | None = None
    owner: Owner
    uncertain_since: float | None = None

    @property
    def in_doubt_since(self) -> float:
        """From when on the server may hold a job of this render, Unix seconds."""
        return self.uncertain_since or self.at


class Accepted(_Record):
    """The server accepted it under this id."""

    job: VideoJob


class Stored(_Record):
    """The video is kept."""

    video: StoredVideo


class Failed(_Record):
    """This attempt ended without a video."""

    kind: Literal["refused", "failed", "moderated"]
    message: str
    code: str | None = None
    video_id: str | None = None
    paid: Paid = "no"

    def error(self) -> RenderFailedError:
        """The failure as an error again."""
        cls = ModerationError if self.kind == "moderated" else RenderFailedError
        return cls(
            self.message,
            code=self.code,
            key=self.key,
            video_id=self.video_id,
            paid=self.paid,
            next_step="Change the prompt or the reference; the same request is refused again."
            if self.kind == "moderated"
            else None,
        )


@dataclass(frozen=True)
class RenderState:
    """Where one render stands: the newest attempt and its records."""

    folder: str
    attempt: int = 0
    reserved: Reserved | None = None
    accepted: Accepted | None = None
    stored: Stored | None = None
    failed: Failed | None = None

    @property
    def name(self) -> Literal["new", "reserved", "accepted", "stored", "failed"]:
        """The newest record's kind."""
        if self.stored:
            return "stored"
        if self.failed:
            return "failed"
        if self.accepted:
            return "accepted"
        return "reserved" if self.attempt else "new"

    @property
    def key(self) -> str:
        """The render's key."""
        return key_of(self.folder)


_R = TypeVar("_R", bound=_Record)

# Tokens of the reservations that code in this process is working on now. A
# reservation of ours that is not among them was left by a run that ended.
_working: set[str] = set()


class Ledger:
    """The records of one store."""

    def __init__(self, store: VideoFolder) -> None:
        self.store = store

    async def state(self, folder: str) -> RenderState:
        """Read where a render stands; one that was never begun is `new`.

        Raises:
            StorageError: The store cannot be read, so nothing may be paid.
        """
        found = [m for name in await self.store.names(folder) if (m := _RECORD_NAME.match(name))]
        if not found:
            return RenderState(folder)
        attempts = {int(m[2] or 1) for m in found}
        # A stored record of any attempt is the end: the video is there.
        stored = {int(m[2] or 1) for m in found if m[1] == "stored"}
        attempt = max(stored or attempts)
        kinds = {m[1] for m in found if int(m[2] or 1) == attempt}

        async def read(kind: str, model: type[_R]) -> _R | None:
            return await self._read(folder, kind, attempt, model) if kind in kinds else None

        return RenderState(
            folder,
            attempt,
            *await asyncio.gather(
                read("reserved", Reserved),
                read("accepted", Accepted),
                read("stored", Stored),
                read("failed", Failed),
            ),
        )

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
        """Take the right to send the create request; False where another worker has it."""
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
        dead = record.owner.is_dead()
        if dead is not None:
            return not dead
        return time() < record.at + LEASE_SECONDS

    async def claim(self, server: str, video_id: str, key: str) -> bool:
        """Take a video id for one render; False where another render has it."""
        name = hashlib.sha256(f"{server}\n{video_id}".encode()).hexdigest()[:32]
        path = f".claims/{name}.json"
        claim = _Claim(key=key, video_id=video_id, server=server)
        if await self.store.create(path, _json(claim)):
            return True
        data = await self.store.read(path)
        try:
            return data is not None and _Claim.model_validate_json(data).key == key
        except ValidationError:
            # Torn: whoever wrote it never got as far as an accepted record.
            return False

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

    async def fail(self, folder: str, record: Failed) -> None:
        """Close an attempt without a video; a record that stands already stays."""
        await self._create(folder, "failed", record)

    async def _create(self, folder: str, kind: str, record: _Record) -> bool:
        return await self.store.create(_path(folder, kind, record.attempt), _json(record))

    async def _read(self, folder: str, kind: str, attempt: int, model: type[_R]) -> _R | None:
        data = await self.store.read(_path(folder, kind, attempt))
        try:
            return model.model_validate_json(data) if data else None
        except ValidationError:
            return None


class _Claim(BaseModel):
    schema_version: int = SCHEMA
    key: str
    video_id: str
    server: str


def _path(folder: str, kind: str, attempt: int) -> str:
    return f"{folder}/{kind}{'' if attempt == 1 else f'-{attempt}'}.json"


def _json(record: BaseModel) -> bytes:
    return record.model_dump_json(indent=1).encode()


__all__ = [
    "Accepted",
    "Failed",
    "Ledger",
    "RenderState",
    "Reserved",
    "Stored",
    "new_owner",
]
