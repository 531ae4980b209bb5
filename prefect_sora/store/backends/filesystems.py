"""File systems: each kind keeps the same promises by its own means.

`create` lets exactly one of all writers win; `replace` and an upload show a file
whole or not at all; `names` never answers from a cache. All of it is synchronous
and raises whatever the file system raises.
"""

import io
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, BinaryIO, Protocol, cast

from prefect_sora.errors import StorageError
from prefect_sora.store.backends.concurrency import Lane
from prefect_sora.store.backends.disk import Disk
from prefect_sora.store.backends.listings import names_below
from prefect_sora.store.backends.object_stores import ObjectStore
from prefect_sora.store.backends.refusals import plain_url


class Upload(Protocol):
    """A file on its way: invisible until published, gone when discarded."""

    def write(self, data: bytes) -> None:
        """Append `data`."""

    def publish(self) -> None:
        """Show the whole file under its name, durably."""

    def discard(self) -> None:
        """Leave nothing behind; after `publish`, do nothing."""


class FileSystem(Protocol):
    """What a store needs of a file system."""

    def create(self, path: str, data: bytes) -> bool | None:
        """Write a file that is not there yet: True if this call did; None: undecided, ask again."""

    def create_blindly(self, path: str, data: bytes) -> bool | None:
        """Create without looking first, so that only the exclusive write itself decides."""

    def replace(self, path: str, data: bytes) -> None:
        """Write a small file in one step, in place of any other."""

    def read(self, path: str) -> bytes | None:
        """Return a whole small file, None if there is none."""

    def names(self, path: str) -> list[str]:
        """Return the names directly below a folder, folders with a "/" at their end."""

    def delete(self, path: str) -> None:
        """Remove a file, if it is there."""

    def upload(self, path: str) -> Upload:
        """Begin a file; nothing is opened before the first byte."""

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """Read a file, with a small read-ahead."""

    def retype(self, path: str) -> bool:
        """Give a file the content type of its name; False where it has it, or there are none."""

    def sweep(self, root: str, path: str, age: timedelta | None) -> list[str]:
        """Remove what dead writers left at and below `path`, and what is at least `age` old.

        Only files with names that this package alone gives, below the store's `root`.
        """


class Memory:
    """fsspec's memory, shared within one process."""

    # fsspec looks, then writes; between the two another thread could write.
    _lock = threading.RLock()

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def create(self, path: str, data: bytes) -> bool:
        """Look and write under one lock."""
        with self._lock:
            if self._fs.exists(path):
                return False
            self._fs.pipe_file(path, data)
            return True

    create_blindly = create

    def replace(self, path: str, data: bytes) -> None:
        """Set the bytes."""
        with self._lock:
            self._fs.pipe_file(path, data)

    def read(self, path: str) -> bytes | None:
        """Return a copy of the bytes."""
        try:
            return cast("bytes", self._fs.cat_file(path))
        except FileNotFoundError:
            return None

    def names(self, path: str) -> list[str]:
        """Return the names below a prefix."""
        with self._lock:
            return names_below(self._fs, path)

    def delete(self, path: str) -> None:
        """Forget the bytes."""
        with suppress(FileNotFoundError), self._lock:
            self._fs.rm_file(path)

    def upload(self, path: str) -> Upload:
        """Gather the file in a buffer: fsspec would show it from its first byte."""
        return _MemoryUpload(self, path)

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """Open a copy: fsspec's own file has one position for all its readers."""
        with io.BytesIO(self._fs.cat_file(path)) as file:
            yield file

    def retype(self, path: str) -> bool:
        """Know no types."""
        del path
        return False

    def sweep(self, root: str, path: str, age: timedelta | None) -> list[str]:
        """Nothing outlives the process."""
        del root, path, age
        return []


