"""Listing: all jobs of a server, page by page, however well it pages."""

from collections.abc import AsyncIterator
from typing import Final, Literal

from prefect_sora.errors import InvalidRequestError
from prefect_sora.handles import RemoteVideo
from prefect_sora.requests.video import title
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.video_object import Video

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
