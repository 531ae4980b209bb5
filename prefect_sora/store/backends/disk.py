"""A local or mounted disk: files are written aside, synced, then linked or renamed."""

import errno
import io
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import BinaryIO

from prefect_sora.errors import StorageError
from prefect_sora.store.backends.leftovers import (
    is_check,
    is_our_folder,
    is_part,
    leads_to_ours,
    part_name,
)
from prefect_sora.store.backends.mounts import shared_kind

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class Disk:
    """Files in folders, made on demand; durable once a call has returned."""

    def create(self, path: str, data: bytes) -> bool | None:
        """Link the finished file to its name, which only one writer can do."""
        return False if os.path.lexists(path) else self.create_blindly(path, data)

    def create_blindly(self, path: str, data: bytes) -> bool | None:
        """Let the link decide: it fails where the name is taken."""
        aside = DiskUpload(path)
        try:
            aside.write(data)
            aside.sync()
            created = _link(aside.part, path)
            if created is None:
                created = _create_in_place(path, data)
        except FileNotFoundError:
            if not os.path.isdir(os.path.dirname(path)):
                raise  # the folder cannot be made
            # A sweep removed the file in the moment before it was locked.
            return None
        finally:
            aside.discard()
        if created:
            _sync_folder(os.path.dirname(path))
        return created

    def replace(self, path: str, data: bytes) -> None:
        """Rename the finished file over any other."""
        aside = DiskUpload(path)
        try:
            aside.write(data)
            aside.publish()
        finally:
            aside.discard()

    def read(self, path: str) -> bytes | None:
        """Return the bytes on the disk."""
        try:
            with open(path, "rb", opener=_no_pipe) as file:
                return file.read()
        except FileNotFoundError:
            return None

    def names(self, path: str) -> list[str]:
        """Return the names without those of files that are still being written."""
        try:
            with os.scandir(path) as entries:
                return sorted(
                    entry.name + "/" * entry.is_dir()
                    for entry in entries
                    if not is_part(entry.name)
                )
        except FileNotFoundError:
            return []

    def delete(self, path: str) -> None:
        """Unlink the file."""
        with suppress(FileNotFoundError):
            os.unlink(path)

    def upload(self, path: str) -> "DiskUpload":
        """Begin a file beside the final one, for a rename within one file system."""
        return DiskUpload(path)

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """Open the file itself."""
        with open(path, "rb", opener=_no_pipe) as file:
            yield file

    def retype(self, path: str) -> bool:
        """Know no types: whoever serves the files tells them by their names."""
        del path
        return False

    def sweep(self, root: str, path: str, age: timedelta | None) -> list[str]:
        """Remove the `.part` files of dead writers; where nobody knows which are dead, old ones."""
        swept = []
        born_before = 0.0 if age is None else time.time() - age.total_seconds()
        # Where other machines write, too, their locks may not show here.
        locks_tell = shared_kind(root) is None
        for remain in _remains(root, path):
            with suppress(FileNotFoundError):
                is_locked = locks_tell and is_part(os.path.basename(remain))
                held = _is_held(remain) if is_locked else None
                if held is False or (held is None and os.stat(remain).st_mtime <= born_before):
                    os.unlink(remain)
                    swept.append(remain)
        return sorted(swept)


def _no_pipe(path: str, flags: int) -> int:
    """Open what can be read to its end: who reads a pipe waits until somebody writes to it.

    Raises:
        StorageError: It is a pipe or a device.
    """
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # Windows has none
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):  # which its reader refuses
        return descriptor
    os.close(descriptor)
    raise StorageError(f"{path} is a pipe or a device, and no file.", next_step="Move it away.")


def _remains(root: str, path: str) -> Iterator[str]:
    """Find temporary files by their names, in this package's own folders only."""
    below = os.path.relpath(path, root).replace(os.sep, "/")
    below = "" if below == "." else below
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                inside = f"{below}/{entry.name}" if below else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if is_our_folder(inside) or leads_to_ours(inside):
                        yield from _remains(root, entry.path)
                elif not below:
                    # This package writes files there only while it tries the store.
                    if is_check(entry.name):
                        yield entry.path
                elif is_our_folder(below) and is_part(entry.name):
                    yield entry.path
    except FileNotFoundError:
        return


class DiskUpload:
    """A dot-file beside the final name; unique, so that two writers never share one."""

    def __init__(self, path: str) -> None:
        folder, name = os.path.split(path)
        self.path = path
        self.part = os.path.join(folder, part_name(name))
        self._file: io.FileIO | None = None

    def write(self, data: bytes) -> None:
        """Append `data`."""
        if self._file is None:
            _make_folder(os.path.dirname(self.path))
            # Unbuffered: a full disk is an error of the write, and not once more of closing.
            self._file = io.FileIO(self.part, "xb")
            _hold(self._file)
        _write_all(self._file, data)

    def sync(self) -> None:
        """Bring what was written onto the disk, under its temporary name."""
        self.write(b"")  # an empty file is a file too
        assert self._file is not None  # noqa: S101 - for the type checker: write opened it
        os.fsync(self._file.fileno())
        if fcntl is None:  # Windows cannot rename an open file
            self._file.close()

    def publish(self) -> None:
        """Rename the whole file to its name."""
        self.sync()
        os.replace(self.part, self.path)
        _sync_folder(os.path.dirname(self.path))

    def discard(self) -> None:
        """Remove what is left under the temporary name."""
        if self._file is not None:
            self._file.close()
            with suppress(FileNotFoundError):
                os.unlink(self.part)


def _hold(file: io.FileIO) -> None:
    """Lock the file to show that its writer lives; the lock ends when the process ends."""
    if fcntl is not None:
        with suppress(OSError):  # a file system without locks; others go by the file's age
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_held(part: str) -> bool | None:
    """Whether a living writer holds the file; None where this cannot be known."""
    if fcntl is None:
        return None
    with open(part, "rb", opener=_no_pipe) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return None
    return False


def _link(part: str, path: str) -> bool | None:
    """Give the file its final name: False if it is taken, None where there are no hard links."""
    try:
        os.link(part, path)
    except FileExistsError:
        # A network disk may have lost the answer to a link that it made.
        return os.path.samefile(part, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return None
    return True


def _write_all(file: io.FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _create_in_place(path: str, data: bytes) -> bool:
    """Create a file where there are no hard links: exclusive, but a crash can leave it torn.

    Code that reads records copes with a torn one.
    """
    try:
        file = io.FileIO(path, "xb")
    except FileExistsError:
        return False
    try:
        with file:
            _write_all(file, data)
            os.fsync(file.fileno())
    except BaseException:
        os.unlink(path)
        raise
    return True


def _make_folder(folder: str) -> None:
    missing = []
    above = folder
    while not os.path.isdir(above) and os.path.dirname(above) != above:
        missing.append(above)
        above = os.path.dirname(above)
    os.makedirs(folder, exist_ok=True)
    for made in missing:
        _sync_folder(os.path.dirname(made))


def _sync_folder(folder: str) -> None:
    if hasattr(os, "O_DIRECTORY"):  # Windows cannot, and need not
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
