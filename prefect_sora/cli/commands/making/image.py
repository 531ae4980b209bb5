"""`prefect-sora image`: pictures from an image model, as a Prefect flow in this process."""

import asyncio
from types import ModuleType
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from prefect_sora.cli import exits
from prefect_sora.cli.commands.making.clip import refuse_twins
from prefect_sora.cli.options import (
    SHARING,
    SHOWN,
    WHERE,
    Flag,
    MaxCost,
    Positive,
    Sharing,
    Shown,
    Where,
    Words,
    extra_fields,
)
from prefect_sora.cli.run import chosen, run_command, run_flow
from prefect_sora.cli.screen import Screen, image_lines, place, usd
from prefect_sora.handles import StoredImage
from prefect_sora.renders.environment import NamedProvider
from prefect_sora.requests.image import DEFAULT_MODEL, ImageRequest
from prefect_sora.servers.server import Server
from prefect_sora.store.records import Reserved


def image(
    prompt: str,
    *,
    edit: Words = None,
    mask: str | None = None,
    model: str = DEFAULT_MODEL,
    size: str | None = None,
    n: Annotated[int, Parameter(name=("-n", "--n"))] = 1,
    quality: str | None = None,
    style: str | None = None,
    background: str | None = None,
    format: Literal["png", "jpeg", "webp"] | None = None,
    compression: int | None = None,
    where: Where = WHERE,
    shared: Sharing = SHARING,
    max_cost: MaxCost = None,
    timeout: Positive | None = None,
    extra: Words = None,
    allow_unlisted: Flag = False,
    shown: Shown = SHOWN,
) -> int:
    """Draw pictures from a prompt, or change some, and keep them in the store.

    Args:
        prompt: What to show; with --edit, what to change.
        edit: Path or URL of a picture to change; may be repeated.
        mask: A PNG of the first picture's size, clear where it may change.
        model: The image model; "" lets a server that has only one choose.
        size: Pixels as WIDTHxHEIGHT, or auto.
        n: How many pictures.
        quality: Such as low, medium, high or auto.
        style: vivid or natural, of dall-e-3.
        background: transparent, opaque or auto; white or black where the model offers it.
        format: Of the files; without it the server's own, which is png at OpenAI.
        compression: In percent, of jpeg and webp.
        where: See above.
        shared: See above.
        max_cost: See above.
        timeout: Seconds that the server may take; without it 300.
        extra: KEY=VALUE, a further field that this server takes; may be repeated.
        allow_unlisted: Send what the catalogue says the model does not take.
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
            take=shared.take,
            extra=extra_fields(extra),
            allow_unlisted=allow_unlisted,
        )

        async def check(renderer: NamedProvider | None) -> None:
            if renderer is not None:
                await _check(request, renderer, where.store, shared, screen)

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
                where.store,
                images=images,
                scope=shared.scope,
                timeout_seconds=timeout,
                max_cost_usd=max_cost,
                **fields,
            )
            return drawn

        drawn = run_flow(
            screen,
            [chosen(where.provider)],
            where.store,
            call,
            check=check,
            prompt=prompt,
            phase="drawing",
        )
        screen.document({**drawn.model_dump(), "urls": drawn.urls})
        if screen.shown.quiet:
            for url in drawn.urls:
                screen.result(place(url))
            return exits.OK
        for line in image_lines(drawn):
            screen.result(line)
        return exits.OK

    return run_command(shown, body, where.store, where.provider)


async def _check(
    request: ImageRequest,
    provider: NamedProvider,
    store: str,
    shared: Sharing,
    screen: Screen,
) -> None:
    """Look at the request, its pictures and the store, before anything is sent."""
    from prefect_sora.renders.images.prepare import identify

    server = await asyncio.to_thread(provider.server)
    prepared = await identify(request, server, shared.scope or "")
    for warning in prepared.warnings:
        screen.warn(warning)

    def is_twin(reserved: Reserved, _: Server) -> bool:
        return reserved.request_digest == prepared.request_digest

    if not shared.anew:
        await refuse_twins(store, shared.scope, request.prompt, provider, is_twin)
    cost = None if prepared.usd_each is None else prepared.usd_each * request.n
    several = f" · {request.n} pictures" if request.n > 1 else ""
    screen.announce(
        request.title,
        what=f"{request.model or 'its own model'} · {request.size or 'its own size'}{several}",
        who=provider.label,
        cost="$0.00 (local)" if provider.is_local else usd(cost),
        into=place(store),
    )
