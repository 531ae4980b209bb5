"""Chains: a base clip, and each next one made from the one before: remixes, edits, extensions."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from prefect import flow
from prefect.runtime import flow_run as running_flow
from pydantic import Field

from prefect_sora import catalogue
from prefect_sora.blocks import Store
from prefect_sora.clips import How, bring_home, render_clip
from prefect_sora.errors import InvalidRequestError
from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.parameters import (
    AllowUnlisted,
    AspectRatio,
    Emulate,
    Extra,
    InDoubt,
    MaxCostUsd,
    Model,
    PollIntervalSeconds,
    Providers,
    Scope,
    Seconds,
    Size,
    StallSeconds,
    Take,
    TimeoutSeconds,
    WhenCancelled,
)
from prefect_sora.prompts import written
from prefect_sora.reports import logger
from prefect_sora.requests import Kind, VideoRequest, title
from prefect_sora.shots import ShotPrompt
from prefect_sora.tasks import run_scope
from prefect_sora.verbs import edit_video, extend_video, remix_video

BasePrompt = Annotated[
    str | ShotPrompt | None, Field(description="What the base clip shows; unused with a source.")
]
Source = Annotated[
    str | StoredVideo | None,
    Field(
        description="A finished video in place of a base clip: a clip that is kept, or the "
        "server's id of one, which is kept first."
    ),
]

_Next = Callable[[str, StoredVideo, How], Awaitable[VideoJob]]


def _named(step: str) -> Any:
    def name() -> str:
        parameters = running_flow.parameters
        source = parameters.get("source")
        named = source.title if isinstance(source, StoredVideo) else source
        return f"{step} · {title(str(parameters.get('prompt') or named))}"

    return name


@flow(name="remix-chain", flow_run_name=_named("remix chain"))
async def remix_chain(
    prompt: BasePrompt = None,
    remixes: Annotated[
        list[str] | None, Field(description="What each remix changes in the clip before it.")
    ] = None,
    source: Source = None,
    *,
    provider: Providers,
    store: Store,
    model: Model = "sora-2",
    aspect_ratio: AspectRatio = "16:9",
    size: Size = None,
    seconds: Seconds = 8,
    take: Take = 1,
    scope: Scope = None,
    timeout_seconds: TimeoutSeconds = None,
    poll_interval_seconds: PollIntervalSeconds = 5,
    extra: Extra = None,
    allow_unlisted: AllowUnlisted = False,
    in_doubt: InDoubt = "stop",
    stall_seconds: StallSeconds = None,
    on_cancel: WhenCancelled = "leave",
    max_cost_usd: MaxCostUsd = None,
    emulate: Emulate = False,
) -> list[StoredVideo]:
    """Render a base clip, or take a finished one, and remix it step by step.

    Returns:
        The base clip first, then each remix; all are kept.

    Raises:
        SoraError: Each says which render, whether it was paid, and what to do next.
    """
    base = await _base(
        prompt, source, model, aspect_ratio, size, seconds, take, extra, allow_unlisted
    )
    how = How(
        scope or await run_scope(),
        timeout_seconds,
        poll_interval_seconds,
        stall_seconds,
        on_cancel,
        in_doubt,
        max_cost_usd,
    )

    async def next_one(change: str, clip: StoredVideo, how: How) -> VideoJob:
        job: VideoJob = await remix_video(
            change, clip, provider, store, take=take, emulate=emulate, **_submitting(how)
        )
        return job

    return await _chain("remix", base, remixes or [], next_one, provider, store, how)


@flow(name="edit-chain", flow_run_name=_named("edit chain"))
async def edit_chain(
    prompt: BasePrompt = None,
    edits: Annotated[
        list[str] | None, Field(description="What each edit changes in the clip before it.")
    ] = None,
    source: Source = None,
    *,
    provider: Providers,
    store: Store,
    model: Model = "sora-2",
    aspect_ratio: AspectRatio = "16:9",
    size: Size = None,
    seconds: Seconds = 8,
    take: Take = 1,
    scope: Scope = None,
    timeout_seconds: TimeoutSeconds = None,
    poll_interval_seconds: PollIntervalSeconds = 5,
    extra: Extra = None,
    allow_unlisted: AllowUnlisted = False,
    in_doubt: InDoubt = "stop",
    stall_seconds: StallSeconds = None,
    on_cancel: WhenCancelled = "leave",
    max_cost_usd: MaxCostUsd = None,
) -> list[StoredVideo]:
    """Render a base clip, or take a finished one, and edit it step by step.

    Returns:
        The base clip first, then each edit; all are kept.

    Raises:
        SoraError: Each says which render, whether it was paid, and what to do next.
    """
    base = await _base(
        prompt, source, model, aspect_ratio, size, seconds, take, extra, allow_unlisted
    )
    how = How(
        scope or await run_scope(),
        timeout_seconds,
        poll_interval_seconds,
        stall_seconds,
        on_cancel,
        in_doubt,
        max_cost_usd,
    )

    async def next_one(change: str, clip: StoredVideo, how: How) -> VideoJob:
        job: VideoJob = await edit_video(
            change, clip, provider, store, take=take, **_submitting(how)
        )
        return job

    return await _chain("edit", base, edits or [], next_one, provider, store, how)


@flow(name="extend-chain", flow_run_name=_named("extend chain"))
async def extend_chain(
    prompt: BasePrompt = None,
    extensions: Annotated[
        list[str] | None, Field(description="What happens in each extension of the clip before it.")
    ] = None,
    source: Source = None,
    *,
    provider: Providers,
    store: Store,
    extension_seconds: Annotated[
        int, Field(description="How many seconds each extension adds: 4, 8, 12, 16 or 20.")
    ] = 8,
    model: Model = "sora-2",
    aspect_ratio: AspectRatio = "16:9",
    size: Size = None,
    seconds: Seconds = 8,
    take: Take = 1,
    scope: Scope = None,
    timeout_seconds: TimeoutSeconds = None,
    poll_interval_seconds: PollIntervalSeconds = 5,
    extra: Extra = None,
    allow_unlisted: AllowUnlisted = False,
    in_doubt: InDoubt = "stop",
    stall_seconds: StallSeconds = None,
    on_cancel: WhenCancelled = "leave",
    max_cost_usd: MaxCostUsd = None,
) -> list[StoredVideo]:
    """Render a base clip, or take a finished one, and extend it step by step.

    Returns:
        The base clip first, then each extended one, which holds all before it; all are kept.

    Raises:
        InvalidRequestError: It would get longer than the model goes; nothing was paid.
        SoraError: Each says which render, whether it was paid, and what to do next.
    """
    base = await _base(
        prompt, source, model, aspect_ratio, size, seconds, take, extra, allow_unlisted
    )
    said = extensions or []
    kept = base.duration_seconds if isinstance(base, StoredVideo) else None
    length = kept if source else seconds
    catalogue.check_extensions(len(said), extension_seconds, length, allow_unlisted)
    how = How(
        scope or await run_scope(),
        timeout_seconds,
        poll_interval_seconds,
        stall_seconds,
        on_cancel,
        in_doubt,
        max_cost_usd,
    )

    async def next_one(change: str, clip: StoredVideo, how: How) -> VideoJob:
        job: VideoJob = await extend_video(
            change,
            clip,
            provider,
            store,
            seconds=extension_seconds,
            take=take,
            allow_unlisted=allow_unlisted,
            **_submitting(how),
        )
        return job

    return await _chain("extend", base, said, next_one, provider, store, how)


async def _base(
    prompt: str | ShotPrompt | None,
    source: str | StoredVideo | None,
    model: str | None,
    aspect_ratio: str,
    size: str | None,
    seconds: int,
    take: int,
    extra: dict[str, Any] | None,
    allow_unlisted: bool,
) -> VideoRequest | StoredVideo:
    """Take the first clip as it is kept, or make its request: to be rendered, or only kept."""
    if source:
        if prompt:
            logger().warning("The base clip is given: its prompt is not rendered.")
        if isinstance(source, StoredVideo):
            return source
        return VideoRequest.of(
            prompt=f"video {source}", kind="existing", source_video_id=source, model=None
        )
    if prompt is None:
        raise InvalidRequestError(
            "A chain begins with a prompt or with a source, and neither is given.",
            next_step="Give one of them; nothing was sent.",
        )
    return VideoRequest.of(
        prompt=await written(prompt),
        model=model,
        aspect_ratio=aspect_ratio,
        size=size,
        seconds=seconds,
        take=take,
        extra=extra or {},
        allow_unlisted=allow_unlisted,
    )


def _submitting(how: How) -> dict[str, Any]:
    return {
        "scope": how.scope,
        "timeout_seconds": how.timeout_seconds,
        "in_doubt": how.in_doubt,
        "max_cost_usd": how.max_cost_usd,
    }


async def _chain(
    kind: Kind,
    base: VideoRequest | StoredVideo,
    changes: list[str],
    next_one: _Next,
    provider: Providers,
    store: Store,
    how: How,
) -> list[StoredVideo]:
    for change in changes:  # one that says nothing is refused before any is paid
        VideoRequest.of(prompt=change, kind=kind, source_video_id="-")
    clips = [
        base if isinstance(base, StoredVideo) else await render_clip(base, provider, store, how)
    ]
    for change in changes:
        job = await next_one(change, clips[-1], how)
        clips.append(await bring_home(job, provider, store, how))
    return clips
