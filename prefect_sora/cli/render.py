"""`prefect-sora render`: one clip, as a Prefect flow in this process."""

import asyncio
from dataclasses import replace
from signal import SIGINT
from typing import Annotated, Any, Final, Literal, cast

from cyclopts import Parameter

from prefect_sora import catalogue, estimates
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
from prefect_sora.cli.preflight import Order
from prefect_sora.cli.progress import Display
from prefect_sora.cli.screen import Screen, kept_lines, place, run_command, usd
from prefect_sora.errors import InvalidRequestError
from prefect_sora.handles import StoredVideo
from prefect_sora.images.requests import DEFAULT_MODEL
from prefect_sora.requests import DERIVED, VideoRequest


def render(
    prompt: str | None = None,
    *,
    shot: str | None = None,
    template: str | None = None,
    provider: Provider = None,
    fallback: Words = None,
    model: str = "sora-2",
    size: str | None = None,
    aspect_ratio: str | None = None,
    seconds: int | None = None,
    image: str | None = None,
    keyframe: str | None = None,
    image_model: str = DEFAULT_MODEL,
    fit: Literal["cover", "contain", "exact"] = "cover",
    remix: Annotated[str | None, Parameter(negative="")] = None,
    store: Store = DEFAULT_STORE,
    take: int = 1,
    scope: str | None = None,
    max_cost: MaxCost = None,
    timeout: Positive | None = None,
    stall: Positive | None = None,
    poll_interval: Positive = 5.0,
    extra: Words = None,
    allow_unlisted: Flag = False,
    anew: Flag = False,
    shown: Shown | None = None,
) -> int:
    """Render a prompt into a video that is kept in the store.

    Args:
        prompt: What to show; with --remix, what to change.
        shot: YAML or JSON file of a shot, field by field, in place of the prompt.
        template: Path or URL of a template of your own for that shot.
        provider: See above.
        fallback: Who renders where the provider has certainly not; named as there, may be repeated.
        model: The video model; "" lets a server that has only one choose.
        size: Pixels as WIDTHxHEIGHT, or 720p or 1080p.
        aspect_ratio: 16:9, 9:16, 1:1, 16:10 or 10:16, in place of a size.
        seconds: Length of the clip; 8 where nothing is said.
        image: Path or URL of the picture to start from.
        keyframe: What the first frame shows: an image model of the provider draws it first.
        image_model: That model; "" lets a server that has only one choose.
        fit: How a picture of another size is made to fit.
        remix: Id of the finished video to change.
        store: See above.
        take: Count it up to render the same request once more in one scope.
        scope: Runs that name one scope share their renders; without it, each is new.
        max_cost: See above.
        timeout: Seconds to wait for the video; past them it stays resumable. Without it 600, and
            more for clips longer than 8 s, larger than 720p, or of a pro model.
        stall: Seconds that status and progress may stay as they are, in a queue too.
        poll_interval: Shortest pause between two polls, in seconds.
        extra: KEY=VALUE, a further field that this server takes; may be repeated.
        allow_unlisted: Send what the catalogue says the model does not offer.
        anew: Pay for another one even if an unfinished one is in the store.
        shown: See above.
    """
    given = {"size": size, "aspect_ratio": aspect_ratio, "seconds": seconds, "image": image}
    given["keyframe"] = keyframe

    def body(screen: Screen) -> int:
        text = asyncio.run(_text(prompt, shot, template))
        if image is not None and keyframe is not None:
            raise InvalidRequestError(
                "--image and --keyframe are both given, and a video has one first frame.",
                next_step="Give one of them; nothing was sent.",
            )
        request = (
            _remix(text, remix, take, given, extra)
            if remix is not None
            else VideoRequest.of(
                prompt=text,
                model=model or None,
                size=size,
                aspect_ratio=aspect_ratio,
                seconds=8 if seconds is None else seconds,
                reference=image,
                fit=fit,
                take=take,
                extra=fields_of(extra),
                allow_unlisted=allow_unlisted,
            )
        )
        waiting = {
            "timeout_seconds": timeout,
            "poll_interval_seconds": poll_interval,
            "stall_seconds": stall,
            "max_cost_usd": max_cost,
        }
        others = tuple(providers.choose(name) for name in fallback or [])
        order = Order(request, store, scope, anew, others=others)
        if keyframe is not None:
            order = replace(order, keyframe=keyframe, image_model=image_model or None)
        return carry_out(order, providers.choose(provider), waiting, screen)

    return run_command(shown, body, store, provider)


def carry_out(
    order: Order, provider: providers.Provider, waiting: dict[str, Any], screen: Screen
) -> int:
    """Render an order, and tell what came of it."""
    video = _rendered(order, provider, waiting, screen)
    screen.document(video.model_dump())
    _tell(screen, video)
    return exits.OK


