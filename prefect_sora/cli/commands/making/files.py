"""Files: what the store has kept, as a file of its own besides."""

from pathlib import Path

from prefect_sora.cli import signals
from prefect_sora.cli.screen import Screen, place
from prefect_sora.errors import StorageError
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.backends.concurrency import pieces


def copy_out(name: str, store: VideoFolder, path: Path | None, screen: Screen) -> None:
    """Write a file of the store to a path on this machine, whole or not at all, and tell it.

    Args:
        name: The file, below the store's root.
        store: Where it is kept.
        path: Where it is written, in place of what is there; None: nowhere.
        screen: Where it is told.

    Raises:
        StorageError: The one cannot be read, or the other not written; it is kept all the same.
    """
    if path is None:
        return
    target = VideoFolder(str(path.parent))
    try:
        written = signals.run(lambda: target.write(path.name, pieces(store.open(name))))
    except StorageError as error:
        error.message = (
            f"It is kept, as {place(store.url(name))}; only the copy was not written. "
            f"{error.message}"
        )
        error.advise("Copy it from there, or name another file.")
        raise error.about(paid="yes") from None
    screen.file(str(path), written.size_bytes)
