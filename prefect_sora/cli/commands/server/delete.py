"""`prefect-sora delete`: frees the server of videos; what the store has kept stays."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from prefect_sora.cli import exits
from prefect_sora.cli.options import SHOWN, WHERE, Flag, Shown, Where, find_source
from prefect_sora.cli.run import chosen, run_command, with_client
from prefect_sora.cli.screen import Screen, describe
from prefect_sora.errors import InvalidRequestError, SoraError
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.servers.server import Server
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.claims import TORN
from prefect_sora.store.ledger import Ledger

if TYPE_CHECKING:
    from prefect_sora.servers.protocol.client import VideoClient

_LOSE_NOTHING: Final = (
    "Nothing was deleted.",
    NextStep("resume"),
    "--unkept deletes it all the same.",
)


def delete(
    *videos: str,
    where: Where = WHERE,
    kept: Flag = False,
    older_than: float = 24.0,
    unkept: Flag = False,
    yes: Flag = False,
    shown: Shown = SHOWN,
) -> int:
    """Delete videos at the server; what the store has kept stays.

    Named videos are deleted at once, unless the store waits for them. With --kept, all that
    the store has kept whole: shown first, and deleted with --yes.

    Args:
        videos: The server's ids, or keys of kept renders.
        where: See above.
        kept: All that the store has kept, in place of named ones.
        older_than: With --kept: made so many hours ago at least.
        unkept: Also what a render of the store has paid for and not kept: it is lost.
        yes: With --kept: delete, in place of showing what would be deleted.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        if kept == bool(videos):
            raise InvalidRequestError(
                "delete takes either VIDEO ids or --kept.", next_step="Nothing was deleted."
            )
        server = chosen(where.provider).server()
        if kept:
            return _delete_kept(server, where.store, older_than, yes, screen)
        return _delete_named(server, where.store, videos, unkept, screen)

    return run_command(shown, body, where.store, where.provider)


def _delete_named(
    server: Server, store: str, videos: tuple[str, ...], unkept: bool, screen: Screen
) -> int:
    async def work(client: "VideoClient") -> list[tuple[str, SoraError | None]]:
        ids = [(await find_source(word, store))[0] for word in videos]
        if not unkept:
            for video_id in ids:
                await _refuse_to_lose(video_id, server, Ledger(VideoFolder(store)))
        ended: list[tuple[str, SoraError | None]] = []
        for video_id in ids:
            try:
                await client.delete(video_id)
            except SoraError as error:
                ended.append((video_id, error))
            else:
                ended.append((video_id, None))
        return ended

    ended = with_client(server, work)
    for video_id, error in ended:
        if error is None:
            screen.result(f"✓ {video_id} is deleted at {server.label}", style="green")
        else:
            screen.trouble(error)
    screen.document(
        {
            "videos": [
                {"video_id": video_id, "error": describe(error) if error else None}
                for video_id, error in ended
            ]
        }
    )
    return next((exits.exit_code(error) for _, error in ended if error), exits.OK)


async def _refuse_to_lose(video_id: str, server: Server, ledger: Ledger) -> None:
    """Stop where a render of the store has this video and has not kept it.

    Raises:
        InvalidRequestError: It does.
    """
    key = await ledger.holder(server.identity, video_id)
    if key == TORN:
        raise InvalidRequestError(
            f"A render of this store may have paid for video {video_id}: its claim is unreadable.",
            video_id=video_id,
            paid="unknown",
            next_step=_LOSE_NOTHING,
        )
    for folder in await ledger.find(key) if key else []:
        attempts = await ledger.attempts(folder)
        kept = any(one.stored and one.stored.video.video_id == video_id for one in attempts)
        closed = any(
            one.failed and one.accepted and one.accepted.job.video_id == video_id
            for one in attempts
        )
        if not kept and not closed:  # a crash may have left the claim alone
            raise InvalidRequestError(
                f"Render {key} of this store has paid for video {video_id} and not kept it yet.",
                key=key,
                video_id=video_id,
                paid="yes",
                next_step=_LOSE_NOTHING,
            )


def _delete_kept(server: Server, store: str, hours: float, yes: bool, screen: Screen) -> int:
    async def work(client: "VideoClient") -> list[Any]:
        from prefect_sora.renders.recovery.clean_up import clean, look

        found = await look(client, Ledger(VideoFolder(store)), hours * 3600)
        return await clean(found, client) if yes else found

    found = with_client(server, work)
    for one in found:
        if one.verdict in ("kept", "deleted"):
            did = "is deleted at" if one.verdict == "deleted" else "would be deleted at"
            screen.result(f"✓ {one.video.video_id} {did} {server.label}; kept as {one.url}")
        elif one.verdict == "failed":
            screen.result(f"✗ {one.video.video_id}: {one.why}", style="red")
    left = sum(one.verdict not in ("kept", "deleted", "failed") for one in found)
    screen.result(
        f"{left} left alone: younger than {hours:g} h, unfinished, or not kept here."
        + ("" if yes else " --yes deletes.")
    )
    screen.document({"dry_run": not yes, "videos": [_as_json(one) for one in found]})
    return exits.FAILED if any(one.verdict == "failed" for one in found) else exits.OK


def _as_json(found: Any) -> dict[str, Any]:
    return {**asdict(found), "video": found.video.model_dump()}
