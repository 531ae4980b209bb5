"""Jobs: what was accepted, by whom it can be seen, and what is left of it after a death."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock
from time import time
from typing import Any

from tests.support.stranger.character import Character


@dataclass
class Job:
    """One thing that was paid for.

    Attributes:
        id: Its name.
        account: Whose it is.
        kind: create, remix, edit, extend, or image.
        fields: What it was asked for, as it arrived.
        source: The video that it was made from.
        at: When it was accepted, by the true clock.
        replica: Who accepted it.
        life: In which life of the server.
        idempotency_key: The header's.
        deleted: Whether somebody has deleted it.
    """

    id: str
    account: str
    kind: str
    fields: dict[str, Any]
    source: str | None
    at: float
    replica: int
    life: int
    idempotency_key: str | None = None
    deleted: bool = False

    def is_done(self, character: Character) -> bool:
        """Whether its video can be fetched."""
        return time() >= self.at + character.renders_s


@dataclass
class Jobs:
    """All that was ever accepted, on disk before it is answered."""

    folder: Path
    life: int = 0
    all: dict[str, Job] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        """Read what earlier lives have accepted, up to a line that a death has torn."""
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = b""
        if self._path.exists():
            whole, _, _ = self._path.read_bytes().rpartition(b"\n")
        for line in whole.splitlines():
            job = Job(**json.loads(line))
            self.all[job.id] = job
        # What was torn was never answered; the next line must not stick to it.
        self._path.write_bytes(whole + b"\n" if whole else b"")
        self.life = 1 + max((job.life for job in self.all.values()), default=0)

    @property
    def _path(self) -> Path:
        return self.folder / "jobs.jsonl"

    def accept(
        self,
        account: str,
        kind: str,
        fields: dict[str, Any],
        at: float,
        replica: int,
        source: str | None = None,
        key: str | None = None,
    ) -> Job:
        """Take a job on, for money."""
        with self._lock:
            name = f"job.{len(self.all) + 1}~{os.urandom(3).hex()}"
            job = Job(name, account, kind, fields, source, at, replica, self.life, key)
            self._write(job)
            self.all[name] = job
        return job

    def delete(self, job: Job) -> None:
        """Delete one, and remember that."""
        with self._lock:
            job.deleted = True
            self._write(job)

    def forget(self) -> None:
        """Begin anew."""
        with self._lock:
            self._path.unlink(missing_ok=True)
            self.all.clear()

    def _write(self, job: Job) -> None:
        with self._path.open("ab") as file:
            file.write(json.dumps(asdict(job)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def seen(self, character: Character, account: str, replica: int | None) -> Iterator[Job]:
        """What an account is shown, newest first.

        Args:
            character: What the server is like.
            account: Who asks.
            replica: Who answers; None where all replicas know it.
        """
        now = time()
        for job in reversed(list(self.all.values())):
            remembered = character.remembers_s is None or now - job.at < character.remembers_s
            lived = character.durable or job.life == self.life
            theirs = job.account == account and job.kind != "image" and not job.deleted
            if theirs and remembered and lived and replica in (None, job.replica):
                yield job

    def truth(self) -> list[dict[str, Any]]:
        """All that was accepted, the oldest first."""
        return [asdict(job) for job in self.all.values()]
