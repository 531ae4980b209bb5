"""Flows: text to video, image to video, remix chains, the sweep; as flows, subflows or in a script.

Each pays for a render once per root flow run, through retries, resumes and
reruns of that run; `scope` shares renders between runs, `take` separates repeats.
"""

from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.runtime import flow_run as running_flow
from pydantic import Field, JsonValue

from prefect_sora.blocks import Provider, Store
from prefect_sora.cancelling import OnCancel
from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.prompts import written
from prefect_sora.reports import logger
from prefect_sora.requests import VideoRequest, title
from prefect_sora.shots import Prompt
from prefect_sora.submitting import Policy
from prefect_sora.sweeps import sweep
from prefect_sora.tasks import (
    persist_video,
    remix_video,
    run_scope,
    submit_video,
    wait_for_video,
)

Model = Annotated[
    str | None, Field(description="The video model; None lets the server choose its only one.")
]
AspectRatio = Annotated[str, Field(description="16:9, 9:16, 1:1, 16:10 or 10:16.")]
Size = Annotated[
    str | None,
    Field(description="WIDTHxHEIGHT in pixels, 720p or 1080p; in place of the ratio's own size."),
]
Seconds = Annotated[int, Field(description="Length of the clip.")]
Take = Annotated[int, Field(description="The nth deliberate repeat of the same request.")]
Scope = Annotated[
    str | None,
    Field(description="Runs that name one scope share their renders; None: this run alone."),
]
TimeoutSeconds = Annotated[
    float | None,
    Field(
        description="How long to wait for each render; None: 600 s, and more for clips longer than "
        "8 s, larger than 720p, or of a pro model."
    ),
]
PollIntervalSeconds = Annotated[float, Field(description="Shortest pause between two polls.")]
StallSeconds = Annotated[
    float | None,
    Field(description="How long status and progress may stay as they are; None: to the timeout."),
]
Extra = Annotated[
    dict[str, JsonValue] | None, Field(description="Further fields that this server takes.")
]
AllowUnlisted = Annotated[
    bool, Field(description="Send what the catalogue says the model does not offer.")
]
InDoubt = Annotated[
    Policy,
    Field(description="Where nobody can tell whether a render was accepted: stop, or pay again."),
]

WhenCancelled = Annotated[
    OnCancel,
    Field(description="What becomes of a job whose run is cancelled: it goes on, or is deleted."),
]


def _named(step: str) -> Any:
    def name() -> str:
        parameters = running_flow.parameters
        return f"{step} · {title(str(parameters.get('prompt') or parameters.get('source')))}"

    return name


@flow(name="text-to-video", flow_run_name=_named("text to video"))
async def text_to_video(
    prompt: Prompt,
    provider: Provider,
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
    job = await submit_video(
        request,
        provider,
        store,
        scope=scope or await run_scope(),
        timeout_seconds=timeout_seconds,
        in_doubt=in_doubt,
    )
    return await _bring_home(
        job, provider, store, timeout_seconds, poll_interval_seconds, stall_seconds, on_cancel
    )


@flow(name="image-to-video", flow_run_name=_named("image to video"))
async def image_to_video(
    prompt: Prompt,
    image: Annotated[
        str | Path | bytes, Field(description="Path, URL, fsspec URL or bytes of the first frame.")
    ],
    provider: Provider,
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
    job = await submit_video(
        request,
        provider,
        store,
        scope=scope or await run_scope(),
        timeout_seconds=timeout_seconds,
        in_doubt=in_doubt,
    )
    return await _bring_home(
        job, provider, store, timeout_seconds, poll_interval_seconds, stall_seconds, on_cancel
    )


@flow(name="remix-chain", flow_run_name=_named("remix chain"))
async def remix_chain(
    prompt: Annotated[
        str | None, Field(description="What the base clip shows; unused with a source.")
    ] = None,
    remixes: Annotated[
        list[str] | None, Field(description="What each remix changes in the clip before it.")
    ] = None,
    source: Annotated[
        str | None, Field(description="A finished video's id, in place of rendering a base clip.")
    ] = None,
    *,
    provider: Provider,
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
) -> list[StoredVideo]:
    """Render a base clip, or take a finished one, and remix it step by step.

    Returns:
        The base clip first, then each remix; all are kept.

    Raises:
        SoraError: Each says which render, whether it was paid, and what to do next.
    """
    if source:
        if prompt:
            logger().warning("The base clip is %s: its prompt is not rendered.", source)
        base = VideoRequest.of(
            prompt=f"video {source}", kind="existing", source_video_id=source, model=None
        )
    else:
        base = VideoRequest.of(
            prompt=prompt or "",
            model=model,
            aspect_ratio=aspect_ratio,
            size=size,
            seconds=seconds,
            take=take,
            extra=extra or {},
            allow_unlisted=allow_unlisted,
        )
    for change in remixes or []:  # one that says nothing is refused before any is paid
        VideoRequest.of(prompt=change, kind="remix", source_video_id="-")
    scope = scope or await run_scope()
    job = await submit_video(
        base, provider, store, scope=scope, timeout_seconds=timeout_seconds, in_doubt=in_doubt
    )
    waiting = (timeout_seconds, poll_interval_seconds, stall_seconds, on_cancel)
    clips = [await _bring_home(job, provider, store, *waiting)]
    for change in remixes or []:
        job = await remix_video(
            change,
            clips[-1],
            provider,
            store,
            take=take,
            scope=scope,
            timeout_seconds=timeout_seconds,
            in_doubt=in_doubt,
        )
        clips.append(await _bring_home(job, provider, store, *waiting))
    return clips


async def _bring_home(
    job: VideoJob,
    provider: Provider,
    store: Store,
    timeout_seconds: float | None,
    poll_interval_seconds: float,
    stall_seconds: float | None,
    on_cancel: OnCancel,
) -> StoredVideo:
    video = await wait_for_video(
        job,
        provider,
        store,
        timeout_seconds=timeout_seconds,
        poll_interval_seconds=poll_interval_seconds,
        stall_seconds=stall_seconds,
        on_cancel=on_cancel,
    )
    return await persist_video(video, provider, store)


__all__ = ["image_to_video", "remix_chain", "sweep", "text_to_video"]
