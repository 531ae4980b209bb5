"""`prefect-sora remix`, `edit` and `extend`: a video made from a finished one."""

from typing import Annotated, Any

from cyclopts import Parameter

from prefect_sora.cli import signals
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
    Prompt,
    Sharing,
    Shown,
    Waiting,
    Whole,
    Words,
    extra_fields,
    find_source,
)
from prefect_sora.cli.run import chosen, run_command
from prefect_sora.cli.saved import store_named
from prefect_sora.cli.screen import Screen
from prefect_sora.handles import Kind
from prefect_sora.requests.video import derived
from prefect_sora.servers import video_models

Source = Annotated[
    str, Parameter(help="The finished video: a kept render's key, or the server's id of it.")
]
Fallback = Annotated[
    Words,
    Parameter(
        help="Another provider that may have the video, which is made by the one that has it; may "
        "be repeated."
    ),
]
Extra = Annotated[
    Words, Parameter(help="KEY=VALUE, a further field that this server takes; may be repeated.")
]


def remix(
    video: Source,
    prompt: Prompt,
    *,
    fallback: Fallback = None,
    where: Into = INTO,
    shared: Sharing = SHARING,
    max_cost: MaxCost = None,
    waiting: Waiting = WAITING,
    extra: Extra = None,
    prefect: Prefect = None,
    shown: Shown = SHOWN,
) -> int:
    """Make a new video of a finished one, with a change in it; the result is kept in the store.

    Args:
        video: See above.
        prompt: What to change.
        fallback: See above.
        where: See above.
        shared: See above.
        max_cost: See above.
        waiting: See above.
        extra: See above.
        prefect: See above.
        shown: See above.
    """
    own = {"extra": extra}
    how = {"waiting": waiting, "max_cost": max_cost, "prefect": prefect}
    return _made("remix", video, prompt, own, fallback, where, shared, how, shown)


def edit(
    video: Source,
    prompt: Prompt,
    *,
    fallback: Fallback = None,
    where: Into = INTO,
    shared: Sharing = SHARING,
    max_cost: MaxCost = None,
    waiting: Waiting = WAITING,
    extra: Extra = None,
    prefect: Prefect = None,
    shown: Shown = SHOWN,
) -> int:
    """Change something in a finished video; the result is kept in the store.

    Args:
        video: See above.
        prompt: What to change.
        fallback: See above.
        where: See above.
        shared: See above.
        max_cost: See above.
        waiting: See above.
        extra: See above.
        prefect: See above.
        shown: See above.
    """
    own = {"extra": extra}
    how = {"waiting": waiting, "max_cost": max_cost, "prefect": prefect}
    return _made("edit", video, prompt, own, fallback, where, shared, how, shown)


def extend(
    video: Source,
    prompt: Prompt,
    *,
    seconds: Annotated[Whole, Parameter(name=("--seconds", "--duration"))] = 8,
    fallback: Fallback = None,
    where: Into = INTO,
    shared: Sharing = SHARING,
    max_cost: MaxCost = None,
    waiting: Waiting = WAITING,
    extra: Extra = None,
    allow_unlisted: Flag = False,
    prefect: Prefect = None,
    shown: Shown = SHOWN,
) -> int:
    """Have a finished video go on; the result holds both and is kept in the store.

    Args:
        video: See above.
        prompt: What happens next.
        seconds: How many seconds are added: 4, 8, 12, 16 or 20.
        fallback: See above.
        where: See above.
        shared: See above.
        max_cost: See above.
        waiting: See above.
        extra: See above.
        allow_unlisted: Send what the catalogue says is not offered.
        prefect: See above.
        shown: See above.
    """
    own = {"extra": extra, "seconds": seconds, "allow_unlisted": allow_unlisted}
    how = {"waiting": waiting, "max_cost": max_cost, "prefect": prefect}
    return _made("extend", video, prompt, own, fallback, where, shared, how, shown)


def _made(
    kind: Kind,
    video: str,
    prompt: str,
    own: dict[str, Any],
    fallback: list[str] | None,
    where: Into,
    shared: Sharing,
    how: dict[str, Any],
    shown: Shown,
) -> int:
    def body(screen: Screen) -> int:
        fields = {**own, "extra": extra_fields(own["extra"])}
        derived(kind, prompt, video, take=shared.take, **fields)  # refused before all else
        if kind == "extend":
            video_models.check_extensions(1, own["seconds"], None, own["allow_unlisted"])
        store = store_named(where.store)
        video_id, kept = signals.run(lambda: find_source(video, store))
        if kind == "extend":
            length = kept.duration_seconds if kept else None
            video_models.check_extensions(1, own["seconds"], length, own["allow_unlisted"])
        providers = [chosen(where.provider, where.api_key), *map(chosen, fallback or [])]
        request = derived(kind, prompt, kept or video_id, take=shared.take, **fields)
        order = Order(request, tuple(providers), store, shared, source=kept, file=where.file, **how)
        return carry_out(order, screen)

    return run_command(shown, body, where.store, where.provider)
