"""Storage: a file appears under its name whole, or not at all; a record has one writer.

A `VideoFolder` is a folder at a URL. Videos are streamed into it, hashed on their
way and checked before they take their name; records are created exclusively.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, BinaryIO, Protocol, TypeVar

from prefect_sora.errors import CorruptVideoError, ForeignRecordError, SoraError, StorageError
from prefect_sora.limits import limits
from prefect_sora.store.backends import checks, probe
from prefect_sora.store.backends.concurrency import BYTES, LOOKS, RECORDS, Lane, to_its_end
from prefect_sora.store.backends.filesystems import (
    FileSystem,
    is_below_root,
    on_disk,
    open_filesystem,
    place_of,
    url_of_root,
)
from prefect_sora.store.backends.refusals import refusal, without_password

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Written:
    """A file that stands whole under its name."""

    url: str
    size_bytes: int
    sha256: str


class Check(Protocol):
    """Looks at a file's bytes as they pass by; its errors keep the file from appearing."""

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes."""

    def finish(self) -> object:
        """Judge the whole."""


@dataclass(frozen=True)
class VideoFolder:
    """A folder on a disk, in memory or in an object store, the same everywhere.

    Attributes:
        root: `s3://bucket/videos`, `gs://…`, `abfs://…`, `memory://…`, `file:///…` or a plain
            path, made absolute at once. A local folder is made on demand, a bucket never.
        options: The fsspec driver's own, such as `endpoint_url`, `key` and
            `secret` for S3. They may hold secrets: no error and no repr shows them.
        name: What --store takes for it, where that is not its address: a saved block.
    """

    root: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)
    name: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Stay at one place: a relative path would move with the process's folder."""
        object.__setattr__(self, "root", on_disk(self.root) or without_password(self.root))

    def url(self, name: str) -> str:
        """The full URL of a name below the root."""
        return self._url(_relative(name))

    def name_of(self, place: object) -> str | None:
        """The name below the root of a file at a path or URL; None where it lies elsewhere."""
        root = f"{self._url().rstrip('/')}/"
        url = url_of_root(place) if isinstance(place, str) else ""
        name = url.removeprefix(root)
        return name if url.startswith(root) and is_below_root(name) else None

    def options_of(self, place: object) -> dict[str, Any] | None:
        """What fsspec needs to open a place, where that is below this folder; else None."""
        return None if self.name_of(place) is None else dict(self.options)

    async def create(self, name: str, data: bytes, *, blindly: bool = False) -> bool:
        """Write a file that nobody has written yet; one of all racing writers wins.

        Put something unique to the writer into `data`: where the outcome is not known
        otherwise, reading the file back tells who wrote it.

        Args:
            name: Path below the root.
            data: All of it.
            blindly: Do not look first, so that only the exclusive write itself decides.

        Returns:
            True for the winner, whose file is then whole and durable; False if one is there.

        Raises:
            StorageError: The store refused, or its answer got lost and no file is
                there. Read the name before creating it again.
        """

        def creating(system: FileSystem, path: str) -> bool | None:
            return (system.create_blindly if blindly else system.create)(path, data)

        for attempt in range(limits().create_attempts):
            if attempt:
                await asyncio.sleep(limits().create_pause_seconds * 2**attempt)
            created = await self._do(name, creating, lane=RECORDS)
            if created is not None:
                return created
        raise StorageError(
            f"{self.url(name)}: other writers kept it undecided who created it.",
            next_step="Try again in a moment.",
        )

    async def put(self, name: str, data: bytes) -> str:
        """Write a small file, in place of any other, in one step; return its URL.

        Raises:
            StorageError: The store refused; what was there before still is.
        """
        await self._do(name, lambda system, path: system.replace(path, data), lane=RECORDS)
        return self.url(name)

    async def read(self, name: str) -> bytes | None:
        """Return a small file's bytes, None if it is absent.

        Raises:
            StorageError: The store refused, or is missing itself.
        """
        return await self._do(name, lambda system, path: system.read(path))

    async def names(self, folder: str = "") -> list[str]:
        """Return the names directly below a folder as they are now, `[]` if it is absent.

        Folders end with "/". Files that are still being written are not listed.

        Raises:
            StorageError: The store refused, or is missing itself.
        """
        return await self._do(folder, lambda system, path: system.names(path), folder=True)

    async def delete(self, name: str) -> None:
        """Remove a file; one that is absent already is fine."""
        await self._do(name, lambda system, path: system.delete(path), lane=RECORDS)

    async def write(
        self,
        name: str,
        chunks: AsyncIterable[bytes],
        *,
        expected_bytes: int | None = None,
        check: Check | None = None,
    ) -> Written:
        """Stream a file of any size into the folder, in bounded memory.

        It takes its name after every check has passed. On any failure, and when
        cancelled, nothing is left behind and a former file of that name stays.

        Args:
            name: Path below the root.
            chunks: The body as it arrives; what it raises passes unchanged.
            expected_bytes: The announced length, where there was one.
            check: Sees every byte and may object.

        Raises:
            CorruptVideoError: Another length arrived than announced, or the check
                objects. Fetch it again.
            StorageError: The store refused. Write it again.
        """
        url = self.url(name)
        upload = await self._do(name, lambda system, path: system.upload(path), lane=BYTES)
        digest = hashlib.sha256()
        size_bytes = 0

        def take(piece: bytes) -> None:
            digest.update(piece)
            if check is not None:
                check.feed(piece)
            self._attempt(url, partial(upload.write, piece))

        try:
            gathered: list[bytes] = []
            gathered_bytes = 0
            async for chunk in chunks:
                gathered.append(chunk)
                gathered_bytes += len(chunk)
                size_bytes += len(chunk)
                if expected_bytes is not None and size_bytes > expected_bytes:
                    break
                if gathered_bytes >= limits().piece_bytes:
                    piece, gathered, gathered_bytes = b"".join(gathered), [], 0
                    await to_its_end(partial(take, piece), BYTES)
            if expected_bytes is not None and size_bytes != expected_bytes:
                raise CorruptVideoError(
                    f"{name}: {size_bytes} bytes arrived of {expected_bytes}.",
                    next_step="Fetch it again.",
                )
            await to_its_end(partial(take, b"".join(gathered)), BYTES)
            if check is not None:
                await to_its_end(check.finish, BYTES)
            await to_its_end(partial(self._attempt, url, upload.publish), BYTES)
        finally:
            # An error of `discard` says less than the one that led here; `sweep_parts`
            # removes what cannot be removed now.
            with suppress(Exception):
                await to_its_end(upload.discard, BYTES)
        return Written(url, size_bytes, digest.hexdigest())

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Open a file for reading and seeking; it blocks, so use it in a thread.

        Raises:
            StorageError: The file is absent, or the store refused.
        """
        url = self.url(name)

        def opened() -> tuple[AbstractContextManager[BinaryIO], BinaryIO]:
            system, path = self._locate(_relative(name))
            manager = system.open(path)
            return manager, manager.__enter__()

        manager, file = self._attempt(url, opened)
        try:
            yield file
        finally:
            manager.__exit__(None, None, None)

    async def sweep_parts(
        self, folder: str = "", *, older_than: timedelta | None = timedelta(days=1)
    ) -> list[str]:
        """Remove what killed writers left at and below a folder; return what it was.

        On a disk these are `.part` files, on S3 unfinished uploads, which are
        invisible and billed. Only files named as this package names them, in its
        own folders, are ever removed: a store may share its place with others. What a dead
        process left on a disk is removed at once. Where nobody knows whether the process is
        dead, only old files are removed, to protect writers that are still alive.

        Args:
            folder: Path below the root.
            older_than: What is younger is left, unless its writer is known to be dead;
                None leaves all others.
        """
        _, root = self._locate("")
        return await self._do(
            folder, lambda system, path: system.sweep(root, path, older_than), folder=True
        )

    async def check(self) -> None:
        """Try everything that a store must be able to do, and leave nothing behind.

        Raises:
            StorageError: It says what is wrong and what to do next.
        """
        await probe.check(self, self._url())

    async def require_exclusive(self) -> None:
        """Make sure, once in a process, that of two writers only one can create a file here.

        This costs four small requests to an object store, and leaves nothing behind. Callers that
        ask meanwhile wait for the same check; a store that failed is tried again.

        Raises:
            StorageError: Two writers can, or it cannot be tried. Nothing may be paid on it.
        """
        place = place_of(self.root, self.options)
        await checks.once(place, lambda: probe.two_writers(self, self._url()))

    def _url(self, name: str = "") -> str:
        start = url_of_root(self.root)
        return start + "/" * (bool(name) and not start.endswith("/")) + name

    def _locate(self, name: str) -> tuple[FileSystem, str]:
        system, base = open_filesystem(self.root, self.options)
        return system, f"{base.rstrip('/')}/{name}" if name else base

    def _attempt(self, url: str, action: Callable[[], _T]) -> _T:
        try:
            return action()
        except SoraError:
            raise
        except Exception as error:
            refused = refusal(error, url, self.options)
        # Raised out here, so that the original error does not travel along: it may hold secrets.
        raise refused

    async def _do(
        self,
        name: str,
        action: Callable[[FileSystem, str], _T],
        *,
        folder: bool = False,
        lane: Lane = LOOKS,
    ) -> _T:
        name = "" if folder and not name else _relative(name.rstrip("/") if folder else name)
        return await to_its_end(
            partial(self._attempt, self._url(name), lambda: action(*self._locate(name))), lane
        )


def _relative(name: str) -> str:
    if not is_below_root(name):
        raise ForeignRecordError(f"{name!r} is not a path below the store's folder.")
    return name
