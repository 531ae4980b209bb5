"""`prefect-sora delete`: frees the server of videos; what the store has kept stays."""

from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from prefect_sora.cli import exits
from prefect_sora.cli.options import SHOWN, WHERE, Flag, Shown, Where
from prefect_sora.cli.run import chosen_by, run_command, with_client
from prefect_sora.cli.saved import NamedStore, store_named
from prefect_sora.cli.screen import Screen, agrees, describe, place
from prefect_sora.errors import InvalidRequestError, SoraError, VideoNotFoundError
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.renders.finish.cancel import id_of
from prefect_sora.servers.server import Server
from prefect_sora.store.claims import TORN
from prefect_sora.store.ledger import Ledger

if TYPE_CHECKING:
    from prefect_sora.servers.protocol.client import VideoClient
    from prefect_sora.servers.protocol.video_object import Video

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

    A named video that the store has kept is deleted at once; one that it has not is deleted
    only where a person agrees, or with --yes. With --kept, all that the store has kept whole:
    shown first, and deleted with --yes.

    Args:
        videos: The server's ids, or keys of kept renders.
        where: See above.
        kept: All that the store has kept, in place of named ones.
        older_than: With --kept: made so many hours ago at least.
        unkept: Also what a render of the store has paid for and not kept: it is lost.
        yes: Delete without being asked; with --kept, in place of showing what would be deleted.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        if kept == bool(videos):
            raise InvalidRequestError(
                "delete takes either VIDEO ids or --kept.",
                next_step="Nothing was deleted. `prefect-sora list` shows the ids.",
            )
        store = store_named(where.store)
        server = chosen_by(where).server()
        if kept:
            return _delete_kept(server, store, older_than, yes, screen)
        return _delete_named(server, store, videos, unkept, yes, screen)

    return run_command(shown, body, where.store, where.provider)


def _delete_named(
    server: Server,
    store: NamedStore,
    words: tuple[str, ...],
    unkept: bool,
    yes: bool,
    screen: Screen,
) -> int:
    ledger = Ledger(store.folder)

    async def look(client: "VideoClient") -> list[_Looked]:
        ids = dict.fromkeys([await id_of(word, ledger) for word in words])
        return [await _looked(video_id, client, ledger, unkept) for video_id in ids]

    looked = with_client(server, look)
    lost = [one for one in looked if one.video and not one.kept]
    if lost and not (unkept or yes):
        _agreed(lost, store, server)

    async def delete(client: "VideoClient") -> list[_Looked]:
        return [await _deleted(one, client) for one in looked]

    ended = with_client(server, delete)
    for one in ended:
        if one.error is None:
            said = f"✓ {one.video_id} is deleted at {server.label}"
            if one.kept:
                said += (
                    f"; yours stays at {place(one.kept)}. remix, edit and extend of it are no "
                    "longer possible."
                )
            screen.result(said, style="green")
        else:
            screen.trouble(one.error)
    screen.document(
        {
            "videos": [
                {"video_id": one.video_id, "error": describe(one.error) if one.error else None}
                for one in ended
            ]
        }
    )
    return next((exits.exit_code(one.error) for one in ended if one.error), exits.OK)


@dataclass(frozen=True)
class _Looked:
    """What a named video is, before anything is deleted.

    Attributes:
        video: As the server shows it; None where it has none.
        kept: Where the store has it; None where it has not.
        error: Why it is not deleted.
    """

    video_id: str
    video: "Video | None" = None
    kept: str | None = None
    error: SoraError | None = None


async def _looked(video_id: str, client: "VideoClient", ledger: Ledger, unkept: bool) -> _Looked:
    kept = await _kept(video_id, client.server, ledger, unkept)
    try:
        video = await client.retrieve(video_id)
    except VideoNotFoundError as error:
        error.advise("There is nothing to delete there; `prefect-sora list` shows what there is.")
        return _Looked(video_id, error=error)
    return _Looked(video_id, video, kept)


async def _deleted(one: _Looked, client: "VideoClient") -> _Looked:
    if one.error is None:
        try:
            await client.delete(one.video_id)
        except SoraError as error:
            return replace(one, error=error)
    return one


def _agreed(lost: list[_Looked], store: NamedStore, server: Server) -> None:
    """Go on where somebody agrees to lose what this store has not got.

    Raises:
        InvalidRequestError: Nobody does; nothing was deleted.
    """
    named = ", ".join(f"{one.video_id} ({one.video.status if one.video else ''})" for one in lost)
    said = f"The store {store.name} has not kept {named}: deleted at {server.label}, it is lost."
    if agrees(f"{said} Delete?"):
        return
    raise InvalidRequestError(
        said,
        video_id=lost[0].video_id,
        paid="unknown",
        next_step=(
            "Nothing was deleted.",
            "`prefect-sora download VIDEO -o clip.mp4` fetches one first; --store names another "
            "store; --yes deletes it all the same.",
        ),
    )


async def _kept(video_id: str, server: Server, ledger: Ledger, unkept: bool) -> str | None:
    """Where the store has a video; None where it has not.

    Raises:
        InvalidRequestError: A render of the store has paid for it and not kept it, and it is not
            said that it may be lost.
    """
    key = await ledger.holder(server.identity, video_id)
    if key == TORN and not unkept:
        raise InvalidRequestError(
            f"A render of this store may have paid for video {video_id}: its claim is unreadable.",
            video_id=video_id,
            paid="unknown",
            next_step=_LOSE_NOTHING,
        )
    for folder in await ledger.find(key) if key and key != TORN else []:
        attempts = await ledger.attempts(folder)
        here = (one.stored.video for one in attempts if one.stored)
        url = next((one.url for one in here if one.video_id == video_id), None)
        if url:
            return url
        closed = any(
            one.failed and one.accepted and one.accepted.job.video_id == video_id
            for one in attempts
        )
        if not (closed or unkept):  # a crash may have left the claim alone
            raise InvalidRequestError(
                f"Render {key} of this store has paid for video {video_id} and not kept it yet.",
                key=key,
                video_id=video_id,
                paid="yes",
                next_step=_LOSE_NOTHING,
            )
    return None


def _delete_kept(server: Server, store: NamedStore, hours: float, yes: bool, screen: Screen) -> int:
    async def work(client: "VideoClient") -> list[Any]:
        from prefect_sora.renders.recovery.clean_up import clean, look

        found = await look(client, Ledger(store.folder), hours * 3600)
        return await clean(found, client) if yes else found

    found = with_client(server, work)
    for one in found:
        if one.verdict in ("kept", "deleted"):
            did = "is deleted at" if one.verdict == "deleted" else "would be deleted at"
            screen.result(f"✓ {one.video.video_id} {did} {server.label}; kept as {one.url}")
        elif one.verdict == "failed":
            screen.result(f"✗ {one.video.video_id}: {one.why}", style="red")
    shown = sum(one.verdict == "kept" for one in found) if not yes else 0
    left = Counter(one.verdict for one in found)
    whys = {"too young": f"younger than {hours:g} h", "not kept": "not kept here"}
    said = [
        f"{count} {whys.get(verdict, verdict)}"
        for verdict, count in left.items()
        if verdict not in ("kept", "deleted", "failed")
    ]
    screen.result(
        f"Left alone: {', '.join(said) or 'none'}."
        + (f" --yes deletes the {shown} above." if shown else "")
    )
    screen.document({"dry_run": not yes, "videos": [_as_json(one) for one in found]})
    return exits.FAILED if any(one.verdict == "failed" for one in found) else exits.OK


def _as_json(found: Any) -> dict[str, Any]:
    return {**asdict(found), "video": found.video.model_dump()}
