"""Keep: the pictures of an answer take their names in the store, whole, and are recorded.

All pictures are in the store before their record. So pictures without a record, as a crash
between the two leaves them, are as good as kept, if none is missing.
"""

import asyncio
import hashlib
import logging
import re
import tempfile
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from time import time

from prefect_sora.errors import CorruptVideoError, StorageError, UncertainSubmitError
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.handles import ImageFile, StoredImage
from prefect_sora.limits import limits
from prefect_sora.renders.images.pictures import Picture, picture_of, sheet_of
from prefect_sora.renders.submit.attempt import Attempt, asked_for
from prefect_sora.requests.image import recorded
from prefect_sora.servers.costs.told import NOTHING, Told
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.backends.concurrency import DRAWING, start
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import RenderState

log = logging.getLogger(__name__)

THUMBNAIL = "thumbnail.webp"


async def keep(pictures: Sequence[Picture], attempt: Attempt, told: Told = NOTHING) -> StoredImage:
    """Write the pictures, then their record; the first record of several stands.

    Args:
        pictures: All of one answer.
        attempt: The one in which they were asked for.
        told: What the server says that they cost together.

    Raises:
        StorageError: The store refused; what is written already is written again.
    """
    reserved, folder, ledger = attempt.reserved, attempt.folder, attempt.ledger
    request = asked_for(reserved, recorded)
    names = [
        _name(number, len(pictures), reserved.attempt) + picture.suffix
        for number, picture in enumerate(pictures, start=1)
    ]
    files = await asyncio.gather(
        *(
            _written(picture, f"{folder}/{name}", ledger)
            for name, picture in zip(names, pictures, strict=True)
        )
    )
    try:
        sheet = await start(DRAWING, partial(sheet_of, pictures))
        await ledger.store.put(f"{folder}/{THUMBNAIL}", sheet)
    except Exception as error:  # a failed thumbnail keeps no picture from its record
        log.warning("No thumbnail of render %s: %s: %s", reserved.key, type(error).__name__, error)
    first = pictures[0]
    stored = StoredImage(
        key=reserved.key,
        attempt=reserved.attempt,
        folder=folder,
        provider=reserved.provider,
        title=request.title,
        model=request.model,
        take=request.take,
        parent_key=reserved.parent_key,
        url=ledger.store.url(f"{folder}/{names[0]}"),
        files=tuple(files),
        width=first.width,
        height=first.height,
        format=first.format,
        has_alpha=first.has_alpha,
        cost_usd=None if reserved.usd_each is None else round(reserved.usd_each * len(pictures), 6),
        actual_usd=told.usd,
        cost_doubt=told.doubt,
        created_at=time(),
    )
    standing = await ledger.keep_pictures(stored, reserved)
    await ledger.sweep(folder, all_of_it=False)
    return standing


async def keep_at_last(pictures: Sequence[Picture], attempt: Attempt, told: Told) -> StoredImage:
    """Keep what was paid for, through a store that fails for a while, or else on this machine.

    Raises:
        StorageError: It went on failing; it says where on this machine the pictures are.
    """
    for pause_s in limits().record_pauses_seconds:
        try:
            return await keep(pictures, attempt, told)
        except StorageError as error:
            log.warning("Render %s is not kept yet: %s", attempt.key, error.message)
            await asyncio.sleep(pause_s)
    try:
        return await keep(pictures, attempt, told)
    except StorageError as error:
        place = await asyncio.to_thread(_rescued, pictures)
        error.advise(
            f"The pictures lie in {place} on this machine, and nowhere else: take them from there.",
            NextStep("resubmit"),
        )
        error.about(key=attempt.key, paid="yes")
        raise


def _rescued(pictures: Sequence[Picture]) -> str:
    folder = Path(tempfile.mkdtemp(prefix="prefect-sora-"))
    for number, picture in enumerate(pictures, start=1):
        (folder / f"image-{number}{picture.suffix}").write_bytes(picture.data)
    return str(folder)


async def _left_whole(attempt: Attempt) -> list[Picture]:
    """Read back the pictures of an attempt without a record; none where one is missing.

    Raises:
        StorageError: The store cannot be read.
    """
    folder, store = attempt.folder, attempt.ledger.store
    count = asked_for(attempt.reserved, recorded).n
    names = await store.names(folder)
    pictures = []
    for number in range(1, count + 1):
        stem = re.escape(_name(number, count, attempt.number))
        found = [name for name in names if re.fullmatch(rf"{stem}\.(png|jpg|webp|gif)", name)]
        if not found:
            return []
        data = await store.read(f"{folder}/{found[0]}") or b""
        try:
            pictures.append(await asyncio.to_thread(picture_of, data))
        except CorruptVideoError:
            return []
    return pictures


async def bring_home(state: RenderState, client: VideoClient, ledger: Ledger) -> StoredImage | None:
    """Find the pictures that stand in the store, recorded or not; nothing is sent.

    Raises:
        StorageError: The store cannot be read.
    """
    if state.pictures:
        return state.pictures.image
    if state.reserved is None or state.failed:
        return None
    attempt = Attempt(state.reserved, state.folder, client, ledger)
    pictures = await _left_whole(attempt)
    return await keep(pictures, attempt) if pictures else None


def uncertain(key: str, why: str = "Its worker is gone.") -> UncertainSubmitError:
    """Say that a person has to decide: image servers keep no list of what they made."""
    return UncertainSubmitError(
        f"The request for this picture was sent, and no whole picture has come. {why} A server "
        "keeps no list of its pictures, so nobody can tell more.",
        key=key,
        paid="unknown",
        next_step=(NextStep("resubmit"), 'in_doubt="resubmit" does so by itself.'),
    )


def _name(number: int, count: int, attempt: int) -> str:
    """Name a picture; a later attempt's never overwrites what an earlier one left."""
    which = f"-{number}" if count > 1 else ""
    return f"image{which}{f'.attempt-{attempt}' if attempt > 1 else ''}"


async def _written(picture: Picture, path: str, ledger: Ledger) -> ImageFile:
    async def chunks() -> AsyncIterator[bytes]:
        yield picture.data

    written = await ledger.store.write(path, chunks(), expected_bytes=len(picture.data))
    assert written.sha256 == hashlib.sha256(picture.data).hexdigest()  # noqa: S101 - of one buffer
    name = path.rpartition("/")[2]
    return ImageFile(name=name, sha256=written.sha256, size_bytes=written.size_bytes)
