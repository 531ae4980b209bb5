"""Stills: thumbnail, spritesheet and preview beside a video, the server's own or drawn from it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial
from typing import Final, Literal

from prefect_sora.errors import SoraError
from prefect_sora.limits import limits
from prefect_sora.media import drawing
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.backends.concurrency import DRAWING, start

log = logging.getLogger(__name__)

_SUFFIXES: Final = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG": ".png",
    b"RIFF": ".webp",
}
Still = Literal["thumbnail", "spritesheet"]
Variant = Literal["video"] | Still

DRAWN_SUFFIXES: Final = {"thumbnail": ".webp", "spritesheet": ".jpg", "preview": ".webp"}


async def put_stills(
    store: VideoFolder, folder: str, video_id: str, client: VideoClient | None
) -> dict[str, str]:
    """Put thumbnail, spritesheet and preview beside the video; return their URLs by field.

    The server's own are taken where it has them; the others are drawn from the video. No error
    here fails a render: a picture that cannot be made is left out, and a warning says why.

    Args:
        store: Holds the video.
        folder: The render's folder in it.
        video_id: The video at the server.
        client: Asks the server; None draws all of them.
    """
    urls: dict[str, str] = {}
    try:
        await _put_all(store, folder, video_id, client, urls)
    except Exception:  # a failed picture keeps no paid video from its record
        log.warning("No more pictures of video %s.", video_id, exc_info=True)
    return {f"{name}_url": url for name, url in urls.items()}


async def _put_all(
    store: VideoFolder,
    folder: str,
    video_id: str,
    client: VideoClient | None,
    urls: dict[str, str],
) -> None:
    if client:
        for variant in sorted(client.server.profile.variants):
            data, suffix = await fetch_still(client, video_id, variant)
            if suffix:
                await _put(store, folder, variant, suffix, data, urls)
    for name, data in (await _drawn(store, f"{folder}/video.mp4", {*urls})).items():
        if name not in urls:
            await _put(store, folder, name, DRAWN_SUFFIXES[name], data, urls)


async def _put(
    store: VideoFolder, folder: str, name: str, suffix: str, data: bytes, urls: dict[str, str]
) -> None:
    try:
        urls[name] = await store.put(f"{folder}/{name}{suffix}", data)
    except SoraError as error:
        log.warning("No %s: %s", name, error.message)


async def fetch_still(client: VideoClient, video_id: str, variant: str) -> tuple[bytes, str | None]:
    """Fetch a thumbnail or spritesheet from the server.

    Returns:
        Its bytes, and the suffix that its content calls for; None where it is no picture.
    """
    data = await _fetched(client, video_id, variant)
    # Anything else, such as the video once more, is no still.
    return data, next((s for magic, s in _SUFFIXES.items() if data.startswith(magic)), None)


async def _fetched(client: VideoClient, video_id: str, variant: str) -> bytes:
    try:
        async with (
            asyncio.timeout(limits().still_seconds),
            client.content(video_id, variant) as still,
        ):
            return await _small(still.chunks)
    except TimeoutError:
        log.info("No %s from the server within %g s.", variant, limits().still_seconds)
    except SoraError as error:
        log.info("No %s from the server: %s", variant, error.message)
    return b""


async def _drawn(store: VideoFolder, name: str, given: set[str]) -> dict[str, bytes]:
    drawn = start(DRAWING, partial(_draw, store, name, given))
    done, _ = await asyncio.wait([drawn], timeout=limits().stills_seconds)
    if not done:
        log.warning("No preview of %s: nothing was drawn in %g s.", name, limits().stills_seconds)
        return {}
    return drawn.result()


def _draw(store: VideoFolder, name: str, given: set[str]) -> dict[str, bytes]:
    """Draw all pictures, or the preview alone where the server gave the others.

    A file that plays may hold codecs that FFmpeg does not have, text in no known coding, or
    sizes that no memory holds. So any error of drawing is caught and logged.
    """
    try:
        with store.open(name) as file:
            if given >= DRAWN_SUFFIXES.keys() - {"preview"}:
                return drawing.preview(file)
            return drawing.stills(file)
    except Exception as error:
        log.warning("No preview of %s: %s: %s", name, type(error).__name__, error)
        return {}


async def _small(chunks: AsyncIterator[bytes]) -> bytes:
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) > limits().still_max_bytes or bytes(data[4:8]) == b"ftyp":
            return b""
    return bytes(data)
