"""`prefect-sora image`: pictures from an image model."""

import asyncio
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from prefect_sora.cli import exits
from prefect_sora.cli.commands import pricing
from prefect_sora.cli.commands.making.asked import as_typed, extra_fields
from prefect_sora.cli.commands.making.preflight import refuse_over, refuse_twins
from prefect_sora.cli.options import (
    INTO,
    SHARING,
    SHOWN,
    Flag,
    Into,
    MaxCost,
    Positive,
    Prefect,
    Prompt,
    Sharing,
    Shown,
    Whole,
    Words,
)
from prefect_sora.cli.run import Making, chosen_by, make, run_command
from prefect_sora.cli.saved import NamedStore, store_named
from prefect_sora.cli.screen import Screen, place, usd
from prefect_sora.renders.environment import NamedProvider
from prefect_sora.requests.image import DEFAULT_MODEL, ImageRequest

if TYPE_CHECKING:
    from prefect_sora.cli.progress import Display
    from prefect_sora.handles import StoredImage
    from prefect_sora.servers.server import Server
    from prefect_sora.store.records import Reserved


def image(
    prompt: Prompt,
    *,
    edit: Words = None,
    mask: str | None = None,
    model: str = DEFAULT_MODEL,
    size: str | None = None,
    n: Annotated[Whole, Parameter(name=("-n", "--n"))] = 1,
    quality: str | None = None,
    style: str | None = None,
    background: str | None = None,
    format: Literal["png", "jpeg", "webp"] | None = None,
    compression: Whole | None = None,
    where: Into = INTO,
    shared: Sharing = SHARING,
    max_cost: MaxCost = None,
    timeout: Positive | None = None,
    extra: Words = None,
    allow_unlisted: Flag = False,
    prefect: Prefect = None,
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
        prefect: See above.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        request = as_typed(
            ImageRequest,
            "image",
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

        renderer, store = chosen_by(where), store_named(where.store)

        async def check(renderer: NamedProvider | None) -> None:
            if renderer is not None:
                cost = await _check(request, renderer, store, shared, screen)
                refuse_over(cost, max_cost, shared, "picture")
                pricing.agree(cost, shared.ask_above, max_cost)

        async def flow(flows: ModuleType, block: Any, folder: Any) -> "StoredImage":
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
                folder,
                images=images,
                scope=shared.scope,
                timeout_seconds=timeout,
                max_cost_usd=max_cost,
                **fields,
            )
            return drawn

        async def plainly(display: "Display") -> "StoredImage":
            from prefect_sora.cli.commands.making.plain import (  # which --help need not wait for
                Plainly,
                draw,
            )

            how = Plainly([renderer], store, display, shared.scope, max_cost, {})
            return await draw(request, how.steps(), timeout)

        making = Making(
            [renderer], store, flow, plainly, check=check, prompt=prompt, phase="drawing"
        )
        drawn = make(screen, making, prefect)
        screen.document({**drawn.model_dump(), "urls": drawn.urls})
        screen.kept_pictures(drawn)
        name = drawn.files[0].name
        from prefect_sora.cli.commands.making.files import copy_out  # which no refusal waits for

        copy_out(f"{drawn.folder}/{name}", store.folder, where.file, screen)
        return exits.OK

    return run_command(shown, body, where.store, where.provider, pays=True)


async def _check(
    request: ImageRequest,
    provider: NamedProvider,
    store: NamedStore,
    shared: Sharing,
    screen: Screen,
) -> float | None:
    """Look at the request, its pictures and the store; return what they cost in USD, if known."""
    from prefect_sora.renders.images.prepare import identify

    server = await asyncio.to_thread(provider.server)
    prepared = await identify(request, server, shared.scope or "")
    for warning in prepared.warnings:
        screen.warn(warning)

    def is_twin(reserved: "Reserved", _: "Server") -> bool:
        return reserved.request_digest == prepared.request_digest

    if not shared.anew:
        await refuse_twins(store, shared.scope, request.prompt, provider, is_twin)
    cost = None if prepared.usd_each is None else prepared.usd_each * request.n
    cost = 0.0 if provider.is_local else cost
    several = f" · {request.n} pictures" if request.n > 1 else ""
    screen.announce(
        request.title,
        what=f"{request.model or 'its own model'} · {request.size or 'its own size'}{several}",
        who=provider.label,
        cost="$0.00 (local)" if provider.is_local else usd(cost),
        into=place(store.name),
    )
    return cost
