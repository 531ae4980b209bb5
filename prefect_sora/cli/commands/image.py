"""`prefect-sora image`: pictures from an image model, as a Prefect flow in this process."""

import asyncio
from types import ModuleType
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from prefect_sora.cli import exits
from prefect_sora.cli.clip import refuse_twins
from prefect_sora.cli.options import (
    DEFAULT_STORE,
    Anew,
    Flag,
    MaxCost,
    Positive,
    Provider,
    Scope,
    Shown,
    Store,
    Words,
    fields_of,
)
from prefect_sora.cli.run import chosen, run_command, run_flow
from prefect_sora.cli.screen import Screen, image_lines, place, usd
from prefect_sora.environment import Named
from prefect_sora.handles import StoredImage
from prefect_sora.images.requests import DEFAULT_MODEL, ImageRequest
from prefect_sora.records import Reserved
from prefect_sora.server import Server


def image(
    prompt: str,
    *,
    edit: Words = None,
    mask: str | None = None,
    provider: Provider = None,
    model: str = DEFAULT_MODEL,
    size: str | None = None,
    n: Annotated[int, Parameter(name=("-n", "--n"))] = 1,
    quality: str | None = None,
    style: str | None = None,
    background: str | None = None,
    format: Literal["png", "jpeg", "webp"] | None = None,
    compression: int | None = None,
    store: Store = DEFAULT_STORE,
    take: int = 1,
    scope: Scope = None,
    max_cost: MaxCost = None,
    timeout: Positive | None = None,
    extra: Words = None,
    allow_unlisted: Flag = False,
    anew: Anew = False,
    shown: Shown | None = None,
) -> int:
    """Draw pictures from a prompt, or change some, and keep them in the store.

    Args:
        prompt: What to show; with --edit, what to change.
        edit: Path or URL of a picture to change; may be repeated.
        mask: A PNG of the first picture's size, clear where it may change.
        provider: See above.
        model: The image model; "" lets a server that has only one choose.
        size: Pixels as WIDTHxHEIGHT, or auto.
        n: How many pictures.
        quality: Such as low, medium, high or auto.
        style: vivid or natural, of dall-e-3.
        background: transparent, opaque or auto; white or black where the model offers it.
        format: Of the files; without it the server's own, which is png at OpenAI.
        compression: In percent, of jpeg and webp.
        store: See above.
        take: Count it up to draw the same request once more in one scope.
        scope: See above.
        max_cost: See above.
        timeout: Seconds that the server may take; without it 300.
        extra: KEY=VALUE, a further field that this server takes; may be repeated.
        allow_unlisted: Send what the catalogue says the model does not take.
        anew: See above.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        request = ImageRequest.of(
            prompt=prompt,
            model=model or None,
            size=size,
            n=n,
            quality=quality,
            style=style,
            background=background,
            output_format=format,
            output_compression=compression,
            images=tuple(edit or ()),
            mask=mask,
            take=take,
            extra=fields_of(extra),
            allow_unlisted=allow_unlisted,
        )

        async def check(named: Named | None) -> None:
            if named is not None:
                await _check(request, named, store, scope, screen, twins=not anew)

        async def call(flows: ModuleType, block: Any) -> StoredImage:
            images = [str(source) for source in request.images] or None
            fields = request.model_dump(
                include={
                    *("model", "size", "n", "quality", "style", "background", "output_format"),
                    *("output_compression", "mask", "take", "extra", "allow_unlisted"),
                }
            )
            drawn: StoredImage = await flows.text_to_image(
                request.prompt,
                block,
                store,
                images=images,
                scope=scope,
                timeout_seconds=timeout,
                max_cost_usd=max_cost,
                **fields,
            )
            return drawn

        drawn = run_flow(
            screen, [chosen(provider)], store, call, check=check, prompt=prompt, phase="drawing"
        )
        screen.document({**drawn.model_dump(), "urls": drawn.urls})
        if screen.shown.quiet:
            for url in drawn.urls:
                screen.result(place(url))
            return exits.OK
        for line in image_lines(drawn):
            screen.result(line)
        return exits.OK

    return run_command(shown, body, store, provider)


async def _check(
    request: ImageRequest,
    provider: Named,
    store: str,
    scope: str | None,
    screen: Screen,
    *,
    twins: bool,
) -> None:
    """Look at the request, its pictures and the store, before anything is sent."""
    from prefect_sora.images.wishes import identify

    server = await asyncio.to_thread(provider.server)
    wish = await identify(request, server, scope or "")
    for warning in wish.warnings:
        screen.warn(warning)

    def is_twin(reserved: Reserved, _: Server) -> bool:
        return reserved.request_digest == wish.request_digest

    if twins:
        await refuse_twins(store, scope, request.prompt, provider, is_twin)
    cost = None if wish.usd_each is None else wish.usd_each * request.n
    several = f" · {request.n} pictures" if request.n > 1 else ""
    screen.announce(
        request.title,
        what=f"{request.model or 'its own model'} · {request.size or 'its own size'}{several}",
        who=provider.label,
        cost="$0.00 (local)" if provider.is_local else usd(cost),
        into=place(store),
    )
