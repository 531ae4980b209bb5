"""Open markers: empty files whose names tell which renders of a store are open.

```text
<store>/.open/<folder>~<attempt>~<begun>-<token>   made before the reservation of an attempt,
                                                   gone when the attempt is closed
<store>/.open/complete.json                        when all open renders were last seen marked
```

Every open attempt has a marker, whenever any process died. A marker of a closed attempt does no
harm, and a sweep removes it. Each marker is named after one reservation, so that removing it
never removes the marker of another. Whoever waits for a render can hear that its marker is gone.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import time
from typing import Final
from uuid import uuid4
from weakref import WeakKeyDictionary

from pydantic import BaseModel

from prefect_sora.errors import StorageError
from prefect_sora.limits import limits
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.backends.filesystems import on_disk
from prefect_sora.store.backends.walk import names_starting
from prefect_sora.store.identity import KEY_DIGITS
from prefect_sora.store.reading import is_render
from prefect_sora.store.records import SCHEMA, Reserved, read_record

log = logging.getLogger(__name__)

FOLDER: Final = ".open"

_COMPLETE: Final = f"{FOLDER}/complete.json"


@dataclass(frozen=True)
class Marker:
    """Says that an attempt of a render is open, or may be.

    Attributes:
        name: Its file's.
        folder: The render's.
        attempt: Which attempt.
        begun: When it was made, Unix seconds.
    """

    name: str
    folder: str
    attempt: int
    begun: float

    @property
    def is_stale(self) -> bool:
        """Whether its attempt is too old to be under way."""
        return time() - self.begun > limits().marker_seconds


class Markers:
    """The markers of one store."""

    def __init__(self, store: VideoFolder) -> None:
        self._store = store

    async def put(self, folder: str, reservation: Reserved) -> None:
        """Mark an attempt as open.

        Raises:
            StorageError: The store refuses.
        """
        await self._store.put(_path(folder, reservation), b"")

    async def put_again(self, folder: str, attempt: int) -> None:
        """Mark an attempt whose own marker may be gone, under a new name."""
        name = f"{folder}~{attempt}~{time():.0f}-{uuid4().hex[:8]}"
        await self._store.put(f"{FOLDER}/{name}", b"")

    async def remove(self, folder: str, reservation: Reserved) -> None:
        """Remove the marker of a reservation."""
        await self._store.delete(_path(folder, reservation))

    async def remove_all(self, markers: Iterable[Marker]) -> None:
        """Remove markers of a render, the newest attempt's last."""
        for marker in sorted(markers, key=lambda marker: marker.attempt):
            await self._store.delete(f"{FOLDER}/{marker.name}")

    async def of(self, folder: str) -> list[Marker]:
        """Read the markers of one render."""
        found = await self._read(f"{folder}~")
        return found.get(folder, [])

    async def all(self, slug: str | None = None) -> dict[str, list[Marker]]:
        """Read the markers by their render's folder.

        Args:
            slug: Only renders whose folder begins so, before the key.
        """
        found = await self._read(f"{slug}-" if slug else "")
        if slug is None:
            return found
        return {f: marks for f, marks in found.items() if f[: -KEY_DIGITS - 1] == slug}

    async def _read(self, starting: str) -> dict[str, list[Marker]]:
        found: dict[str, list[Marker]] = {}
        for name in await names_starting(self._store, FOLDER, starting):
            folder, attempt, begun = (*name.split("~"), "", "")[:3]
            if attempt.isdecimal() and is_render(f"{folder}/"):
                at = begun.partition("-")[0]
                marker = Marker(name, folder, int(attempt), float(at) if at.isdigit() else time())
                found.setdefault(folder, []).append(marker)
        return found

    async def looked_at(self) -> float | None:
        """When all renders were last looked at, Unix seconds; None: never."""
        look = read_record(_Look, await self._store.read(_COMPLETE), _COMPLETE)
        return look.at if look else None

    async def looked(self, at: float) -> None:
        """Write down that no open render is without a marker.

        Args:
            at: When the look began, Unix seconds.
        """
        await self._store.put(_COMPLETE, _Look(at=at).model_dump_json().encode())


class _Look(BaseModel):
    schema_version: int = SCHEMA
    at: float


def _path(folder: str, reservation: Reserved) -> str:
    begun = f"{reservation.at:.0f}-{reservation.owner.token[:8]}"
    return f"{FOLDER}/{folder}~{reservation.attempt}~{begun}"


class Closings:
    """Tells those who wait here that a render was closed, whichever process did that.

    One list of the markers serves all of them; without anybody who waits there is none.
    """

    def __init__(self, store: VideoFolder) -> None:
        self._store, self._markers = store, Markers(store)
        self._waiting: dict[str, list[Callable[[], object]]] = {}
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def told(self, folder: str, tell: Callable[[], object]) -> Iterator[None]:
        """Call `tell` once when no attempt of a render is open any more."""
        self._waiting.setdefault(folder, []).append(tell)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())
        try:
            yield
        finally:
            told = self._waiting.get(folder, [])
            if tell in told:
                told.remove(tell)
            if not told:
                self._waiting.pop(folder, None)
            if not self._waiting:
                self._looking.cancel()

    async def _look(self) -> None:
        near = on_disk(self._store.root) is not None
        while self._waiting:
            now = limits()
            await asyncio.sleep(now.closed_look_disk_seconds if near else now.closed_look_seconds)
            waited = [*self._waiting]
            try:
                open_now = await self._markers.all()
            except StorageError as error:
                log.debug("The markers of open renders cannot be read now: %s", error)
                continue
            for folder in waited:
                if folder not in open_now:
                    for tell in self._waiting.pop(folder, []):
                        tell()


_closings: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[VideoFolder, Closings]] = (
    WeakKeyDictionary()
)


def closings_of(store: VideoFolder) -> Closings:
    """Return this event loop's one of a store."""
    there = _closings.setdefault(asyncio.get_running_loop(), {})
    return there.setdefault(store, Closings(store))