class _MemoryUpload:
    def __init__(self, memory: Memory, path: str) -> None:
        self._memory, self._path, self._buffer = memory, path, io.BytesIO()

    def write(self, data: bytes) -> None:
        self._buffer.write(data)

    def publish(self) -> None:
        self._memory.replace(self._path, self._buffer.getvalue())

    def discard(self) -> None:
        self._buffer.close()


_KINDS = {
    **dict.fromkeys(["file", "local"], "file"),
    "memory": "memory",
    **dict.fromkeys(["s3", "s3a"], "s3"),
    **dict.fromkeys(["gs", "gcs"], "gs"),
    **dict.fromkeys(["abfs", "abfss", "az"], "abfs"),
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "s3": {"use_listings_cache": False},
    "gs": {"use_listings_cache": False},
    "abfs": {"use_listings_cache": False},
}
# Threads share one client: fsspec before 2026 would make one for each. Forks share none.
_opened: dict[tuple[int, str, str], tuple[FileSystem, str]] = {}
_opening = threading.Lock()


def on_disk(place: str) -> str | None:
    """The absolute path of a place on this machine's disk, `~` expanded; None of any other."""
    if scheme_of(place) not in {"file", "local"}:
        return None
    import fsspec  # where it is used: no refusal waits for it

    return cast("str", fsspec.get_filesystem_class("file")._strip_protocol(place))


def url_of_root(root: str) -> str:
    """The URL of a root, or of any other place: without secrets, and absolute on a disk."""
    path = on_disk(root)
    return f"file:///{path.lstrip('/')}" if path else plain_url(root)


def is_below_root(name: str) -> bool:
    """Whether a name, with "/" between its parts, leads to a file below any root."""
    return not ({"\\", "\0"} & {*name} or {"", ".", ".."} & {*name.split("/")})


def scheme_of(root: str) -> str:
    """The scheme of a URL; `file` for a plain path."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)(?:://|::)", root)
    return found[1].lower() if found else "file"


def place_of(root: str, options: Mapping[str, Any]) -> tuple[str, str]:
    """Tell one store from another, without holding its secrets."""
    from fsspec.utils import tokenize

    return root, tokenize(options)


def open_filesystem(root: str, options: Mapping[str, Any]) -> tuple[FileSystem, str]:
    """Return the file system that holds `root`, and the root's path on it.

    Raises:
        StorageError: Its scheme has no exclusive creation that we know of, so it
            cannot hold records: choose another store.
    """
    key = (os.getpid(), *place_of(root, options))
    with _opening:
        if key not in _opened:
            _opened[key] = _open_filesystem(root, options)
        return _opened[key]


def _open_filesystem(root: str, options: Mapping[str, Any]) -> tuple[FileSystem, str]:
    scheme = scheme_of(root)
    kind = _KINDS.get(scheme)
    if kind is None or "::" in root:
        raise StorageError(
            f"{plain_url(root)}: on {scheme}:// it is not known that only one of two "
            "racing writers can create a file, so it cannot hold a store.",
            next_step="Use a local folder, s3://, gs://, abfs:// or memory://.",
        )
    if path := on_disk(root):
        return Disk(), path
    if plain_url(root) != root:
        raise StorageError(
            f"{plain_url(root)}: the URL holds a password, a signature or other parameters.",
            next_step="Move them into the store's options.",
        )
    # A separate instance: the settings made here are not for the user's other code.
    settings = {"skip_instance_cache": True, **_DEFAULTS.get(kind, {}), **options}
    if kind == "s3":
        # Videos would take botocore's ten connections, and a record would wait for one.
        connections = {"max_pool_connections": sum(lane.threads for lane in Lane)}
        settings["config_kwargs"] = {**connections, **(options.get("config_kwargs") or {})}
    import fsspec

    fs, path = fsspec.url_to_fs(root, **settings)
    if kind == "memory":
        return Memory(fs), path
    if not path.strip("/"):
        raise StorageError(
            f"{scheme}://: the URL names no bucket or container.",
            next_step=f"Name one: {scheme}://bucket/folder.",
        )
    return ObjectStore(fs, kind), path
