"""Reading: where a render stands, from the records in its folder."""

import asyncio
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, TypeVar

from prefect_sora.errors import ForeignRecordError, NewerStoreError
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.identity import KEY_DIGITS, key_of
from prefect_sora.store.latest_attempt import telling, to_read
from prefect_sora.store.records import (
    Accepted,
    Failed,
    Record,
    RenderState,
    Reserved,
    Stored,
    StoredPictures,
    read_record,
)

_RECORD_NAME: Final = re.compile(r"^(reserved|accepted|stored|failed)(?:-(\d+))?\.json$")
_FOLDER_NAME: Final = re.compile(rf"(?:.*-)?[0-9a-f]{{{KEY_DIGITS}}}")

_R = TypeVar("_R", bound=Record)


class Reading:
    """Reads the records of one store."""

    store: VideoFolder

    async def state(self, folder: str) -> RenderState:
        """Read where a render stands; one that was never begun is `new`.

        Raises:
            StorageError: The store cannot be read, so nothing may be paid.
        """
        kinds = kinds_of(await self.store.names(folder))
        if not kinds:
            return RenderState(folder)
        read: list[RenderState] = []
        for attempts in to_read(kinds):
            read += await asyncio.gather(*(self._attempt(folder, n, kinds) for n in attempts))
            if any(one.is_kept for one in read):
                break
        return replace(telling(read), newest=max(kinds))

    async def stored(self, folder: str, names: list[str] | None = None) -> Stored | None:
        """Read the record of the kept video; None where there is none.

        Args:
            folder: The render's.
            names: What stands in it, where that is known already.
        """
        kinds = kinds_of(await self.store.names(folder) if names is None else names)
        stored = [attempt for attempt, found in kinds.items() if "stored" in found]
        return await self._read(folder, "stored", max(stored), Stored) if stored else None

    async def reservation(self, folder: str, attempt: int) -> Reserved | None:
        """Read who began an attempt, where that can be read."""
        return await self._read(folder, "reserved", attempt, Reserved)

    async def closed(self, folder: str, attempt: int) -> Failed | None:
        """Read how an attempt was closed without a video, where it was."""
        return await self._read(folder, "failed", attempt, Failed)

    async def attempts(self, folder: str, names: list[str] | None = None) -> list[RenderState]:
        """Read all attempts of a render, the first one first.

        Args:
            folder: The render's.
            names: What stands in it, where that is known already.
        """
        kinds = kinds_of(await self.store.names(folder) if names is None else names)
        states = (self._attempt(folder, attempt, kinds) for attempt in sorted(kinds))
        return list(await asyncio.gather(*states))

    async def accepted_ids(self, folder: str) -> set[str]:
        """Read which videos the attempts of this render were accepted as."""
        kinds = kinds_of(await self.store.names(folder))
        records = await asyncio.gather(
            *(
                self._read(folder, "accepted", attempt, Accepted)
                for attempt, found in kinds.items()
                if "accepted" in found
            )
        )
        return {record.job.video_id for record in records if record}

    async def _attempt(self, folder: str, attempt: int, kinds: dict[int, set[str]]) -> RenderState:
        async def read(kind: str, model: type[_R]) -> _R | None:
            return (
                await self._read(folder, kind, attempt, model) if kind in kinds[attempt] else None
            )

        found = await asyncio.gather(
            read("reserved", Reserved),
            read("accepted", Accepted),
            read("stored", Stored),
            read("failed", Failed),
        )
        pictures = None if found[2] else await read("stored", StoredPictures)
        return RenderState(folder, attempt, *found, pictures)

    async def _unlisted(self, folder: str, attempt: int) -> RenderState | None:
        kinds = ("reserved", "accepted", "stored", "failed")
        names = [path_of(folder, kind, attempt) for kind in kinds]
        data = dict(zip(names, await asyncio.gather(*map(self.store.read, names)), strict=True))
        if not any(one is not None for one in data.values()):
            return None
        reserved, accepted, stored, failed = names

        def read(model: type[_R], name: str) -> _R | None:
            return self._understood(model, data[name], name)

        kept = read(Stored, stored)
        return RenderState(
            folder,
            attempt,
            read(Reserved, reserved),
            read(Accepted, accepted),
            kept,
            read(Failed, failed),
            None if kept else read(StoredPictures, stored),
        )

    async def folders(self) -> list[str]:
        """List the folders of all renders in the store."""
        return [name.rstrip("/") for name in await self.store.names() if is_render(name)]

    async def among(self, folder: str, attempts: Collection[int]) -> RenderState | None:
        """Read where a render stands if only these attempts can be open; nothing is listed.

        Returns:
            None where these have no record.
        """
        read = await asyncio.gather(*(self._unlisted(folder, attempt) for attempt in attempts))
        found = [one for one in read if one]
        return replace(telling(found), newest=max(o.attempt for o in found)) if found else None

    async def again(self, state: RenderState) -> RenderState:
        """Read a state again; for an accepted render, only whether it has ended since."""
        if state.name == "accepted" and state.accepted:
            ends = (path_of(state.folder, kind, state.attempt) for kind in ("stored", "failed"))
            if await asyncio.gather(*(self.store.read(name) for name in ends)) == [None, None]:
                return state
        return await self.state(state.folder)

    async def is_kept(self, folder: str, attempt: int) -> bool:
        """Whether this attempt's video is in the store."""
        return await self._read(folder, "stored", attempt, Stored) is not None

    async def _read(self, folder: str, kind: str, attempt: int, model: type[_R]) -> _R | None:
        name = path_of(folder, kind, attempt)
        return self._understood(model, await self.store.read(name), name)

    def _understood(self, model: type[_R], data: bytes | None, name: str) -> _R | None:
        folder = name.rpartition("/")[0]
        with _about(folder):
            record = read_record(model, data, name)
            if record is None:
                return None
            _require_own(record, name)
            return record.placed(folder, self.store.url)


def is_render(name: str) -> bool:
    """Whether a name in the store's root, with the "/" at its end, is a render's folder."""
    return name.endswith("/") and _FOLDER_NAME.fullmatch(name[:-1]) is not None


@contextmanager
def _about(folder: str) -> Iterator[None]:
    """Add the render to the error about a record that is a later version's, or another's."""
    try:
        yield
    except (ForeignRecordError, NewerStoreError) as error:
        error.about(key=key_of(folder))
        raise


def _require_own(record: Record, name: str) -> None:
    folder, _, file = name.rpartition("/")
    stands = _RECORD_NAME.match(file)
    if record.key != key_of(folder) or (stands and record.attempt != int(stands[2] or 1)):
        raise ForeignRecordError(
            f"{name} says that it is of attempt {record.attempt} of the render {record.key}.",
            paid="unknown",
        )


def kinds_of(names: list[str]) -> dict[int, set[str]]:
    """Sort a folder's records by their attempt."""
    kinds: dict[int, set[str]] = {}
    for name in names:
        if match := _RECORD_NAME.match(name):
            kinds.setdefault(int(match[2] or 1), set()).add(match[1])
    return kinds


def path_of(folder: str, kind: str, attempt: int) -> str:
    """Name a record's file."""
    return f"{folder}/{kind}{'' if attempt == 1 else f'-{attempt}'}.json"
