"""Files of the renderer's folder: written whole, published all at once, removed."""

import os
import shutil
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Put `data` under `path` at once and durably: readers see the old file or the new one."""
    part = path.with_name(f"{path.name}.{os.urandom(6).hex()}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    _sync_folder(path.parent)


def publish(part: Path, final: Path) -> None:
    """Give the finished files in the folder `part` their final folder, all at once."""
    for path in part.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    remove_path(final)
    part.rename(final)
    _sync_folder(final.parent)


def link(source: Path, target: Path) -> None:
    """Give a file a second name, or a copy where there are no links."""
    try:
        os.link(source, target)
    except OSError:  # the file system has no hard links
        part = target.with_name(target.name + ".part")
        shutil.copyfile(source, part)
        part.replace(target)


def remove_path(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the folder's new names survive a power cut, where the system can."""
    with suppress(OSError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
