"""Boundaries: the moments of a flow at which its process can die, counted; it dies at one.

A boundary is before and after each operation of the store's file system, before each step
inside one that changes something, and around each request to the video server: connecting,
leaving, sent, answered, read. `watch` counts them in this process, and kills it at the n-th.
"""

import functools
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from prefect_sora.store.backends import disk, object_stores

# Between these nothing happens outside of the process.
_WIRE = {
    "connection.connect_tcp.started": "connecting",
    "http11.send_request_headers.started": "leaving",
    "http11.send_request_body.complete": "sent",
    "http11.receive_response_headers.complete": "answered",
    "http11.receive_response_body.complete": "read",
}
_IDS = ("video_", "job.")  # the local renderer's, the stranger's
_KINDS = (".json", ".mp4", ".webp", ".jpg")
_OPERATIONS = ("create", "replace", "read", "names", "delete", "open", "sweep")
_DISKS_STEPS = ("_make_folder", "_write_all", "_link", "_sync_folder")


class Boundaries:
    """Counts the boundaries that a process passes, and ends something at one of them."""

    def __init__(self, log: Path, kill_at: int | None, victim: int | None) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._kill_at = kill_at
        self._victim = victim
        self._count = 0
        self._lock = threading.Lock()

    def passing(self, name: str) -> None:
        """Count one, and write its name down: at the one that was asked for, kill."""
        with self._lock:  # the store works in threads
            self._count += 1
            os.write(self._log, f"{name}\n".encode())
            if self._count == self._kill_at:
                os.kill(self._victim or os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, name: str, *, after: bool = True) -> None:
        """Make a boundary before and after each call of a function or method."""
        work: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(work)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            told = f"{name.strip('_')} {_plain(args)}".strip()
            self.passing(f"before {told}")
            result = work(*args, **kwargs)
            if after:
                self.passing(f"after {told}")
            return result

        setattr(owner, name, wrapped)


def _plain(args: tuple[Any, ...]) -> str:
    """What a call is about: the kind of file, without what differs from run to run."""
    for arg in args:
        path = arg if isinstance(arg, str) else getattr(arg, "path", "")
        name = os.path.basename(path).strip(".")
        if name.endswith(_KINDS):
            return "claim" if "/.claims/" in path else name
    return ""


def watch(log: Path, video_server: str, kill_at: int | None, victim: int | None = None) -> None:
    """Count this process's boundaries from here on.

    Args:
        log: Where each boundary's name goes, one a line.
        video_server: Requests to this origin count, and no others.
        kill_at: The boundary to die at, from 1; None to go on.
        victim: The process that dies in our place.
    """
    boundaries = Boundaries(log, kill_at, victim)
    _watch_requests(boundaries, httpx2.URL(video_server))
    for kind in (disk.Disk, object_stores.ObjectStore):
        for name in _OPERATIONS:
            boundaries.around(kind, name)
    boundaries.around(disk.DiskUpload, "publish")
    boundaries.around(disk.DiskUpload, "discard", after=False)
    for name in _DISKS_STEPS:
        boundaries.around(disk, name, after=False)
    boundaries.around(object_stores.ObjectStore, "call_s3")


def _watch_requests(boundaries: Boundaries, server: httpx2.URL) -> None:
    transport = httpx2.AsyncHTTPTransport
    send = transport.handle_async_request

    async def handle(self: Any, request: httpx2.Request) -> httpx2.Response:
        if request.url.port == server.port:
            verb = f"{request.method} {_route(request.url)}"
            # A create's own trace, by which it learns that it has left.
            own = request.extensions.get("trace")

            async def trace(event: str, info: dict[str, Any]) -> None:
                if own:
                    await own(event, info)
                if event in _WIRE:
                    boundaries.passing(f"{verb} {_WIRE[event]}")

            request.extensions = {**request.extensions, "trace": trace}
        return await send(self, request)

    transport.handle_async_request = handle  # type: ignore[method-assign]


def _route(url: httpx2.URL) -> str:
    parts = ["ID" if part.startswith(_IDS) else part for part in url.path.split("/")]
    variant = url.params.get("variant")
    return "/".join(parts) + (f"?variant={variant}" if variant else "")
