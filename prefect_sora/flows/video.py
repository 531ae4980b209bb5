"""Flows of one clip: from a prompt, or from a prompt and its first frame."""

from pathlib import Path
from typing import Annotated, Unpack

from pydantic import Field

from prefect_sora.blocks import Store
from prefect_sora.handles import StoredVideo
from prefect_sora.renders.run import render
from prefect_sora.requests.prompts import written
from prefect_sora.requests.shots import Prompt
from prefect_sora.tasks.calling import flow
from prefect_sora.tasks.flow_runs import flow_named
from prefect_sora.tasks.parameters import ClipParameters, Providers, request_of, spelled_out
from prefect_sora.tasks.video import TaskSteps


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
