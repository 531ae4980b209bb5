"""Tasks for pictures: made or changed once, small handles out, and the records decide.

Prefect's cache is off, and so are its retries: whether sending again is safe is known
inside, where the records are.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from prefect_sora.blocks import VideoStore, store_of
from prefect_sora.handles import StoredImage
from prefect_sora.renders.fallback import on_the_first
from prefect_sora.renders.images.submit import AskedPictures
from prefect_sora.renders.submit.decide import Policy
from prefect_sora.requests.image import DEFAULT_MODEL, ImageRequest, Source
from prefect_sora.tasks import artifacts
from prefect_sora.tasks.calling import task
from prefect_sora.tasks.flow_runs import task_named
from prefect_sora.tasks.parameters import SubmitParameters, options_of, spelled_out
from prefect_sora.tasks.providers import Providers, ways_to
from prefect_sora.tasks.video import ONCE

Sources = StoredImage | Source | Sequence[Source]


@task(name="generate-image", task_run_name=task_named("draw", "request"), **ONCE)
@spelled_out
async def generate_image(
    request: ImageRequest,
    provider: Providers,
    store: VideoStore | str | Path,
    *,
    parent_key: str | None = None,
    reference_options: Mapping[str, Any] | None = None,
    **how: Unpack[SubmitParameters],
) -> StoredImage:
    """Have pictures made, once, and keep them: the same request in the same scope is the same.

    Args:
        request: What to draw, or with `images` what to change.
        provider: Who draws it. Of a list the first; the next only where the one before has
            certainly not made it, and never after moderation.
        store: Where its records and its pictures are kept.
        parent_key: The render that this one starts from.
        reference_options: fsspec options for the URLs of pictures to change.
        how: `scope`: whom the render is shared with; the root flow run where it is None.
            `timeout_seconds`: how long a server may take; None: 300 s.
            `in_doubt`: whether to stop or to pay again where nobody can tell if it was made.
            `max_cost_usd`: what all renders of this scope may cost, in USD; the store's daily
            budget holds besides.

    Raises:
        SoraError: See `prefect_sora.renders.images.submit.draw`; each says what was paid.
    """
    block = store_of(store)
    options = await options_of(how, block)
    asked = AskedPictures(request, block.ledger, options, parent_key, reference_options)
    image = await on_the_first(await ways_to(provider), asked)
    await artifacts.show_image(image, block.folder)
    return image


@task(name="edit-image", task_run_name=task_named("edit", "prompt"), **ONCE)
async def edit_image(
    prompt: str,
    images: Sources,
    provider: Providers,
    store: VideoStore | str | Path,
    *,
    model: str | None = DEFAULT_MODEL,
    mask: Source | None = None,
    take: int = 1,
    scope: str | None = None,
    timeout_seconds: float | None = None,
    in_doubt: Policy = "stop",
    max_cost_usd: float | None = None,
    reference_options: Mapping[str, Any] | None = None,
    **fields: Any,
) -> StoredImage:
    """Have pictures changed, once, and keep what comes of it.

    Args:
        prompt: What to change.
        images: The pictures, as a handle or as paths, URLs or bytes; of a handle with several
            pictures, all.
        provider: As in `generate_image`, like the rest.
        store: As in `generate_image`.
        model: The image model.
        mask: Where the first picture may change.
        take: As in `ImageRequest`, like the fields that are not named here.
        scope: As in `generate_image`.
        timeout_seconds: As in `generate_image`.
        in_doubt: As in `generate_image`.
        max_cost_usd: As in `generate_image`.
        reference_options: As in `generate_image`; the store's own for a handle.
        fields: Further fields of an `ImageRequest`: size, n, quality, background, …

    Raises:
        SoraError: See `generate_image`.
    """
    parent_key = None
    sources: tuple[Source, ...]
    if isinstance(images, StoredImage):
        parent_key, sources = images.key, tuple(images.urls)
        reference_options = reference_options or store_of(store).folder.options
    elif isinstance(images, (bytes, str, Path)):
        sources = (images,)
    else:
        sources = tuple(images)
    request = ImageRequest.of(
        prompt=prompt, images=sources, mask=mask, model=model, take=take, **fields
    )
    drawn: StoredImage = await generate_image.fn(
        request,
        provider,
        store,
        scope=scope,
        parent_key=parent_key,
        timeout_seconds=timeout_seconds,
        in_doubt=in_doubt,
        max_cost_usd=max_cost_usd,
        reference_options=reference_options,
    )
    return drawn
