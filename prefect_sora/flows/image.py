"""Flows for pictures: a prompt to pictures, and a picture to the video that begins with it."""

from dataclasses import replace
from typing import Annotated, Literal, Unpack

from pydantic import Field

from prefect_sora.blocks import Store
from prefect_sora.handles import StoredImage, StoredVideo
from prefect_sora.renders.images.prepare import first_frame
from prefect_sora.renders.run import render
from prefect_sora.requests.image import DEFAULT_MODEL, ImageRequest
from prefect_sora.requests.prompts import written
from prefect_sora.requests.shots import Prompt
from prefect_sora.servers import video_models
from prefect_sora.tasks.calling import flow
from prefect_sora.tasks.flow_runs import flow_named
from prefect_sora.tasks.image import generate_image
from prefect_sora.tasks.parameters import (
    AllowUnlisted,
    ClipParameters,
    Extra,
    PayParameters,
    Providers,
    Take,
    request_of,
    spelled_out,
)
from prefect_sora.tasks.providers import first_there, listed
from prefect_sora.tasks.video import TaskSteps

ImageModel = Annotated[
    str | None, Field(description="The image model; None lets the server choose its only one.")
]
ImageSize = Annotated[str | None, Field(description="WIDTHxHEIGHT in pixels, or auto.")]
Quality = Annotated[str | None, Field(description="Such as low, medium, high or auto.")]


@flow(name="text-to-image", flow_run_name=flow_named("text to image"))
@spelled_out
async def text_to_image(
    prompt: Annotated[str, Field(description="What to show; with images, what to change.")],
    provider: Providers,
    store: Store,
    model: ImageModel = DEFAULT_MODEL,
    size: ImageSize = None,
    n: Annotated[int, Field(description="How many pictures.")] = 1,
    quality: Quality = None,
    style: Annotated[str | None, Field(description="vivid or natural, of dall-e-3.")] = None,
    background: Annotated[
        str | None, Field(description="transparent, opaque or auto; white or black where offered.")
    ] = None,
    output_format: Annotated[
        Literal["png", "jpeg", "webp"] | None, Field(description="None: the server's own, png.")
    ] = None,
    output_compression: Annotated[
        int | None, Field(description="In percent, of jpeg and webp.")
    ] = None,
    images: Annotated[
        list[str] | None, Field(description="Paths or URLs of pictures to change; None: a new one.")
    ] = None,
    mask: Annotated[
        str | None, Field(description="A PNG that is clear where the first may change.")
    ] = None,
    take: Take = 1,
    timeout_seconds: Annotated[
        float | None, Field(description="How long the server may take; None: 300 s.")
    ] = None,
    extra: Extra = None,
    allow_unlisted: AllowUnlisted = False,
    **paying: Unpack[PayParameters],
) -> StoredImage:
    """Have pictures made from a prompt, or changed by it, and keep them in the store.

    Raises:
        SoraError: Each says which render, whether it was paid, and what to do next.
    """
    request = ImageRequest.of(
        prompt=prompt,
        model=model,
        size=size,
        n=n,
        quality=quality,
        style=style,
        background=background,
        output_format=output_format,
        output_compression=output_compression,
        images=tuple(images or ()),
        mask=mask,
        take=take,
        extra=extra or {},
        allow_unlisted=allow_unlisted,
    )
    return await generate_image(request, provider, store, timeout_seconds=timeout_seconds, **paying)


@flow(name="keyframe-to-video", flow_run_name=flow_named("keyframe to video"))
@spelled_out
async def keyframe_to_video(
    prompt: Prompt,
    keyframe: Annotated[str, Field(description="What the first frame shows, for the image model.")],
    provider: Providers,
    store: Store,
    image_provider: Annotated[
        Providers | None, Field(description="Who draws the first frame; None: who renders.")
    ] = None,
    image_model: ImageModel = DEFAULT_MODEL,
    image_size: Annotated[
        str | None,
        Field(description="WIDTHxHEIGHT; None: the video's own, or the model's nearest to it."),
    ] = None,
    image_quality: Quality = None,
    **clip: Unpack[ClipParameters],
) -> StoredVideo:
    """Have a picture drawn, and rendered into a video that begins with it; both are kept.

    The video's `parent_key` names the picture's render. A run that is begun again pays for
    neither a second time.

    Raises:
        SoraError: Each says which render, whether it was paid, and what to do next.
    """
    # Both are checked before the first of them is paid.
    text = await written(prompt)
    asked = request_of(clip, prompt=text)
    several = await listed(provider)
    # What one server of several no longer offers, another may render.
    server = (await first_there(several)).server
    service = server.ends_models if len(several) == 1 else None
    video_models.check(asked, service, profile=server.profile)
    drawing = first_frame(keyframe, asked, image_model, image_size, image_quality)
    steps = await TaskSteps.of(provider, store, clip)
    paying = steps.submitting
    paying["timeout_seconds"] = None  # a picture has its own
    picture = await generate_image(drawing, image_provider or provider, store, **paying)
    request = request_of(clip, prompt=text, reference=picture.url)
    return await render(request, replace(steps, parent_key=picture.key))
