"""`prefect-sora clips`: what a store holds, long after its servers have forgotten it."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from rich.table import Table

from prefect_sora.cli import exits, signals
from prefect_sora.cli.commands.store.choosing import CHOICE, Choice
from prefect_sora.cli.options import SHOWN, Shown
from prefect_sora.cli.run import run_command
from prefect_sora.cli.saved import standing, store_named
from prefect_sora.cli.screen import Screen, costs, place

if TYPE_CHECKING:
    from prefect_sora.renders.inventory.entries import StoreEntry

Kind = Literal["video", "image", "film", "batch"]
State = Literal["kept", "failed", "open", "unreadable"]


def clips(
    *,
    choice: Choice = CHOICE,
    kind: Kind | None = None,
    state: State | None = None,
    shown: Shown = SHOWN,
) -> int:
    """List what a store holds, the newest first; no server is asked.

    Args:
        choice: See above.
        kind: Only videos, images, films or batches.
        state: Only what is kept, has failed, is open (begun, and neither), or is unreadable.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        begin, store = choice.begin, standing(store_named(choice.store))

        async def found() -> "list[StoreEntry]":
            return [
                entry
                async for entry in choice.of(store.folder)
                if kind in (None, entry.kind)
                and state in (None, entry.state)
                and (begin is None or (entry.at is not None and entry.at >= begin))
            ]

        entries = sorted(signals.run(found), key=lambda one: one.at or 0.0, reverse=True)
        screen.document(
            {"store": store.name, "clips": [entry.model_dump(mode="json") for entry in entries]}
        )
        if not entries:
            screen.result(f"Nothing of this is in the store {choice.store}.")
        elif not screen.shown.json:
            screen.out.print(_table(entries))
        return exits.OK

    return run_command(shown, body, choice.store)


def _table(entries: "list[StoreEntry]") -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("begun", "kind", "state", "what", "cost", "render", "prompt", "where or why"):
        long = column in ("prompt", "where or why")
        table.add_column(column, no_wrap=not long, overflow="fold")
    for entry in entries:
        where = place(entry.url) if entry.url else entry.error or entry.folder
        cost = costs(entry.cost_usd, entry.actual_usd) if entry.state != "unreadable" else ""
        made = [_when(entry.at), entry.kind, entry.state, _what(entry), cost]
        table.add_row(*made, entry.key, entry.title, where)
    return table


def _what(entry: "StoreEntry") -> str:
    if entry.batch:
        left_out = f", {entry.batch.broken} left out" if entry.batch.broken else ""
        return f"{entry.batch.kept} of {entry.batch.rows} kept{left_out}"
    if entry.film:
        return f"{entry.film.film.shots} shots · {entry.film.film.duration_seconds:g} s"
    size, seconds = entry.request.get("size"), entry.request.get("seconds")
    length = f"{seconds} s" if seconds and entry.kind == "video" else None
    if entry.request.get("kind", "create") != "create":  # its size and length are its source's
        video = entry.video
        size = f"{video.width}x{video.height}" if video else None
        length = f"{video.duration_seconds:.2f} s" if video and video.duration_seconds else None
    return " · ".join(str(one) for one in (entry.model, size, length) if one)


def _when(at: float | None) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}Z" if at else ""
