"""`prefect-sora retrieve`, `download` and `cancel`: one video, by its render's key or its id."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from prefect_sora.cli import exits, signals
from prefect_sora.cli.options import (
    INTO,
    SHOWN,
    WHERE,
    Into,
    Shown,
    Where,
    find_source,
)
from prefect_sora.cli.run import chosen_by, run_command, with_client
from prefect_sora.cli.saved import NamedStore, store_named
from prefect_sora.cli.screen import Screen, place, usd
from prefect_sora.errors import InvalidRequestError, VideoNotFoundError
from prefect_sora.handles import RemoteVideo
from prefect_sora.renders.finish.stills import Variant
from prefect_sora.servers.server import Server
from prefect_sora.store.identity import is_key
from prefect_sora.store.ledger import Ledger

if TYPE_CHECKING:
    from prefect_sora.servers.protocol.client import VideoClient

Video = Annotated[str, Parameter(help="A render's key, or the server's id of a video.")]


def retrieve(video: Video, *, where: Where = WHERE, shown: Shown = SHOWN) -> int:
    """Ask the server how a video stands now, and the store whether it has it.

    Args:
        video: See above.
        where: See above.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        store = store_named(where.store)
        server = chosen_by(where).server()

        async def work(client: "VideoClient") -> RemoteVideo:
            from prefect_sora.renders.finish.cancel import id_of
            from prefect_sora.servers.protocol.listing import remote_video

            video_id = await id_of(video, Ledger(store.folder))
            try:
                return remote_video(await client.retrieve(video_id), server.label)
            except VideoNotFoundError as error:
                key, kept = await _kept(video_id, server, store)
                if kept:
                    error.advise(f"It is kept at {place(kept)} (render {key}).")
                raise

        found = with_client(server, work)
        key, kept = signals.run(lambda: _kept(found.video_id, server, store))
        screen.document({**found.model_dump(), "key": key, "kept": kept})
        _tell(screen, found)
        if key:
            screen.result(f"  render {key} · {f'kept as {place(kept)}' if kept else 'not kept'}")
        return exits.OK

    return run_command(shown, body, where.store, where.provider)


def cancel(video: Video, *, where: Where = WHERE, shown: Shown = SHOWN) -> int:
    """Stop a job of this store that is not finished; the same request may then be sent anew.

    What is finished stays: `resume` brings it home, and `delete` deletes it.

    Args:
        video: See above.
        where: See above.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        store = store_named(where.store)
        server = chosen_by(where).server()

        async def work(client: "VideoClient") -> Any:
            from prefect_sora.renders.finish.cancel import cancel, job_named

            ledger = Ledger(store.folder)
            job = await job_named(video, client, ledger)
            await cancel(job, client, ledger)
            return job

        job = with_client(server, work)
        screen.document({"video_id": job.video_id, "key": job.key, "status": "cancelled"})
        screen.result(
            f"✓ {job.video_id} is cancelled at {server.label}; render {job.key} is closed. "
            + _charged(job.cost_usd),
            style="green",
        )
        return exits.OK

    return run_command(shown, body, where.store, where.provider)


def _charged(cost_usd: float | None) -> str:
    if cost_usd == 0:
        return "It was free."
    its = "what it costs" if cost_usd is None else f"its {usd(cost_usd)}"
    return f"Whether the server charges {its} is not known."


def download(
    video: Video, *, variant: Variant = "video", where: Into = INTO, shown: Shown = SHOWN
) -> int:
    """Write a finished video to a file: from the store, or else from the server.

    Args:
        video: See above.
        variant: The video, its thumbnail, or its spritesheet.
        where: See above; without an --output it is a file here, called after the video.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        from prefect_sora.renders.finish.downloads import download as bring

        store, path = store_named(where.store), where.file
        if path is None:
            path = Path(f"{video}.mp4").absolute()
            if path.exists():
                raise InvalidRequestError(
                    f"{path.name} is here already.", next_step="Name another file with --output."
                )
        kept = signals.run(lambda: _kept_clip(video, store))
        holder = _Holder(where)

        async def work() -> Path:
            return await bring(kept or video, holder, path, variant, Ledger(store.folder))

        written = signals.run(work)
        screen.document({"path": str(written), "size_bytes": written.stat().st_size})
        screen.file(str(written), written.stat().st_size)
        return exits.OK

    return run_command(shown, body, where.store, where.provider)


class _Holder:
    """Who made a video; it is found only where the store has not got it."""

    def __init__(self, where: Into) -> None:
        self._where = where

    async def describe(self) -> Server:
        """Describe the server."""
        where = self._where
        return await asyncio.to_thread(lambda: chosen_by(where).server())

    async def get_client(self) -> "VideoClient":
        """Connect to it."""
        from prefect_sora.servers.protocol.connections import connect
        from prefect_sora.servers.protocol.detect import recognised

        return connect(await recognised(await self.describe()))


async def _kept_clip(word: str, store: NamedStore) -> Any:
    return (await find_source(word, store))[1] if is_key(word) else None


async def _kept(video_id: str, server: Server, store: NamedStore) -> tuple[str | None, str | None]:
    """Find the render of this store that has a video, and where it is kept."""
    state = await Ledger(store.folder).named(video_id, server.identity)
    if state is None:
        return None, None
    kept = state.stored.video if state.stored else None
    return state.key, kept.url if kept and kept.video_id == video_id else None


def _tell(screen: Screen, video: RemoteVideo) -> None:
    percent = video.status == "in_progress" and video.progress is not None
    what = [video.model, video.size, f"{video.seconds} s" if video.seconds else None, video.title]
    screen.result(
        f"{video.video_id}  {video.status}{f' {video.progress:.0f} %' if percent else ''}",
        style="bold",
    )
    if any(what):
        screen.result(f"  {' · '.join(filter(None, what))}")
    if video.actual_usd is not None:
        screen.result(f"  cost {usd(video.actual_usd)}, as the server says")
    if video.error:
        screen.result(f"  {video.error}", style="red")
