"""Inventory: all that a store holds, read from its records alone: renders, films and batches.

What cannot be read, as a record of a later version, is an entry that says so, and the rest goes on.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from pydantic import JsonValue, ValidationError

from prefect_sora.errors import Paid, StorageError
from prefect_sora.limits import limits
from prefect_sora.renders.batches.results import BATCH, BatchRecord, Result
from prefect_sora.renders.film import keep as films
from prefect_sora.renders.inventory.entries import StoreAttempt, StoreEntry
from prefect_sora.requests.video import title
from prefect_sora.servers.video_prices import total_usd
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.backends.walk import folders_and_names
from prefect_sora.store.identity import key_of
from prefect_sora.store.latest_attempt import telling
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.payments import cost_of
from prefect_sora.store.reading import is_render
from prefect_sora.store.records import RenderState, read_record

BATCHES: Final = "batches"

_FAILED: Final = ("failed", "not_started")


class HasFolder(Protocol):
    """A store as a block holds it."""

    @property
    def folder(self) -> VideoFolder:
        """Where its files are."""


async def iterate_store(store: HasFolder | VideoFolder | str | Path) -> AsyncIterator[StoreEntry]:
    """Yield all that a store holds, by the names of the folders; nothing is written or asked.

    Every attempt of a render is told, the failed and the repeated ones too, so that the sum of
    their costs is what the store has paid. The clips of a film and of a batch are entries of
    their own: their costs are not to be added to these.

    Args:
        store: A `VideoStore`, a folder, or a URL that fsspec opens.

    Raises:
        StorageError: The store cannot be listed.
    """
    if isinstance(store, (str, Path)):
        store = VideoFolder(str(store))
    folder = store if isinstance(store, VideoFolder) else store.folder
    ledger = Ledger(folder)
    waiting: list[_Read] = []  # calls, and none begun: a caller may leave the loop
    async for name, names in folders_and_names(folder):
        waiting += _reads(name, names, ledger)
        while len(waiting) >= limits().records_at_once:
            now, waiting = waiting[: limits().records_at_once], waiting[limits().records_at_once :]
            for entry in await asyncio.gather(*(read() for read in now)):
                if entry:
                    yield entry
    for entry in await asyncio.gather(*(read() for read in waiting)):
        if entry:
            yield entry


_Read = Callable[[], Awaitable[StoreEntry | None]]


def _reads(folder: str, names: list[str], ledger: Ledger) -> Iterator[_Read]:
    """Say what there is to read in one of the folders below the root."""
    if is_render(f"{folder}/"):
        yield partial(_or_why_not, "video", folder, partial(_render, folder, names, ledger))
    elif folder in (films.FOLDER, BATCHES):
        for below in dict.fromkeys(name.partition("/")[0] for name in names if "/" in name):
            path = f"{folder}/{below}"
            if folder == BATCHES:
                yield partial(_or_why_not, "batch", path, partial(_batch, below, ledger))
            else:
                yield partial(_or_why_not, "film", path, partial(_film, below, ledger))


async def _or_why_not(
    kind: Literal["video", "film", "batch"], folder: str, read: _Read
) -> StoreEntry | None:
    try:
        return await read()
    except StorageError as error:
        about = {"key": key_of(folder), "folder": folder, "title": folder.rpartition("/")[2]}
        return StoreEntry(kind=kind, state="unreadable", error=error.message, **about)


async def _render(folder: str, names: list[str], ledger: Ledger) -> StoreEntry | None:
    states = await ledger.attempts(folder, names)
    read = [one for one in states if one.name != "reserved" or one.reserved]
    if not read:
        return None
    state, first = telling(read), next((one.reserved for one in read if one.reserved), None)
    attempts = _attempts(read)
    paid = [one for one in attempts if one.paid != "no"]
    request = first.request if first else {}
    prompt = request.get("prompt")
    job = state.accepted.job if state.accepted else None
    known = state.stored.video if state.stored else state.pictures.image if state.pictures else job
    ended: dict[str, Any] = {"stored": "kept", "failed": "failed"}
    return StoreEntry(
        kind="image" if state.is_image else "video",
        state=ended.get(state.name, "open"),
        key=state.key,
        folder=folder,
        title=title(prompt) if isinstance(prompt, str) else known.title if known else folder,
        at=attempts[0].at,
        prompt=prompt if isinstance(prompt, str) else None,
        provider=known.provider if known else first.provider if first else None,
        model=(known.model if known else None) or _text(request.get("model")),
        scope=first.scope if first else None,
        take=known.take if known else _whole(request.get("take")) or 1,
        request=request,
        url=getattr(known, "url", None),
        attempts=attempts,
        video=state.stored.video if state.stored else None,
        image=state.pictures.image if state.pictures else None,
        cost_usd=total_usd(one.cost_usd for one in paid),
        actual_usd=total_usd(one.actual_usd for one in paid) if paid else None,
        error=state.failed.message if state.failed and not state.is_kept else None,
    )


def _attempts(states: Sequence[RenderState]) -> tuple[StoreAttempt, ...]:
    told: list[StoreAttempt] = []
    for state in sorted(states, key=lambda one: one.attempt):
        records = (state.reserved, state.accepted, state.stored, state.pictures, state.failed)
        video_id = state.accepted.job.video_id if state.accepted else None
        name: Any = "kept" if state.is_kept else state.name
        cost = cost_of(state, states)
        paid: Paid = "no"
        if cost.is_paid:
            paid = state.failed.paid if state.failed and not state.is_kept else "yes"
        elif state.name == "reserved" and not _is_settled(state, states):
            paid = "unknown"
        if video_id and any(one.video_id == video_id for one in told):
            paid = "no"  # a late answer named the video that another attempt has, and has paid
        told.append(
            StoreAttempt(
                attempt=state.attempt,
                at=next(record.at for record in records if record),
                state=name,
                video_id=video_id,
                paid=paid,
                cost_usd=0.0 if paid == "no" else cost.usd,
                actual_usd=None if paid == "no" else cost.actual_usd,
                error=state.failed.message if state.failed and not state.is_kept else None,
            )
        )
    return tuple(told)


def _is_settled(state: RenderState, states: Iterable[RenderState]) -> bool:
    """Whether a later attempt was begun in the knowledge that this one was not accepted."""
    later = (one.reserved for one in states if one.attempt > state.attempt and one.reserved)
    return any(one.uncertain_since is None for one in later)


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: JsonValue) -> int | None:
    return value if isinstance(value, int) else None


async def _film(name: str, ledger: Ledger) -> StoreEntry | None:
    folder = f"{films.FOLDER}/{name}"
    kept = await films.read_film(folder, ledger.store)
    if kept is None:
        return None
    film = kept.film
    about = {"key": film.key, "folder": folder, "title": film.title, "at": film.created_at}
    about |= {"url": film.url, "cost_usd": film.cost_usd, "actual_usd": film.actual_usd}
    return StoreEntry(kind="film", state="kept", film=kept, **about)


async def _batch(name: str, ledger: Ledger) -> StoreEntry | None:
    store, folder = ledger.store, f"{BATCHES}/{name}"
    path, lines = f"{folder}/{BATCH}", await store.read(f"{folder}/results.jsonl")
    record = read_record(BatchRecord, await store.read(path), path)
    if lines is None:
        return None
    rows = tuple(_result(line, store) for line in lines.splitlines() if line.strip())
    made = [row for row in rows if row.outcome == "kept"]
    return StoreEntry(
        kind="batch",
        # A row that was left out, as somebody asked, is no failure of the others.
        state="failed" if not made or any(row.outcome in _FAILED for row in rows) else "kept",
        key=key_of(folder),
        folder=folder,
        title=record.name if record else name.rpartition("-")[0] or name,
        at=record.at if record else None,
        scope=record.scope if record else None,
        url=store.url(f"{folder}/results.csv"),
        batch=record,
        rows=rows,
        cost_usd=total_usd(row.cost_usd for row in made),
        actual_usd=total_usd(row.actual_usd for row in made) if made else None,
    )


def _result(line: bytes, store: VideoFolder) -> Result:
    try:
        row = Result.model_validate(json.loads(line))
    except (ValueError, ValidationError) as error:
        raise StorageError(f"results.jsonl has a line that is none of ours: {error}") from None
    if row.url is None:
        return row
    return row.model_copy(update={"url": store.url("/".join(row.url.split("/")[-2:]))})
