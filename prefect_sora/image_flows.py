"""Flows for pictures: a prompt to pictures, and a picture to the video that begins with it."""

from typing import Annotated, Any, Literal

from prefect import flow
from prefect.runtime import flow_run as running_flow
from pydantic import Field

from prefect_sora import catalogue as video_catalogue
from prefect_sora.blocks import Store, store_of
from prefect_sora.clips import How, bring_home
from prefect_sora.handles import StoredImage, StoredVideo
from prefect_sora.image_tasks import generate_image
from prefect_sora.images import catalogue
from prefect_sora.images.requests import DEFAULT_MODEL, ImageRequest
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
from prefect_sora.providers import listed
from prefect_sora.requests import VideoRequest, title
from prefect_sora.shots import Prompt
from prefect_sora.tasks import run_scope, submit_video

ImageModel = Annotated[
    str | None, Field(description="The image model; None lets the server choose its only one.")
]
ImageSize = Annotated[str | None, Field(description="WIDTHxHEIGHT in pixels, or auto.")]
Quality = Annotated[str | None, Field(description="Such as low, medium, high or auto.")]


def _named(step: str) -> Any:
    def name() -> str:
        return f"{step} · {title(str(running_flow.parameters.get('prompt')))}"

    return name


@flow(name="text-to-image", flow_run_name=_named("text to image"))
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
    scope: Scope = None,
    timeout_seconds: Annotated[
        float | None, Field(description="How long the server may take; None: 300 s.")
    ] = None,
    extra: Extra = None,
    allow_unlisted: AllowUnlisted = False,
    in_doubt: InDoubt = "stop",
    max_cost_usd: MaxCostUsd = None,
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
    return await generate_image(
        request,
        provider,
        store,
        scope=scope or await run_scope(),
        timeout_seconds=timeout_seconds,
        in_doubt=in_doubt,
        max_cost_usd=max_cost_usd,
    )


@flow(name="keyframe-to-video", flow_run_name=_named("keyframe to video"))
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
    """Have a picture drawn, and rendered into a video that begins with it; both are kept.

    The video's `parent_key` names the picture's render. A run that is begun again pays for
    neither a second time.

    Raises:
        SoraError: Each says which render, whether it was paid, and what to do next.
    """
    # All is checked before the first of the two is paid.
    video: dict[str, Any] = {
        "prompt": await written(prompt),
        "model": model,
        "aspect_ratio": aspect_ratio,
        "size": size,
        "seconds": seconds,
        "take": take,
        "extra": extra or {},
        "allow_unlisted": allow_unlisted,
    }
    clip = VideoRequest.of(**video)
    several = await listed(provider)
    # What one server of several has ended, another may render.
    service = (await several[0].describe()).service if len(several) == 1 else None
    video_catalogue.check(clip, service)
    request = ImageRequest.of(
        prompt=keyframe,
        model=image_model,
        size=image_size or catalogue.nearest_size(image_model, clip.pixels),
        quality=image_quality,
        take=take,
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
    picture = await generate_image(
        request,
        image_provider or provider,
        store,
        scope=how.scope,
        in_doubt=in_doubt,
        max_cost_usd=max_cost_usd,
    )
    job = await submit_video(
        VideoRequest.of(**video, reference=picture.url),
        provider,
        store,
        scope=how.scope,
        parent_key=picture.key,
        timeout_seconds=timeout_seconds,
        in_doubt=in_doubt,
        max_cost_usd=max_cost_usd,
        reference_options=store_of(store).folder.options,
    )
    return await bring_home(job, provider, store, how)
