"""Walk: the names below a folder of a store are listed only as far as they are needed."""

from collections.abc import AsyncIterator, Iterator
from itertools import groupby, islice

from prefect_sora.limits import limits
from prefect_sora.store.backends.concurrency import RECORDS, in_bounds
from prefect_sora.store.backends.filesystems import FileSystem
from prefect_sora.store.backends.folder import VideoFolder
from prefect_sora.store.backends.leftovers import is_our_folder
from prefect_sora.store.backends.object_stores import ObjectStore


async def names_starting(
    store: VideoFolder, folder: str, starting: str = "", *, at_most: int | None = None
) -> list[str]:
    """Return the names directly below a folder that begin as given.

    Args:
        store: Where to look.
        folder: Path below the store's root; "" is the root.
        starting: How the names begin.
        at_most: How many are enough.

    Raises:
        StorageError: The store refused, or is missing itself.
    """

    def listed(system: FileSystem, path: str) -> list[str]:
        if isinstance(system, ObjectStore) and system.kind == "s3":
            pages = system.pages(path, starting, "/")
            return list(islice((name for page in pages for name in page), at_most))
        return [name for name in system.names(path) if name.startswith(starting)][:at_most]

    return await store._do(folder, listed, folder=True)


async def folders_and_names(store: VideoFolder) -> AsyncIterator[tuple[str, list[str]]]:
    """Go through all folders directly below the root, each with the names in it.

    On S3 this takes one request per 1,000 files, elsewhere one look per folder. Few names
    are held at a time.

    Raises:
        StorageError: The store refused, or is missing itself.
    """
    found = await store._do("", _folders, folder=True)
    most = limits().folders_at_once
    while step := await store._do("", lambda *_: [*islice(found, most)], folder=True):
        for each in step:
            yield each


async def retype(store: VideoFolder) -> list[str]:
    """Give this package's files in an object store the content types that they lack.

    Earlier versions gave none, so that a link to a film downloaded it. A disk has no types.

    Returns:
        The names below the root of the files that have another type now.

    Raises:
        StorageError: The store refused, or cannot do this.
    """
    changed: list[str] = []

    async def one(name: str) -> None:
        if await store._do(name, lambda system, path: system.retype(path), lane=RECORDS):
            changed.append(name)

    await in_bounds(one, _ours(store))
    return sorted(changed)


async def _ours(store: VideoFolder) -> AsyncIterator[str]:
    async for folder, names in folders_and_names(store):
        for name in names:
            inner = await store.names(f"{folder}/{name}") if name.endswith("/") else [""]
            for path in (f"{folder}/{name}{below}" for below in inner):
                if is_our_folder(path.rpartition("/")[0]) and not path.endswith("/"):
                    yield path


def _folders(system: FileSystem, path: str) -> Iterator[tuple[str, list[str]]]:
    if isinstance(system, ObjectStore) and system.kind == "s3":
        names = (name for page in system.pages(path, "", "") for name in page if "/" in name)
        for folder, below in groupby(names, key=lambda name: name.partition("/")[0]):
            yield folder, [name.partition("/")[2] for name in below]
        return
    for name in system.names(path):
        if name.endswith("/"):
            folder = name.rstrip("/")
            yield folder, system.names(f"{path.rstrip('/')}/{folder}")