def _rendered(
    order: Order, provider: providers.Provider, waiting: dict[str, Any], screen: Screen
) -> StoredVideo:
    # The renderer takes a second to start: before Prefect does, and beside it.
    provider.start()
    hashed = asyncio.run(preflight.check(order, provider, screen.warn))
    _announce(screen, order, provider)
    try:
        with Display(screen) as display:
            flows = prefect_side.load(display, screen.shown.debug)
            if provider.needs_prefect and not order.others:
                for warning in catalogue.check(order.request, provider.server().service):
                    screen.warn(warning)
            if provider.needs_prefect:
                asyncio.run(preflight.refuse_a_twin(order, provider, hashed))
            blocks = [each.block() for each in (provider, *order.others)]
            block = blocks if order.others else blocks[0]
            display.phase("submitting")

            async def work() -> StoredVideo:
                with prefect_side.shown_on(display):
                    return await _flow(flows, order, block, waiting)

            return stopping.run(work)
    except (stopping.InterruptedBySignal, KeyboardInterrupt) as stop:
        # A remix keeps its source, too, under a name of its own: then all are looked at.
        prompt = None if order.request.kind in DERIVED else order.request.prompt
        message = asyncio.run(what_goes_on(order.store, provider.name, prompt))
        signum = stop.signum if isinstance(stop, stopping.InterruptedBySignal) else SIGINT
        raise stopping.InterruptedBySignal(signum, message) from None


async def _flow(flows: Any, order: Order, block: Any, waiting: dict[str, Any]) -> StoredVideo:
    request = order.request
    common = {
        "provider": block,
        "store": order.store,
        "scope": order.scope,
        "take": request.take,
        **waiting,
    }
    if request.kind in DERIVED:
        return await _derived(flows, order, common)
    common |= {
        "model": request.model,
        "size": request.size,
        "seconds": request.seconds,
        "extra": request.extra,
        "allow_unlisted": request.allow_unlisted,
    }
    if order.keyframe is not None:
        return cast(
            StoredVideo,
            await flows.keyframe_to_video(
                request.prompt, order.keyframe, image_model=order.image_model, **common
            ),
        )
    if request.reference is None:
        made: StoredVideo = await flows.text_to_video(request.prompt, **common)
    else:
        made = await flows.image_to_video(
            request.prompt, request.reference, fit=request.fit, **common
        )
    return made


async def _derived(flows: Any, order: Order, common: dict[str, Any]) -> StoredVideo:
    request = order.request
    common["source"] = order.source or request.source_video_id
    match request.kind:
        case "edit":
            clips = await flows.edit_chain(edits=[request.prompt], **common)
        case "extend":
            common |= {
                "extension_seconds": request.seconds,
                "allow_unlisted": request.allow_unlisted,
            }
            clips = await flows.extend_chain(extensions=[request.prompt], **common)
        case _:
            clips = await flows.remix_chain(remixes=[request.prompt], **common)
    last: StoredVideo = clips[-1]
    return last


_NOUNS: Final = {"remix": "a remix", "edit": "an edit", "extend": "an extension"}


async def _text(prompt: str | None, shot: str | None, template: str | None) -> str:
    """What the words say, of which there are those of PROMPT or those of --shot."""
    if (prompt is None) == (shot is None):
        given = "are both given" if prompt is not None else "are both missing"
        raise InvalidRequestError(
            f"PROMPT and --shot FILE {given}.", next_step="Give one of them; nothing was sent."
        )
    if prompt is not None and template is None:
        return prompt
    from prefect_sora.prompts import read_shot, written  # what --help needs not wait for

    return await written(await read_shot(shot) if shot else str(prompt), template)


def _remix(
    prompt: str, source: str, take: int, given: dict[str, Any], extra: list[str] | None
) -> VideoRequest:
    unused = [name for name, value in {**given, "extra": extra}.items() if value is not None]
    if unused:
        words = ", ".join(f"--{name.replace('_', '-')}" for name in unused)
        raise InvalidRequestError(
            f"A remix takes its size, length and picture from its source: {words} cannot be given.",
            next_step="Leave it out; nothing was sent.",
        )
    return VideoRequest.of(
        prompt=prompt, kind="remix", model=None, source_video_id=source, take=take
    )


def _announce(screen: Screen, order: Order, provider: providers.Provider) -> None:
    request = order.request
    if request.kind in DERIVED:
        what = f"{_NOUNS[request.kind]} of video {request.source_video_id}"
        what += f" · {request.seconds} s more" if request.kind == "extend" else ""
    else:
        what = f"{request.model or 'its own model'} · {request.size} · {request.seconds} s"
    what += f" · take {request.take}" if request.take > 1 else ""
    cost = "$0.00 (local)" if provider.is_local else usd(_price(request, provider))
    kept = place(order.store) if _is_path(order.store) else order.store
    screen.note(request.title, style="bold")
    who = " · else ".join(each.label for each in (provider, *order.others))
    for name, value in {"what": what, "who": who, "cost": cost, "into": kept}.items():
        screen.note(f"  {name:<5} {value}")


def _price(request: VideoRequest, provider: providers.Provider) -> float | None:
    if provider.needs_prefect:  # its prices are in the block, which is not loaded yet
        return None
    return estimates.price(request, provider.server()).usd


def _is_path(store: str) -> bool:
    return "://" not in store or store.startswith("file://")


def _tell(screen: Screen, video: StoredVideo) -> None:
    path, *facts = kept_lines(video)
    if screen.shown.quiet:
        screen.result(place(video.url))
        return
    screen.result(f"✓ {path}", style="green")
    for fact in facts:
        screen.result(f"  {fact}")
