"""Remix, edit, extend: tasks that have a new video made from a finished one."""

from pathlib import Path
from typing import Unpack

from pydantic import JsonValue

from prefect_sora.blocks import Provider, VideoStore, store_of
from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.renders import film
from prefect_sora.requests.video import VideoRequest, derived
from prefect_sora.servers import video_models
from prefect_sora.tasks.artifacts import logger
from prefect_sora.tasks.calling import task
from prefect_sora.tasks.flow_runs import task_named
from prefect_sora.tasks.parameters import SubmitParameters, spelled_out
from prefect_sora.tasks.providers import Providers, listed, of_label
from prefect_sora.tasks.video import ONCE, submit_video

Source = StoredVideo | VideoJob | str
"""A finished video: its handle, or its id at the server."""


@task(name="remix-video", task_run_name=task_named("remix", "prompt"), **ONCE)
@spelled_out
async def remix_video(
    prompt: str,
    source: Source,
    provider: Providers,
    store: VideoStore | str | Path,
    *,
    take: int = 1,
    extra: dict[str, JsonValue] | None = None,
    emulate: bool = False,
    **how: Unpack[SubmitParameters],
) -> VideoJob:
    """Have a remix of a finished video accepted, once.

    Args:
        prompt: What to change.
        source: The finished video, as a handle or as the server's id.
        provider: Who renders it: the server that holds the source; of a list, that one.
        store: Where its records, and later its video, are kept.
        take: The nth deliberate repeat of the same remix.
        extra: Further fields that this server takes.
        emulate: Where the server has no remix, render anew from the last frame of the
            source, which has to be a kept clip; another video than a remix, and said so.
        how: `scope`, `timeout_seconds`, `in_doubt` and `max_cost_usd`, as `submit_video` says.

    Raises:
        SoraError: See `submit_video`.
    """
    request = derived("remix", prompt, source, take=take, extra=extra or {})
    if emulate and isinstance(source, StoredVideo):
        server = await (await _holder(source, provider)).get_server()
        if "remix" not in server.profile.derives:
            logger().warning(
                "%s has no remix: rendering anew from the last frame of %s.",
                server.label,
                source.video_id,
            )
            request = await _from_last_frame(prompt, source, store, take)
    return await _submit(request, source, provider, store, how)


@task(name="edit-video", task_run_name=task_named("edit", "prompt"), **ONCE)
@spelled_out
async def edit_video(
    prompt: str,
    source: Source,
    provider: Providers,
    store: VideoStore | str | Path,
    *,
    take: int = 1,
    extra: dict[str, JsonValue] | None = None,
    **how: Unpack[SubmitParameters],
) -> VideoJob:
    """Have an edit of a finished video accepted, once: the same clip with a change in it.

    Args:
        prompt: What to change.
        source: The finished video, as a handle or as the server's id.
        provider: Who renders it: the server that holds the source; of a list, that one.
        store: Where its records, and later its video, are kept.
        take: The nth deliberate repeat of the same edit.
        extra: Further fields that this server takes.
        how: `scope`, `timeout_seconds`, `in_doubt` and `max_cost_usd`, as `submit_video` says.

    Raises:
        SoraError: See `submit_video`.
    """
    request = derived("edit", prompt, source, take=take, extra=extra or {})
    return await _submit(request, source, provider, store, how)


@task(name="extend-video", task_run_name=task_named("extend", "prompt"), **ONCE)
@spelled_out
async def extend_video(
    prompt: str,
    source: Source,
    provider: Providers,
    store: VideoStore | str | Path,
    *,
    seconds: int = 8,
    take: int = 1,
    extra: dict[str, JsonValue] | None = None,
    allow_unlisted: bool = False,
    **how: Unpack[SubmitParameters],
) -> VideoJob:
    """Have a finished video extended, once: the new video is the source and what follows it.

    Args:
        prompt: What happens next.
        source: The finished video, as a handle or as the server's id.
        provider: Who renders it: the server that holds the source; of a list, that one.
        store: Where its records, and later its video, are kept.
        seconds: How many are added: 4, 8, 12, 16 or 20 at OpenAI, up to 120 in all.
        take: The nth deliberate repeat of the same extension.
        extra: Further fields that this server takes.
        allow_unlisted: Send what the catalogue says the model does not offer.
        how: `scope`, `timeout_seconds`, `in_doubt` and `max_cost_usd`, as `submit_video` says.

    Raises:
        InvalidRequestError: Longer than the model goes; nothing was sent.
        SoraError: See `submit_video`.
    """
    video_models.check_extensions(1, seconds, _length(source), allow_unlisted)
    request = derived(
        "extend",
        prompt,
        source,
        take=take,
        extra=extra or {},
        seconds=seconds,
        allow_unlisted=allow_unlisted,
    )
    return await _submit(request, source, provider, store, how)


async def _from_last_frame(
    prompt: str, source: StoredVideo, store: VideoStore | str | Path, take: int
) -> VideoRequest:
    return VideoRequest.of(
        prompt=prompt,
        model=source.model,
        size=f"{source.width}x{source.height}",
        seconds=max(1, round(source.duration_seconds or 8)),
        reference=await film.last_frame_of(source, store_of(store).folder),
        take=take,
        allow_unlisted=True,  # the size and length are those of the source
    )


def _length(source: Source) -> float | None:
    if isinstance(source, StoredVideo):
        return source.duration_seconds
    return None if isinstance(source, str) else source.seconds


async def _submit(
    request: VideoRequest,
    source: Source,
    provider: Providers,
    store: VideoStore | str | Path,
    how: SubmitParameters,
) -> VideoJob:
    job: VideoJob = await submit_video.fn(
        request,
        await _holder(source, provider),
        store,
        parent_key=None if isinstance(source, str) else source.key,
        **how,
    )
    return job


async def _holder(source: Source, provider: Providers) -> Provider:
    """Choose the provider that has the source: no other can start from it."""
    if isinstance(source, str):
        return (await listed(provider))[0]
    return await of_label(source.provider, provider)
