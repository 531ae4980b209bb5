"""`prefect-sora render`: one clip."""

import asyncio
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from prefect_sora.cli import signals
from prefect_sora.cli.commands.making.asked import as_typed, extra_fields
from prefect_sora.cli.commands.making.clip import Order, carry_out
from prefect_sora.cli.options import (
    INTO,
    SHARING,
    SHOWN,
    WAITING,
    Flag,
    Into,
    MaxCost,
    Prefect,
    Seconds,
    Sharing,
    Shown,
    Size,
    Waiting,
    Words,
    find_source,
)
from prefect_sora.cli.run import chosen, chosen_by, run_command
from prefect_sora.cli.saved import store_named
from prefect_sora.cli.screen import Screen
from prefect_sora.errors import InvalidRequestError
from prefect_sora.handles import StoredVideo
from prefect_sora.requests.image import DEFAULT_MODEL
from prefect_sora.requests.video import VideoRequest, derived


def render(
    prompt: Annotated[str | None, Parameter(name=("--prompt", "-p"))] = None,
    *,
    shot: str | None = None,
    template: str | None = None,
    fallback: Words = None,
    model: Annotated[str, Parameter(name=("--model", "--sora-model"))] = "sora-2",
    size: Size = None,
    aspect_ratio: str | None = None,
    seconds: Seconds = None,
    image: str | None = None,
    keyframe: str | None = None,
    image_model: str = DEFAULT_MODEL,
    fit: Literal["cover", "contain", "exact"] = "cover",
    remix: Annotated[str | None, Parameter(negative="")] = None,
    where: Into = INTO,
    shared: Sharing = SHARING,
    max_cost: MaxCost = None,
    waiting: Waiting = WAITING,
    extra: Words = None,
    allow_unlisted: Flag = False,
    prefect: Prefect = None,
    shown: Shown = SHOWN,
) -> int:
    """Render a prompt into a video that is kept in the store.

    Each call renders, and pays, anew. With --scope NAME a repeat of it costs nothing.

    Args:
        prompt: What to show; with --remix, what to change.
        shot: YAML or JSON file of a shot, field by field, in place of the prompt.
        template: How a shot becomes a prompt: a name of `prefect-sora templates`, or a path or URL
            of your own.
        fallback: Next provider to try if the first surely rendered nothing; may be repeated.
        model: The video model; "" lets a server that has only one choose.
        size: Pixels as WIDTHxHEIGHT, or 720p, 1024p or 1080p.
        aspect_ratio: 16:9, 9:16, 1:1, 16:10 or 10:16, in place of a size.
        seconds: Length of the clip; 8 where nothing is said.
        image: Path or URL of the picture to start from.
        keyframe: What the first frame shows: an image model of the provider draws it first.
        image_model: The model that draws the --keyframe; "" lets a server that has only one choose.
        fit: How a picture of another size is made to fit.
        remix: The finished video to change, by its render's key or the server's id; like `remix`.
        where: See above.
        shared: See above.
        max_cost: See above.
        waiting: See above.
        extra: KEY=VALUE, a further field that this server takes; may be repeated.
        allow_unlisted: Send what the catalogue says the model does not offer.
        prefect: See above.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        text = asyncio.run(_text(prompt, shot, template))
        if image is not None and keyframe is not None:
            raise InvalidRequestError(
                "--image and --keyframe are both given, and a video has one first frame.",
                next_step="Give one of them.",
            )
        source = None
        if remix is not None:
            store = store_named(where.store)
            given: dict[str, Any] = {"size": size, "aspect_ratio": aspect_ratio, "seconds": seconds}
            given |= {"image": image, "keyframe": keyframe}
            video_id, source = signals.run(lambda: find_source(remix, store))
            request = _remix(text, source or video_id, shared.take, extra_fields(extra), given)
        else:
            request = as_typed(
                VideoRequest,
                "render",
                prompt=text,
                model=model or None,
                size=size,
                aspect_ratio=aspect_ratio,
                seconds=8 if seconds is None else seconds,
                reference=image,
                fit=fit,
                take=shared.take,
                extra=extra_fields(extra),
                allow_unlisted=allow_unlisted,
            )
        providers = (
            chosen_by(where),
            *(chosen(name) for name in fallback or []),
        )
        store = store_named(where.store)
        order = Order(
            request,
            providers,
            store,
            shared,
            waiting,
            max_cost,
            source=source,
            keyframe=keyframe,
            image_model=(image_model or None) if keyframe is not None else None,
            prefect=prefect,
            file=where.file,
        )
        return carry_out(order, screen)

    return run_command(shown, body, where.store, where.provider, pays=True)


async def _text(prompt: str | None, shot: str | None, template: str | None) -> str:
    """What the words say, of which there are those of PROMPT or those of --shot."""
    if (prompt is None) == (shot is None):
        given = "are both given" if prompt is not None else "are both missing"
        raise InvalidRequestError(f"PROMPT and --shot FILE {given}.", next_step="Give one of them.")
    if prompt is not None and template is None:
        return prompt
    from prefect_sora.requests.prompts import read_shot, written  # what --help needs not wait for

    return await written(await read_shot(shot) if shot else str(prompt), template)


def _remix(
    prompt: str, source: StoredVideo | str, take: int, extra: dict[str, Any], given: dict[str, Any]
) -> VideoRequest:
    unused = [name for name, value in given.items() if value is not None]
    if unused:
        words = ", ".join(f"--{name.replace('_', '-')}" for name in unused)
        raise InvalidRequestError(
            f"A remix takes its size, length and picture from its source: {words} cannot be given.",
            next_step="Leave it out.",
        )
    return derived("remix", prompt, source, take=take, extra=extra)
