"""`prefect-sora list`: what the server holds, and what of it the store has kept."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, validators
from rich.table import Table

from prefect_sora.cli import exits
from prefect_sora.cli.options import SHOWN, WHERE, Flag, Shown, Where
from prefect_sora.cli.run import chosen_by, run_command, with_client
from prefect_sora.cli.saved import NamedStore, store_named
from prefect_sora.cli.screen import Screen
from prefect_sora.handles import RemoteVideo
from prefect_sora.store.ledger import Ledger

if TYPE_CHECKING:
    from prefect_sora.servers.protocol.client import VideoClient

Status = Literal["queued", "in_progress", "completed", "failed"]


@dataclass(frozen=True)
class _Row:
    video: RemoteVideo
    key: str | None
    kept: str | None


def list_(
    *,
    where: Where = WHERE,
    status: Status | None = None,
    limit: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 50,
    after: str | None = None,
    every: Annotated[Flag, Parameter(name="--all")] = False,
    shown: Shown = SHOWN,
) -> int:
    """List what the server holds, the newest first, and what of it the store has kept.

    Args:
        where: See above.
        status: Only those that stand so.
        limit: How many at most.
        after: Only those that follow this video in the list: the last one shown, for the rest.
        every: All that there are, whatever --limit says.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        store, most = store_named(where.store), None if every else limit
        server = chosen_by(where).server()
        rows, more = with_client(server, lambda client: _found(client, store, status, after, most))
        screen.document({"videos": [_as_json(row) for row in rows], "has_more": more})
        if not rows:
            screen.result(f"{server.label} holds no such video.")
        elif not screen.shown.json:
            screen.out.print(_table(rows))
        if more:
            screen.note(
                f"! {len(rows)} are shown, and there are more: --after {rows[-1].video.video_id} "
                "shows the next, --all shows all.",
                style="yellow",
            )
        return exits.OK

    return run_command(shown, body, where.store, where.provider)


async def _found(
    client: "VideoClient",
    store: NamedStore,
    status: str | None,
    after: str | None,
    most: int | None,
) -> tuple[list[_Row], bool]:
    """Find so many at most, and say whether there are more."""
    from prefect_sora.servers.protocol.listing import every_video, remote_video

    server = client.server
    ledger = Ledger(store.folder)
    folders = {folder[-12:]: folder for folder in await ledger.folders()}
    rows: list[_Row] = []
    async for video in every_video(client, after=after):
        if most is not None and len(rows) >= most and status in (None, video.status):
            return rows, True
        if status is not None and video.status != status:
            continue
        key = await ledger.holder(server.identity, video.id) if folders else None
        stored = await ledger.stored(folders[key]) if key in folders else None
        kept = stored.video.url if stored and stored.video.video_id == video.id else None
        rows.append(_Row(remote_video(video, server.label), key if key in folders else None, kept))
    return rows, False


def _table(rows: list[_Row]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("video", "status", "made at", "what", "render", "kept", "prompt"):
        table.add_column(column, no_wrap=column != "prompt", overflow="fold")
    for row in rows:
        video = row.video
        progress = f" {video.progress:.0f} %" if video.status == "in_progress" else ""
        what = [video.model, video.size, f"{video.seconds} s" if video.seconds else None]
        table.add_row(
            video.video_id,
            video.status + (progress if video.progress is not None else ""),
            _when(video.created_at),
            " · ".join(filter(None, what)),
            row.key or "",
            "yes" if row.kept else "",
            video.title or "",
        )
    return table


def _when(at: float | None) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}Z" if at else ""


def _as_json(row: _Row) -> dict[str, Any]:
    return {**row.video.model_dump(), "key": row.key, "kept": row.kept}
