"""`prefect-sora image`: pictures from an image model, as a Prefect flow in this process."""

import asyncio
from dataclasses import dataclass
from signal import SIGINT
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from prefect_sora.cli import exits, prefect_side, preflight, providers, stopping
from prefect_sora.cli.fields import fields_of
from prefect_sora.cli.interruption import what_goes_on
from prefect_sora.cli.options import (
    DEFAULT_STORE,
    Flag,
    MaxCost,
    Positive,
    Provider,
    Shown,
    Store,
    Words,
)
from prefect_sora.cli.progress import Display
from prefect_sora.cli.screen import Screen, image_lines, place, run_command, usd
from prefect_sora.handles import StoredImage
from prefect_sora.images.requests import DEFAULT_MODEL, ImageRequest
from prefect_sora.records import Reserved
from prefect_sora.server import Server


@dataclass(frozen=True)
class _Order:
    request: ImageRequest
    store: str
    scope: str | None
    anew: bool
    timeout: float | None
    max_cost: float | None


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
    scope: str | None = None,
    max_cost: MaxCost = None,
    timeout: Positive | None = None,
    extra: Words = None,
    allow_unlisted: Flag = False,
    anew: Flag = False,
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
        scope: Runs that name one scope share their renders; without it, each is new.
        max_cost: See above.
        timeout: Seconds that the server may take; without it 300.
        extra: KEY=VALUE, a further field that this server takes; may be repeated.
        allow_unlisted: Send what the catalogue says the model does not take.
        anew: Pay for another one even if an unfinished one is in the store.
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
        order = _Order(request, store, scope, anew, timeout, max_cost)
        drawn = _drawn(order, providers.choose(provider), screen)
        screen.document({**drawn.model_dump(), "urls": drawn.urls})
        if screen.shown.quiet:
            for url in drawn.urls:
                screen.result(place(url))
            return exits.OK
        for line in image_lines(drawn):
            screen.result(line)
        return exits.OK

    return run_command(shown, body, store, provider)


def _drawn(order: _Order, provider: providers.Provider, screen: Screen) -> StoredImage:
    provider.start()
    if not provider.needs_prefect:
        asyncio.run(_check(order, provider, screen))
    try:
        with Display(screen) as display:
            flows = prefect_side.load(display, screen.shown.debug)
            if provider.needs_prefect:
                asyncio.run(_check(order, provider, screen))
            block = provider.block()
            display.phase("drawing")
            return stopping.run(lambda: _flow(flows, order, block))
    except (stopping.InterruptedBySignal, KeyboardInterrupt) as stop:
        message = asyncio.run(what_goes_on(order.store, provider.name, order.request.prompt))
        signum = stop.signum if isinstance(stop, stopping.InterruptedBySignal) else SIGINT
        raise stopping.InterruptedBySignal(signum, message) from None


async def _check(order: _Order, provider: providers.Provider, screen: Screen) -> None:
    """Look at the request, its pictures and the store, before anything is sent."""
    from prefect_sora.images.wishes import identify

    server = await asyncio.to_thread(provider.server)
    wish = await identify(order.request, server, order.scope or "")
    for warning in wish.warnings:
        screen.warn(warning)

    def is_twin(reserved: Reserved, _: Server) -> bool:
        return reserved.request_digest == wish.request_digest

    if not order.anew:
        prompt = order.request.prompt
        await preflight.refuse_twins(order.store, order.scope, prompt, provider, is_twin)
    cost = None if wish.usd_each is None else wish.usd_each * order.request.n
    screen.note(order.request.title, style="bold")
    what = f"{order.request.model or 'its own model'} · {order.request.size or 'its own size'}"
    for name, value in {
        "what": what + (f" · {order.request.n} pictures" if order.request.n > 1 else ""),
        "who": provider.label,
        "cost": "$0.00 (local)" if provider.is_local else usd(cost),
        "into": place(order.store),
    }.items():
        screen.note(f"  {name:<5} {value}")


async def _flow(flows: Any, order: _Order, block: Any) -> StoredImage:
    request = order.request
    drawn: StoredImage = await flows.text_to_image(
        request.prompt,
        block,
        order.store,
        **request.model_dump(
            include={
                *("model", "size", "n", "quality", "style", "background", "output_format"),
                *("output_compression", "mask", "take", "extra", "allow_unlisted"),
            }
        ),
        images=[str(source) for source in request.images] or None,
        scope=order.scope,
        timeout_seconds=order.timeout,
        max_cost_usd=order.max_cost,
    )
    return drawn
