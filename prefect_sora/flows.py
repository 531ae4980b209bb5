"""Flows: text to video, image to video, and by name all others; as flows, subflows or in a script.

Each pays for a render once per root flow run, through retries, resumes and
reruns of that run; `scope` shares renders between runs, `take` separates repeats.
"""

from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.runtime import flow_run as running_flow
from pydantic import Field

from prefect_sora.batches import render_batch
from prefect_sora.blocks import Store
from prefect_sora.chains import edit_chain, extend_chain, remix_chain
from prefect_sora.clean_ups import clean_up
from prefect_sora.clips import How, render_clip
from prefect_sora.handles import StoredVideo
from prefect_sora.image_flows import keyframe_to_video, text_to_image
from prefect_sora.parameters import (
    AllowUnlisted,
    AspectRatio,
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
from prefect_sora.requests import VideoRequest, title
from prefect_sora.shots import Prompt
from prefect_sora.storyboarding import storyboard
from prefect_sora.sweeps import sweep
from prefect_sora.tasks import run_scope


def _named(step: str) -> Any:
    def name() -> str:
        parameters = running_flow.parameters
        return f"{step} · {title(str(parameters.get('prompt') or parameters.get('source')))}"

    return name


@flow(name="text-to-video", flow_run_name=_named("text to video"))
async def text_to_video(
    prompt: Prompt,
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
) -> StoredVideo:
    """Render a prompt into a video that is kept in the store.

    Raises:
        SoraError: Each says which render, whether it was paid, and what to do next.
    """
    request = VideoRequest.of(
        prompt=await written(prompt),
        model=model,
        aspect_ratio=aspect_ratio,
        size=size,
        seconds=seconds,
        take=take,
        extra=extra or {},
        allow_unlisted=allow_unlisted,
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
    return await render_clip(request, provider, store, how)


@flow(name="image-to-video", flow_run_name=_named("image to video"))
async def image_to_video(
    prompt: Prompt,
    image: Annotated[
        str | Path | bytes, Field(description="Path, URL, fsspec URL or bytes of the first frame.")
    ],
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
    fit: Annotated[str, Field(description="cover, contain or exact.")] = "cover",
    extra: Extra = None,
    allow_unlisted: AllowUnlisted = False,
    in_doubt: InDoubt = "stop",
    stall_seconds: StallSeconds = None,
    on_cancel: WhenCancelled = "leave",
    max_cost_usd: MaxCostUsd = None,
) -> StoredVideo:
    """Render a video that begins with a picture, fitted to the video's exact size.

    Raises:
        SoraError: Each says which render, whether it was paid, and what to do next.
    """
    request = VideoRequest.of(
        prompt=await written(prompt),
        reference=image,
        fit=fit,
        model=model,
        aspect_ratio=aspect_ratio,
        size=size,
        seconds=seconds,
        take=take,
        extra=extra or {},
        allow_unlisted=allow_unlisted,
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
    return await render_clip(request, provider, store, how)


__all__ = [
    "clean_up",
    "edit_chain",
    "extend_chain",
    "image_to_video",
    "keyframe_to_video",
    "remix_chain",
    "render_batch",
    "storyboard",
    "sweep",
    "text_to_image",
    "text_to_video",
]
