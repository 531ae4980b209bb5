"""Draw: a picture is paid for once, whoever asks for it, however often, and kept.

`reserve → ask → keep`. The answer is the picture, so nothing can be looked up after a
crash: what is not in the store by then is in doubt, and a person, or the policy, decides.
"""

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import monotonic, time
from typing import Any, Final

from prefect_sora.attempts import RECORD_PAUSES_SECONDS, another_worker_holds_it, refuse
from prefect_sora.client import VideoClient
from prefect_sora.errors import (
    InvalidRequestError,
    RateLimitError,
    RenderFailedError,
    SoraError,
    StorageError,
    UnavailableError,
    UncertainSubmitError,
)
from prefect_sora.handles import StoredImage
from prefect_sora.images.asking import EndedError, ask
from prefect_sora.images.keeping import keep, left_whole
from prefect_sora.images.pictures import Picture
from prefect_sora.images.wishes import ImageWish, wish_again
from prefect_sora.ledger import Ledger
from prefect_sora.next_steps import in_store
from prefect_sora.records import Failed, RenderState, Reserved
from prefect_sora.sending import CONNECT_ATTEMPTS, RECORD_SECONDS, UnclearError
from prefect_sora.submitting import LONGEST_PAUSE_SECONDS, Policy

log = logging.getLogger(__name__)

TIMEOUT_SECONDS: Final = 300.0
"""How long a picture may take: OpenAI says about two minutes (2026). Ours."""

# By the reservation's token; it also keeps the tasks from being collected.
_under_way: dict[str, asyncio.Task[StoredImage]] = {}


async def draw(
    wish: ImageWish,
    client: VideoClient,
    ledger: Ledger,
    *,
    timeout_seconds: float | None = None,
    in_doubt: Policy = "stop",
) -> StoredImage:
    """Return the pictures of this render: found in the store, or paid for now.

    Args:
        wish: From `identify`.
        client: The server to draw on.
        ledger: The store's records, which decide whether anything is sent.
        timeout_seconds: How long the server may take; how long, too, to wait for another
            worker, or for a server that asks to come back later. None: `TIMEOUT_SECONDS`.
        in_doubt: Whether to stop or to pay again where nobody can tell.

    Raises:
        ModerationError: Refused, now or in an earlier attempt.
        ApiError: Refused; nothing was paid.
        UncertainSubmitError: It may have been drawn, and the answer is lost.
        StorageError: The records cannot be read or written; the error says what was sent.
    """
    for warning in wish.warnings:
        log.warning("%s", warning)
    with in_store(ledger.place, wish.key):
        return await _draw(wish, client, ledger, timeout_seconds or TIMEOUT_SECONDS, in_doubt)


async def resume(
    state: RenderState, client: VideoClient, ledger: Ledger, *, resubmit: bool = False
) -> StoredImage:
    """Bring one image render home; nothing is paid unless `resubmit` says so.

    Raises:
        UncertainSubmitError: Nobody can tell whether it was drawn.
        RenderFailedError: It was refused or failed.
        SoraError: As `draw` says.
    """
    with in_store(ledger.place, state.key):
        if home := await bring_home(state, ledger):
            return home
        if state.reserved is None:
            raise InvalidRequestError(
                "The store holds no readable record of this render.",
                paid="unknown",
                next_step="Run it again with the same scope.",
            )
        if state.reserved.server != client.server.identity:
            raise InvalidRequestError(
                f"It was sent to {state.reserved.provider}, not to {client.server.label}.",
                paid=state.failed.paid if state.failed else "unknown",
                next_step="Name that server with --provider.",
            )
        if not resubmit:
            raise state.failed.error() if state.failed else uncertain(state.reserved)
        wish = await wish_again(state.reserved, client)
    return await draw(wish, client, ledger, in_doubt="resubmit")


async def bring_home(state: RenderState, ledger: Ledger) -> StoredImage | None:
    """Find the pictures that stand in the store, recorded or not; nothing is sent.

    Raises:
        StorageError: The store cannot be read.
    """
    if state.pictures:
        return state.pictures.image
    if state.reserved is None or state.failed:
        return None
    pictures = await left_whole(state.reserved, state.folder, ledger)
    return await keep(pictures, state.reserved, state.folder, ledger) if pictures else None


def uncertain(reserved: Reserved, why: str = "Its worker is gone.") -> UncertainSubmitError:
    """Say that a person has to decide: image servers keep no list of what they made."""
    return UncertainSubmitError(
        f"The request for this picture was sent, and its answer is lost. {why} A server keeps no "
        "list of its pictures, so nobody can tell whether it was made.",
        key=reserved.key,
        paid="unknown",
        next_step=f"`prefect-sora resume {reserved.key} --resubmit` sends, and pays for, it once "
        'more; so does in_doubt="resubmit".',
    )


