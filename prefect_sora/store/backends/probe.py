"""Probe: everything that a store must be able to do is tried once, and leaves nothing behind."""

from contextlib import suppress
from typing import Protocol

from prefect_sora.errors import SoraError, StorageError
from prefect_sora.store.backends.leftovers import check_name


class Store(Protocol):
    """What is tried."""

    async def create(self, name: str, data: bytes, *, blindly: bool = False) -> bool:
        """Write a file that nobody has written yet."""

    async def read(self, name: str) -> bytes | None:
        """Return a small file's bytes."""

    async def names(self, folder: str = "") -> list[str]:
        """Return the names directly below a folder."""

    async def delete(self, name: str) -> None:
        """Remove a file."""


async def check(store: Store, url: str) -> None:
    """Try everything that a store must be able to do.

    Raises:
        StorageError: It says what is wrong and what to do next.
    """
    name = check_name()
    try:
        await _create_twice(store, url, name)
        await _look_back(store, url, name)
    except BaseException:
        with suppress(SoraError):
            await store.delete(name)
        raise
    await store.delete(name)


async def two_writers(store: Store, url: str) -> None:
    """Try that only one of two writers can create a file: no payment is safe without it.

    Raises:
        StorageError: Two writers can create the same file, or it cannot be tried.
    """
    name = check_name()
    try:
        await _create_twice(store, url, name)
    finally:
        with suppress(SoraError):  # a store where nobody may delete can still hold records
            await store.delete(name)


async def _create_twice(store: Store, url: str, name: str) -> None:
    first = await store.create(name, b"first", blindly=True)
    if not first or await store.create(name, b"second", blindly=True):
        raise _not_exclusive(url)


async def _look_back(store: Store, url: str, name: str) -> None:
    if await store.read(name) != b"first":
        raise _not_exclusive(url)
    if name not in await store.names():
        raise StorageError(
            f"{url}: its listing does not show a file that was just written.",
            next_step="Use a store whose listing is up to date.",
        )


def _not_exclusive(url: str) -> StorageError:
    return StorageError(
        f"{url}: it lets two writers create the same file, so a render could be paid for twice.",
        next_step="Use a store with conditional writes (If-None-Match on S3).",
    )
