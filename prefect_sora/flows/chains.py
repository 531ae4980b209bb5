"""Chains: a base clip, and each next one made from the one before: remixes, edits, extensions."""

from typing import Annotated, Any, Unpack

from prefect import Task
from pydantic import Field

from prefect_sora.blocks import Store
from prefect_sora.errors import InvalidRequestError
from prefect_sora.handles import Kind, StoredVideo
from prefect_sora.renders.run import bring_home, render
from prefect_sora.requests.prompts import written
from prefect_sora.requests.shots import ShotPrompt
from prefect_sora.requests.video import VideoRequest, existing
from prefect_sora.servers import video_models
from prefect_sora.tasks.artifacts import logger
from prefect_sora.tasks.calling import flow
from prefect_sora.tasks.flow_runs import flow_named
from prefect_sora.tasks.parameters import (
    ClipParameters,
    Providers,
    RequestParameters,
    request_of,
    spelled_out,
)
from prefect_sora.tasks.remix import edit_video, extend_video, remix_video
from prefect_sora.tasks.video import TaskSteps

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


@flow(name="remix-chain", flow_run_name=flow_named("remix chain"))
@spelled_out
async def remix_chain(
    prompt: BasePrompt = None,
    remixes: Annotated[
        list[str] | None, Field(description="What each remix changes in the clip before it.")
    ] = None,
    source: Source = None,
    *,
    provider: Providers,
    store: Store,
    emulate: Annotated[
        bool,
        Field(description="Where the server has no remix: render anew from the clip's last frame."),
    ] = False,
    **clip: Unpack[ClipParameters],
) -> list[StoredVideo]:
    """Render a base clip, or take a finished one, and remix it step by step.

    Returns:
        The base clip first, then each remix; all are kept.

    Raises:
        SoraError: Each says which render, whether it was paid, and what to do next.
    """
    base = await _base(prompt, source, clip)
    steps = await TaskSteps.of(provider, store, clip)
    own = {**_own(base, clip), "emulate": emulate}
    return await _chain("remix", remix_video, base, remixes or [], steps, own)


@flow(name="edit-chain", flow_run_name=flow_named("edit chain"))
@spelled_out
async def edit_chain(
    prompt: BasePrompt = None,
    edits: Annotated[
        list[str] | None, Field(description="What each edit changes in the clip before it.")
    ] = None,
    source: Source = None,
    *,
    provider: Providers,
    store: Store,
    **clip: Unpack[ClipParameters],
) -> list[StoredVideo]:
    """Render a base clip, or take a finished one, and edit it step by step.

    Returns:
        The base clip first, then each edit; all are kept.

    Raises:
        SoraError: Each says which render, whether it was paid, and what to do next.
    """
    base = await _base(prompt, source, clip)
    steps = await TaskSteps.of(provider, store, clip)
    own = _own(base, clip)
    return await _chain("edit", edit_video, base, edits or [], steps, own)


@flow(name="extend-chain", flow_run_name=flow_named("extend chain"))
@spelled_out
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
    **clip: Unpack[ClipParameters],
) -> list[StoredVideo]:
    """Render a base clip, or take a finished one, and extend it step by step.

    Returns:
        The base clip first, then each extended one, which holds all before it; all are kept.

    Raises:
        InvalidRequestError: It would get longer than the model goes; nothing was paid.
        SoraError: Each says which render, whether it was paid, and what to do next.
    """
    base = await _base(prompt, source, clip)
    steps = await TaskSteps.of(provider, store, clip)
    said, unlisted = extensions or [], clip.get("allow_unlisted", False)
    if isinstance(base, StoredVideo):
        length = base.duration_seconds
    else:  # if only a video's id is known, its length is unknown here
        length = None if source else float(base.seconds)
    video_models.check_extensions(len(said), extension_seconds, length, unlisted)
    own = {
        **_own(base, clip),
        "seconds": extension_seconds,
        "allow_unlisted": unlisted,
    }
    return await _chain("extend", extend_video, base, said, steps, own)


async def _base(
    prompt: str | ShotPrompt | None, source: str | StoredVideo | None, clip: RequestParameters
) -> VideoRequest | StoredVideo:
    """Take the first clip as it is kept, or make a request to render it or only to keep it."""
    if source:
        if prompt:
            logger().warning("The base clip is given: its prompt is not rendered.")
        if isinstance(source, StoredVideo):
            return source
        return existing(source)
    if prompt is None:
        raise InvalidRequestError(
            "A chain begins with a prompt or with a source, and neither is given.",
            next_step="Give one of them.",
        )
    return request_of(clip, prompt=await written(prompt))


def _own(base: VideoRequest | StoredVideo, clip: RequestParameters) -> dict[str, Any]:
    """The verb's own parameters: `extra` is the base clip's, unless that is finished already."""
    finished = isinstance(base, StoredVideo) or base.kind == "existing"
    return {"take": clip.get("take", 1), "extra": clip.get("extra") if finished else None}


async def _chain(
    kind: Kind,
    verb: Task[..., Any],
    base: VideoRequest | StoredVideo,
    changes: list[str],
    steps: TaskSteps,
    own: dict[str, Any],
) -> list[StoredVideo]:
    """Render the base clip, unless it is kept, and each next clip from the one before.

    Args:
        kind: What the verb makes.
        verb: The task that submits it.
        base: The first clip.
        changes: The verb's prompts.
        steps: How each clip is submitted, waited for and kept.
        own: The verb's own parameters.
    """
    for change in changes:  # an empty prompt is refused before any clip is paid
        VideoRequest.of(prompt=change, kind=kind, source_video_id="-")
    clips = [base if isinstance(base, StoredVideo) else await render(base, steps)]
    for change in changes:
        job = await verb(change, clips[-1], steps.provider, steps.store, **own, **steps.submitting)
        clips.append(await bring_home(job, steps))
    return clips
