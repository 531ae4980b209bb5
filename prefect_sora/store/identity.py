"""A render's key: the same for the same request on the same server, whenever it is asked."""

import hashlib
import json
import os
import platform
import re
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import uuid4

import psutil
from pydantic import BaseModel
from slugify import slugify

from prefect_sora.servers.server import Server

KEY_DIGITS: Final = 12


class Request(Protocol):
    """What a render's key is made of: a request for a video or for pictures."""

    @property
    def prompt(self) -> str:
        """What to show."""

    def canonical(self, reference_sha256: str | None) -> dict[str, Any]:
        """All that makes the request what it is, as plain JSON."""


def fingerprint(request: Request, server: Server, scope: str, reference_sha256: str | None) -> str:
    """Hash all that tells a render from others: 64 hex digits."""
    return _digest(
        {
            "request": request.canonical(reference_sha256),
            "server": server.identity,
            "scope": scope,
        }
    )


def request_digest(request: Request, server: Server, reference_sha256: str | None) -> str:
    """Hash a render without the scope: equal for the same request in another run."""
    return _digest({"request": request.canonical(reference_sha256), "server": server.identity})


def folder_name(request: Request, digest: str) -> str:
    """Name the render's folder for people: the prompt's first words and the key."""
    slug = title_slug(request.prompt)
    return f"{slug}-{digest[:KEY_DIGITS]}" if slug else digest[:KEY_DIGITS]


def title_slug(prompt: str) -> str:
    """The prompt's first words as folder names show them; empty where no word can be shown."""
    return str(slugify(prompt[:200], max_length=40, word_boundary=True))


def is_key(word: str) -> bool:
    """Whether a word can be a render's key; no server's id of a video is one."""
    return bool(re.fullmatch(rf"[0-9a-f]{{{KEY_DIGITS}}}", word))


def key_of(folder: str) -> str:
    """Read the key back from a folder's name."""
    return folder.rstrip("/").rpartition("-")[2]


class Owner(BaseModel):
    """The process that holds a reservation, and a token for this one reservation."""

    machine: str
    pid: int
    started: float
    token: str

    def is_this_process(self) -> bool:
        """Whether this process is that owner."""
        return (self.machine, self.pid, self.started) == _this_process()

    def is_dead(self) -> bool | None:
        """Whether that process is gone; None where that cannot be seen from here."""
        if self.machine != _this_process()[0]:
            return None
        try:
            return abs(psutil.Process(self.pid).create_time() - self.started) > 1.0
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return None


def new_owner() -> Owner:
    """Name this process as the owner of one new reservation."""
    machine, pid, started = _this_process()
    return Owner(machine=machine, pid=pid, started=started, token=uuid4().hex)


def _this_process() -> tuple[str, int, float]:
    pid = os.getpid()  # not cached: a forked process is another one
    return _machine(), pid, _started(pid)


@cache
def _started(pid: int) -> float:
    return float(psutil.Process(pid).create_time())


@cache
def _machine() -> str:
    """Name what process ids are unique in: host, boot and, on Linux, pid namespace."""
    parts = [platform.node(), f"{psutil.boot_time():.0f}"]
    boot_id = Path("/proc/sys/kernel/random/boot_id")
    namespace = Path("/proc/self/ns/pid")
    if boot_id.exists():  # steadier than the boot time, which moves with the clock
        parts[1] = boot_id.read_text().strip()
    if namespace.exists():
        parts.append(str(namespace.stat().st_ino))
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def _digest(value: dict[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
