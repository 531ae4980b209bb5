"""Jobs: every accepted job is on disk before it is answered, and stays there until it expires."""

import json
import time
from asyncio import Event, to_thread
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from prefect_sora.servers.local.state.files import link, remove_path, write_whole

FILES = {"video": "video.mp4", "thumbnail": "thumbnail.webp", "spritesheet": "spritesheet.jpg"}


@dataclass
class Job:
    """One accepted request, from its answer to its expiry.

    Attributes:
        number: Its place among all that this folder ever accepted, from 1.
        verb: What was asked for: `create`, `remix`, `edit` or `extend`.
        source: What lies in `inputs/` for it: a reference `image`, a source `video`, nothing.
        added: Seconds that an extension adds to its source.
        extensions: How often the clip was extended, this time included.
        characters: Those who appear, each with `id` and `name`.
        scene: What goes on after the last frame, for an extension: see `renderer`.
        fate: How it ends by a scripted fault: `fail`, `moderate` or `stall`.
        extras: What its dialect shows of it besides.
        callback_url: Where to tell of its end.
        forgotten: Deleted, though it is still rendered.
    """

    id: str
    number: int
    prompt: str
    model: str
    seconds: int
    size: str
    created_at: int
    expires_at: int
    status: str = "queued"
    progress: int = 0
    completed_at: int | None = None
    parent: str | None = None
    verb: str = "create"
    source: str | None = None
    added: int = 0
    extensions: int = 0
    characters: list[dict[str, str]] = field(default_factory=list)
    scene: dict[str, Any] | None = None
    fate: str | None = None
    error: dict[str, str] | None = None
    idempotency_key: str | None = None
    extras: dict[str, Any] = field(default_factory=dict)
    callback_url: str | None = None
    forgotten: bool = False

    def __post_init__(self) -> None:
        if self.verb == "create" and self.parent:  # the record of an earlier version
            self.verb = "remix"

    @property
    def finished(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in ("completed", "failed")

    def expired(self, now: float) -> bool:
        """Whether it is to be forgotten: finished, and past the second that was announced."""
        return self.finished and now >= self.expires_at + 1

    def video(self) -> dict[str, Any]:
        """The Video object of the protocol; an edit or extension names its source."""
        lineage = {"edit": "edited_from_video_id", "extend": "extended_from_video_id"}
        video = {
            "id": self.id,
            "object": "video",
            "model": self.model,
            "status": self.status,
            "progress": self.progress,
            "created_at": self.created_at,
            "completed_at": self.completed_at,
            "expires_at": self.expires_at,
            "prompt": self.prompt,
            "size": self.size,
            "seconds": str(self.seconds),
            "remixed_from_video_id": self.parent if self.verb == "remix" else None,
            "error": self.error,
        }
        if self.verb in lineage and self.parent:
            video[lineage[self.verb]] = self.parent
        return video


@dataclass
class Jobs:
    """The jobs of one folder: in memory for reading, on disk for the next start.

    ```text
    accepted.json     how many were ever accepted, counting those forgotten since
    jobs/ID.json      one record each
    inputs/ID         its reference image, or the video that it starts from
    files/ID/         video.mp4, thumbnail.webp, spritesheet.jpg: all or none
    ```
    """

    home: Path
    ttl: float = 3600.0
    accepted: int = 0
    waiting: Event = field(default_factory=Event)
    _jobs: dict[str, Job] = field(default_factory=dict)
    _queue: deque[Job] = field(default_factory=deque)
    _counting: Lock = field(default_factory=Lock)

    def load(self, *, keep: bool = True) -> None:
        """Read what the last process left: unfinished jobs are queued again.

        Args:
            keep: Else all of them are forgotten, as by a server that keeps them in memory.
        """
        for name in ("jobs", "inputs", "files"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        with suppress(OSError, ValueError, KeyError):
            counted = json.loads((self.home / "accepted.json").read_text("utf-8"))
            self.accepted = int(counted["accepted"])
        known = set(Job.__dataclass_fields__)
        found = []
        for path in (self.home / "jobs").glob("*.json"):
            with suppress(OSError, ValueError, TypeError):
                saved = json.loads(path.read_text("utf-8"))
                found.append(Job(**{k: v for k, v in saved.items() if k in known}))
        for job in sorted(found, key=lambda job: job.number):
            self.accepted = max(self.accepted, job.number)
            if job.forgotten or not keep:
                continue
            if not job.finished:
                self._queue.append(job)
            self._jobs[job.id] = job
        self._count()  # before the records that it is read from go
        for path in self.home.glob("*.part"):
            remove_path(path)
        for folder in ("jobs", "inputs", "files"):
            for path in (self.home / folder).iterdir():
                if path.name.endswith(".part") or path.name.split(".")[0] not in self._jobs:
                    remove_path(path)
        self.waiting.set()

    def __iter__(self) -> Iterator[Job]:
        """All living jobs, the oldest first."""
        return iter([job for job in self.all() if not job.forgotten])

    def all(self) -> list[Job]:
        """All living jobs, those included that were deleted and are still rendered."""
        now = time.time()
        living = [job for job in self._jobs.values() if not job.expired(now)]
        return sorted(living, key=lambda job: job.number)

    def get(self, video_id: str) -> Job | None:
        """The job, or None where it is unknown, deleted or expired."""
        job = self._jobs.get(video_id)
        gone = job is None or job.forgotten or job.expired(time.time())
        return None if gone else job

    def by_idempotency_key(self, key: str) -> Job | None:
        """The living job that was made with this key."""
        return next((job for job in self if job.idempotency_key == key), None)

    @property
    def unfinished(self) -> int:
        """How many are still to be rendered."""
        return sum(not job.finished for job in self._jobs.values())

    def next_queued(self) -> Job | None:
        """Take the oldest job that waits, or None."""
        while self._queue:
            job = self._queue.popleft()
            if job.id in self._jobs:
                return job
        return None

    def input_of(self, job: Job) -> Path:
        """Where its reference image, or the video that it starts from, lies."""
        return self.home / "inputs" / job.id

    def files_of(self, job: Job) -> Path:
        """The folder that its files appear in, all at once."""
        return self.home / "files" / job.id

    def file_of(self, job: Job, variant: str = "video") -> Path | None:
        """One of its files, a key of `FILES`; None where it is not there."""
        path = self.files_of(job) / FILES[variant]
        return path if path.is_file() else None

    def drawing_of(self, job: Job) -> Path:
        """The folder that they are made in."""
        return self.home / "files" / f"{job.id}.part"

    async def accept(
        self,
        *,
        video_id: str,
        image: bytes | None = None,
        parent: Job | None = None,
        upload: bytes | None = None,
        **request: Any,
    ) -> Job:
        """Make a job that survives any crash from here on.

        Args:
            video_id: What it is called.
            image: The reference to start from.
            parent: The job whose video to start from.
            upload: Or the video itself.
            request: The other fields of a `Job`.
        """
        self.accepted += 1
        now = time.time()
        job = Job(
            id=video_id,
            number=self.accepted,
            created_at=int(now),
            expires_at=int(now + self.ttl),
            parent=parent.id if parent else None,
            source="image" if image is not None else "video" if parent or upload else None,
            **request,
        )
        await to_thread(self._save_new, job, image or upload, parent)
        self._jobs[job.id] = job
        self._queue.append(job)
        self.waiting.set()
        return job

    def _save_new(self, job: Job, given: bytes | None, parent: Job | None) -> None:
        if given is not None:
            write_whole(self.input_of(job), given)
        elif parent is not None:
            # A second name for the parent's bytes: the parent may be deleted before they are read.
            link(self.files_of(parent) / FILES["video"], self.input_of(job))
        self._save(job)

    def _save(self, job: Job) -> None:
        write_whole(self.home / "jobs" / f"{job.id}.json", json.dumps(asdict(job)).encode())

    async def finish(self, job: Job, error: dict[str, str] | None = None) -> None:
        """Record the end of a job: completed, or failed with an error."""
        if job.id not in self._jobs:
            return
        now = time.time()
        ended = asdict(job) | {
            "status": "failed" if error else "completed",
            "progress": job.progress if error else 100,
            "completed_at": None if error else int(now),
            # A job may queue for longer than its video lives.
            "expires_at": int(now + self.ttl),
            "error": error,
        }
        await to_thread(self._save, Job(**ended))
        if job.id not in self._jobs:  # deleted meanwhile
            remove_path(self.home / "jobs" / f"{job.id}.json")
            return
        for name, value in ended.items():
            setattr(job, name, value)
        remove_path(self.input_of(job))
        if job.forgotten:
            await self.remove(job)

    async def forget(self, job: Job) -> None:
        """Show a job no more, but let it be rendered to its end."""
        job.forgotten = True
        if job.finished:
            await self.remove(job)
        else:
            await to_thread(self._save, job)

    async def remove(self, *jobs: Job) -> None:
        """Forget jobs and their files; that they were accepted stays counted."""
        gone = [job for job in jobs if self._jobs.pop(job.id, None)]
        if gone:
            await to_thread(self._remove_files, gone)

    def _count(self) -> None:
        with self._counting:  # or an older count might be written last
            counted = json.dumps({"accepted": self.accepted}).encode()
            write_whole(self.home / "accepted.json", counted)

    def _remove_files(self, jobs: list[Job]) -> None:
        self._count()
        for job in jobs:
            remove_path(self.home / "jobs" / f"{job.id}.json")
            remove_path(self.files_of(job))
            remove_path(self.input_of(job))

    async def purge(self) -> None:
        """Remove the files of what has expired."""
        now = time.time()
        await self.remove(*[job for job in self._jobs.values() if job.expired(now)])

    async def reset(self) -> None:
        """Forget everything, the count included."""
        jobs = list(self._jobs.values())
        self._jobs.clear()
        self.accepted = 0
        await to_thread(self._remove_files, jobs)
