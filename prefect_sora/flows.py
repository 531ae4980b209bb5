"""Flows: text to video, image to video, and by name all others; as flows, subflows or in a script.

Each pays for a render once per root flow run, through retries, resumes and
reruns of that run; `scope` shares renders between runs, `take` separates repeats.
"""

from pathlib import Path
from typing import Annotated, Unpack

from prefect import flow
from pydantic import Field

from prefect_sora.batches import render_batch
from prefect_sora.blocks import Store
from prefect_sora.chains import edit_chain, extend_chain, remix_chain
from prefect_sora.flow_runs import flow_named
from prefect_sora.handles import StoredVideo
from prefect_sora.image_flows import keyframe_to_video, text_to_image
from prefect_sora.parameters import ClipParameters, Providers, request_of, spelled_out
from prefect_sora.prompts import written
from prefect_sora.run import render
from prefect_sora.shots import Prompt
from prefect_sora.storyboarding import storyboard
from prefect_sora.tasks import TaskSteps
from prefect_sora.upkeep import clean_up, sweep


@flow(name="text-to-video", flow_run_name=flow_named("text to video"))
@spelled_out
async def text_to_video(
    prompt: Prompt, provider: Providers, store: Store, **clip: Unpack[ClipParameters]
) -> StoredVideo:
    """Render a prompt into a video that is kept in the store.

    Raises:
        SoraError: Each says which render, whether it was paid, and what to do next.
    """
    request = request_of(clip, prompt=await written(prompt))
    return await render(request, await TaskSteps.of(provider, store, clip))


@flow(name="image-to-video", flow_run_name=flow_named("image to video"))
@spelled_out
async def image_to_video(
    prompt: Prompt,
    image: Annotated[
        str | Path | bytes, Field(description="Path, URL, fsspec URL or bytes of the first frame.")
    ],
    provider: Providers,
    store: Store,
    *,
    fit: Annotated[str, Field(description="cover, contain or exact.")] = "cover",
    **clip: Unpack[ClipParameters],
) -> StoredVideo:
    """Render a video that begins with a picture, fitted to the video's exact size.

    Raises:
        SoraError: Each says which render, whether it was paid, and what to do next.
    """
    request = request_of(clip, prompt=await written(prompt), reference=image, fit=fit)
    return await render(request, await TaskSteps.of(provider, store, clip))


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