async def _draw(
    wish: ImageWish, client: VideoClient, ledger: Ledger, timeout: float, policy: Policy
) -> StoredImage:
    deadline = time() + timeout
    busy, pause_s = 0, 0.25
    while True:
        state = await ledger.state(wish.folder)
        if state.reserved and state.reserved.fingerprint != wish.fingerprint:
            raise InvalidRequestError(
                "Another request has the same key in this store, which is one chance in 10^14.",
                next_step="Set take to another number.",
            )
        if state.pictures:
            return state.pictures.image
        if state.failed and state.failed.kind == "moderated":
            raise state.failed.error()
        if state.name == "reserved":
            if state.reserved and ledger.is_held(state.reserved):
                if time() > deadline:
                    raise another_worker_holds_it(state)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 1.5, 2.0)
                continue
            # Its owner may have recorded the outcome and let go between our two looks.
            if (await ledger.state(wish.folder)) != state:
                continue
            if home := await bring_home(state, ledger):
                return home
            doubt = uncertain(state.reserved or wish.reservation(client.server, 1, timeout))
            await _by_policy(doubt, wish, state.attempt, ledger, policy)
            policy = "stop"  # it pays again once a call
        mine = wish.reservation(client.server, state.attempt + 1, timeout)
        if not await ledger.reserve(wish.folder, mine):
            continue
        try:
            return await _to_its_end(wish, mine, client, ledger, timeout)
        except RateLimitError as error:
            pause_s = max(error.retry_after_s or 0.0, min(0.5 * 2**busy, LONGEST_PAUSE_SECONDS))
            busy += 1
            if time() + pause_s > deadline:
                raise
            await asyncio.sleep(pause_s)
        except UnclearError as unclear:
            log.warning("No clear answer to the request for a picture: %s", unclear)
            doubt = uncertain(mine, str(unclear))
            await _by_policy(doubt, wish, mine.attempt, ledger, policy)
            policy = "stop"
        finally:
            _release(mine, ledger)


async def _by_policy(
    doubt: UncertainSubmitError, wish: ImageWish, attempt: int, ledger: Ledger, policy: Policy
) -> None:
    """Stop for a person, or close the attempt as paid for nothing."""
    if policy == "stop":
        raise doubt
    log.warning("Render %s is in doubt; paying again, as the policy says.", wish.key)
    message = f"Paid for again, as the policy says. {doubt.message}"
    await ledger.fail(wish.folder, _failed(wish.key, attempt, message))


async def _to_its_end(
    wish: ImageWish, mine: Reserved, client: VideoClient, ledger: Ledger, timeout: float
) -> StoredImage:
    """Ask and keep in a task of its own, for which a cancelled caller waits a little."""
    token = mine.owner.token
    task = asyncio.ensure_future(_ask_and_keep(wish, mine, client, ledger, timeout))
    _under_way[token] = task
    task.add_done_callback(lambda _: _under_way.pop(token, None))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        until = monotonic() + RECORD_SECONDS
        while not task.done() and (left := until - monotonic()) > 0:
            # Some cancel again and again until they are obeyed.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task}, timeout=left)
        task.add_done_callback(_heard)
        raise


def _release(mine: Reserved, ledger: Ledger) -> None:
    """Let go of a reservation as soon as nothing of it is under way."""
    task = _under_way.get(mine.owner.token)
    if task:
        task.add_done_callback(lambda _: ledger.release(mine))
    else:
        ledger.release(mine)


async def _ask_and_keep(
    wish: ImageWish, mine: Reserved, client: VideoClient, ledger: Ledger, timeout: float
) -> StoredImage:
    try:
        pictures = await _connected(wish, mine, client, timeout)
    except EndedError as ended:
        await ledger.fail(wish.folder, _failed(mine.key, mine.attempt, ended.why.message))
        raise RenderFailedError(
            ended.why.message,
            code=ended.why.code,
            paid="unknown",
            next_step="Run it again with the same scope: that sends it once more.",
        ) from None
    except SoraError as error:
        raise await refuse(error, mine, wish.folder, ledger) from None
    if len(pictures) < wish.request.n:
        log.warning("%d pictures came of %d.", len(pictures), wish.request.n)
    if wish.request.background == "transparent" and not pictures[0].has_alpha:
        log.warning("The picture was to be transparent, and no pixel of it is.")
    return await _kept(partial(keep, pictures, mine, wish.folder, ledger), pictures, mine)


async def _connected(
    wish: ImageWish, mine: Reserved, client: VideoClient, timeout: float
) -> list[Picture]:
    """Send the request once, over as many connections as that takes."""
    for n in range(CONNECT_ATTEMPTS):
        try:
            return await ask(wish, client, f"{wish.fingerprint}-{mine.attempt}", timeout)
        except UnavailableError as error:
            if not error.never_sent or n == CONNECT_ATTEMPTS - 1:
                raise
            await asyncio.sleep(0.25 * 2**n)
    raise AssertionError("unreachable: the last attempt returns or raises")


async def _kept(write: Any, pictures: Sequence[Picture], mine: Reserved) -> StoredImage:
    """Keep what was paid for, through a store that fails for a while; else beside it."""
    for pause_s in RECORD_PAUSES_SECONDS:
        try:
            stored: StoredImage = await write()
        except StorageError as error:
            log.warning("Render %s is not kept yet: %s", mine.key, error.message)
            await asyncio.sleep(pause_s)
        else:
            return stored
    try:
        stored = await write()
    except StorageError as error:
        place = await asyncio.to_thread(_rescued, pictures)
        error.next_step = (
            f"The pictures lie in {place} on this machine, and nowhere else: take them from there. "
            f"`prefect-sora resume {mine.key} --resubmit` pays for new ones."
        )
        error.about(paid="yes")
        raise
    return stored


def _rescued(pictures: Sequence[Picture]) -> str:
    folder = Path(tempfile.mkdtemp(prefix="prefect-sora-"))
    for number, picture in enumerate(pictures, start=1):
        (folder / f"image-{number}{picture.suffix}").write_bytes(picture.data)
    return str(folder)


def _failed(key: str, attempt: int, message: str) -> Failed:
    return Failed(
        key=key, attempt=attempt, at=time(), kind="failed", message=message, paid="unknown"
    )


def _heard(task: asyncio.Task[StoredImage]) -> None:
    """Take note of how it ended, which nobody waits for any more."""
    if not task.cancelled() and (error := task.exception()):
        log.warning("A request for a picture whose caller was cancelled: %s", error)


__all__ = ["TIMEOUT_SECONDS", "bring_home", "draw", "resume", "uncertain"]
