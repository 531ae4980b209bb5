"""Listing: all jobs of a server, page by page, however well it pages; and what its models offer."""

import asyncio
import logging
from collections.abc import AsyncIterator
from time import monotonic
from typing import Final, Literal
from weakref import WeakKeyDictionary

import httpx2

from prefect_sora.errors import InvalidRequestError
from prefect_sora.handles import RemoteVideo
from prefect_sora.limits import limits
from prefect_sora.requests.video import title
from prefect_sora.servers.costs.catalogue import Catalogue, known, read_catalogue, remember
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.http.arrivals import json_of
from prefect_sora.servers.protocol.http.proxies import certificates, http_client
from prefect_sora.servers.protocol.video_object import Video
from prefect_sora.servers.server import Server

log = logging.getLogger(__name__)

PAGE_LIMIT: Final = 100
"""OpenAI's openapi.yaml, `ListVideos.limit` (2026-08-21)."""

Order = Literal["desc", "asc"]


async def every_video(
    client: VideoClient,
    order: Order = "desc",
    page_size: int = PAGE_LIMIT,
    after: str | None = None,
) -> AsyncIterator[Video]:
    """Yield each job that the server lists, once; the newest first unless asked otherwise.

    The list ends with a page that says that it is the last, is empty, or shows nothing new:
    some servers do not say which page is the last, and some do not page at all.

    Args:
        client: The server.
        order: `desc` begins with the newest, `asc` with the oldest, where a server sorts.
        page_size: Jobs asked for at once, 1 to 100.
        after: Begin with the job that follows this one.

    Raises:
        InvalidRequestError: This server has no list.
        ApiError: A page is refused, or no page.
    """
    if not client.server.profile.can_list:
        raise InvalidRequestError(
            f"The {client.server.profile.name} server {client.server.label} does not list its "
            "jobs.",
            next_step="The store's records name those that were rendered through it.",
        )
    lists: list[str | None] = [None]
    if client.server.profile.lists_by_provider:
        lists = [f"{provider}/" for provider in await client.providers()]
    for model in lists:
        async for video in _every_one(client, order, page_size, after, model):
            yield video


async def _every_one(
    client: VideoClient, order: Order, page_size: int, after: str | None, model: str | None
) -> AsyncIterator[Video]:
    seen: set[str] = {after} if after else set()
    while True:
        page = await client.list_page(after=after, limit=page_size, order=order, model=model)
        # A server that knows no `after` sends the list from its beginning.
        known = [video.id for video in page.videos]
        begin = known.index(after) + 1 if after in known else 0
        fresh = [video for video in page.videos[begin:] if video.id not in seen]
        for video in fresh:
            seen.add(video.id)
            yield video
        after = page.next_after
        if not fresh or after is None:
            return


def remote_video(video: Video, provider: str) -> RemoteVideo:
    """Turn a server's answer into a handle: small, and without a signed address."""
    failure = video.failure
    return RemoteVideo(
        video_id=video.id,
        provider=provider,
        status=video.status,
        progress=video.progress,
        title=title(video.prompt) if video.prompt else None,
        model=video.model,
        size=video.size,
        seconds=video.seconds,
        created_at=video.created_at,
        completed_at=video.completed_at,
        expires_at=video.expires_at,
        source_video_id=video.remixed_from_video_id,
        error=(failure.message or failure.code) if failure else None,
        actual_usd=video.told.usd,
    )


_failed: dict[str, float] = {}
"""When a catalogue could not be read, by the server's address and a clock that never steps."""

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Lock]] = WeakKeyDictionary()


async def learn_catalogue(server: Server) -> None:
    """Read what the server's models offer, unless that is known; where it cannot be, go on.

    No key is sent. What was read holds for an hour, and longer where it cannot be read again.

    Args:
        server: Where its profile names no catalogue, nothing is asked.
    """
    if not server.profile.catalog_path:
        return
    turns = _turns.setdefault(asyncio.get_running_loop(), {})
    async with turns.setdefault(server.base_url, asyncio.Lock()):
        before, now = known(server.base_url), monotonic()
        fresh = before is not None and before.age_seconds < limits().catalogue_fresh_seconds
        failed_at = _failed.get(server.base_url, -limits().catalogue_again_seconds)
        if fresh or now - failed_at < limits().catalogue_again_seconds:
            return
        try:
            async with asyncio.timeout(limits().catalogue_seconds):
                remember(server.base_url, await _catalogue(server))
        except Exception as error:  # whatever it is, it keeps nobody from rendering
            _failed[server.base_url] = now
            why = "it took too long" if isinstance(error, TimeoutError) else f"{error}"
            still = (
                f"The one of {before.age_seconds / 60:.0f} minutes ago holds."
                if before
                else (
                    "What they offer and cost is not known: the server judges, and a budget needs "
                    "prices of your own."
                )
            )
            log.warning("The catalogue of models at %s: %s. %s", server.label, why, still)


async def _catalogue(server: Server) -> Catalogue:
    """Read it.

    Raises:
        ValueError: It is none.
        httpx2.HTTPError: No answer.
    """
    data = bytearray()
    async with (
        http_client(server, certificates(), timeout=None) as http,
        http.stream(
            "GET",
            f"{server.base_url}{server.profile.catalog_path}",
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            follow_redirects=False,
        ) as response,
    ):
        if response.status_code != 200:
            raise ValueError(f"the answer was {response.status_code}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise ValueError("it came packed, which was not asked for")
        async for chunk in response.aiter_raw(limits().chunk_bytes):
            data += chunk
            if len(data) > limits().catalogue_max_bytes:
                raise ValueError(f"it is larger than {limits().catalogue_max_bytes} bytes")
    found = read_catalogue(json_of(httpx2.Response(200, content=bytes(data))))
    if found is None:
        raise ValueError("what came is no list of models")
    return found
