"""A server's videos: tasks that list, retrieve, delete and cancel them, and keep characters."""

from collections.abc import AsyncIterator
from pathlib import Path

from prefect_sora.blocks import Provider, ProviderOrName, VideoStore, store_of
from prefect_sora.errors import InvalidRequestError
from prefect_sora.handles import Character, RemoteVideo, StoredVideo, VideoJob
from prefect_sora.renders import characters
from prefect_sora.renders.finish import cancel as cancelling
from prefect_sora.servers.protocol.listing import Order, every_video, remote_video
from prefect_sora.tasks.artifacts import logger
from prefect_sora.tasks.calling import task
from prefect_sora.tasks.providers import Providers, client_of, listed, of_label, provider_of
from prefect_sora.tasks.video import AGAIN, ONCE


async def iterate_videos(
    provider: ProviderOrName, order: Order = "desc"
) -> AsyncIterator[RemoteVideo]:
    """Yield every video that the server lists, page by page; the newest first.

    This is no task: Prefect's generator tasks break where a loop over them is left early.

    Args:
        provider: Whose videos.
        order: `asc` begins with the oldest.

    Raises:
        InvalidRequestError: This server has no list.
        ApiError: Its list cannot be read.
    """
    client = await (await provider_of(provider)).get_client()
    async for video in every_video(client, order):
        yield remote_video(video, client.server.label)


@task(name="list-videos", **AGAIN)
async def list_videos(
    provider: ProviderOrName, *, limit: int = 1000, order: Order = "desc"
) -> list[RemoteVideo]:
    """List what the server holds, over all its pages; `iterate_videos` yields one by one.

    Args:
        provider: Whose videos.
        limit: Most videos that are returned.
        order: `desc` begins with the newest, `asc` with the oldest.

    Raises:
        InvalidRequestError: This server has no list.
        ApiError: Its list cannot be read.
    """
    if limit < 1:
        raise InvalidRequestError(f"limit is {limit}: it is 1 at least.")
    found: list[RemoteVideo] = []
    async for video in iterate_videos(provider, order):
        found.append(video)
        if len(found) >= limit:
            break
    return found


@task(name="retrieve-video", **AGAIN)
async def retrieve_video(video: VideoJob | StoredVideo | str, provider: Providers) -> RemoteVideo:
    """Ask the server how a job stands now.

    Args:
        video: A handle, or the server's id.
        provider: Who has it; of a list, the one that made the handle.

    Raises:
        VideoNotFoundError: It knows no such job, or no longer.
        ApiError: Anything else that is no job.
    """
    client = await (await _holder(video, provider)).get_client()
    return remote_video(await client.retrieve(_id(video)), client.server.label)


@task(name="delete-video", **AGAIN)
async def delete_video(video: VideoJob | StoredVideo | str, provider: Providers) -> None:
    """Delete a video at the server; what the store keeps stays. One that is gone is fine.

    A job that is waited for, or not kept yet, is lost by it: `clean_up` deletes only what
    the store has.

    Args:
        video: A handle, or the server's id.
        provider: Who has it; of a list, the one that made the handle.

    Raises:
        ApiError: It refuses, or cannot.
    """
    client = await (await _holder(video, provider)).get_client()
    await client.delete(_id(video))
    logger().info("Video %s is deleted at %s.", _id(video), client.server.label)


@task(name="cancel-video", **ONCE)
async def cancel_video(
    job: VideoJob | StoredVideo | str, provider: Providers, store: VideoStore | str | Path
) -> None:
    """Stop a job that is not finished; the same request may then be submitted anew.

    Args:
        job: From `submit_video`; or its render's key, or the server's id of its video.
        provider: Who renders it; of a list, the one that accepted it.
        store: Where its records are.

    Raises:
        InvalidRequestError: It is finished, this server does not stop what it deletes, or no
            render of the store has it.
        ApiError: The server refuses; the job is as it was.
    """
    ledger = store_of(store).ledger
    if not isinstance(job, VideoJob):
        word = job if isinstance(job, str) else job.key
        client = await (await _holder(job, provider)).get_client()
        job = await cancelling.job_named(word, client, ledger)
    await cancelling.cancel(job, await client_of(job, provider), ledger)
    logger().info("Video %s is cancelled at %s.", job.video_id, job.provider)


@task(name="create-character", **ONCE)
async def create_character(
    name: str,
    video: StoredVideo | Path | str,
    provider: ProviderOrName,
    store: VideoStore | str | Path,
) -> Character:
    """Make somebody of a video known to the server, for prompts to name; once in a store.

    Args:
        name: What prompts call it, 1 to 80 characters.
        video: A kept video of this store, or an MP4 file.
        provider: Who shall know it: characters do not travel between servers.
        store: Where it is written down.

    Raises:
        SoraError: See `prefect_sora.renders.characters.create_character`.
    """
    ledger = store_of(store).ledger
    return await characters.create_character(
        name, video, await (await provider_of(provider)).get_client(), ledger
    )


@task(name="retrieve-character", **AGAIN)
async def retrieve_character(character_id: str, provider: ProviderOrName) -> Character:
    """Ask the server for a character.

    Args:
        character_id: From `create_character`.
        provider: Who made it.

    Raises:
        VideoNotFoundError: It knows no such character.
        ApiError: Anything else that is none.
    """
    return await (await (await provider_of(provider)).get_client()).character(character_id)


async def _holder(video: VideoJob | StoredVideo | str, provider: Providers) -> Provider:
    if isinstance(video, str):
        return (await listed(provider))[0]
    return await of_label(video.provider, provider)


def _id(video: VideoJob | StoredVideo | str) -> str:
    return video if isinstance(video, str) else video.video_id
