"""Files: how a job's files take their names, and how they go."""

import os
import shutil
from pathlib import Path

from prefect_sora.local.address import sync_folder


def publish(part: Path, final: Path) -> None:
    """Give finished files their name, all at once."""
    for path in part.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    remove_path(final)
    part.rename(final)
    sync_folder(final.parent)


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
