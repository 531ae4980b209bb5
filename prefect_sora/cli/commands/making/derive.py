"""`prefect-sora remix`, `edit` and `extend`: a video made from a finished one."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

from cyclopts import Parameter

from prefect_sora.cli import signals
from prefect_sora.cli.commands.making.asked import extra_fields
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
    find_source,
)
from prefect_sora.cli.run import chosen, chosen_by, run_command
from prefect_sora.cli.saved import store_named
from prefect_sora.cli.screen import Screen
from prefect_sora.handles import Kind
from prefect_sora.requests.video import derived
from prefect_sora.servers import video_models

Source = Annotated[
    str, Parameter(help="The finished video: a kept render's key, or the server's id of it.")
]


@Parameter(name="*")
@dataclass(frozen=True)
class Deriving:
    """Who else may have the video, and how the new one is made."""

    fallback: Annotated[
        Words,
        Parameter(
            help="Another provider that may have the video, which is made by the one that has it; "
            "may be repeated."
        ),
    ] = None
    max_cost: MaxCost = None
    extra: Annotated[
        Words,
        Parameter(help="KEY=VALUE, a further field that this server takes; may be repeated."),
    ] = None
    prefect: Prefect = None


DERIVING: Final = Deriving()


def remix(
    video: Source,
    prompt: Prompt,
    *,
    deriving: Deriving = DERIVING,
    where: Into = INTO,
    shared: Sharing = SHARING,
    waiting: Waiting = WAITING,
    shown: Shown = SHOWN,
) -> int:
    """Make a new video of a finished one, with a change in it; the result is kept in the store.

    Args:
        video: See above.
        prompt: What to change.
        deriving: See above.
        where: See above.
        shared: See above.
        waiting: See above.
        shown: See above.
    """
    return _made("remix", video, prompt, {}, deriving, where, shared, waiting, shown)


def edit(
    video: Source,
    prompt: Prompt,
    *,
    deriving: Deriving = DERIVING,
    where: Into = INTO,
    shared: Sharing = SHARING,
    waiting: Waiting = WAITING,
    shown: Shown = SHOWN,
) -> int:
    """Change something in a finished video; the result is kept in the store.

    Args:
        video: See above.
        prompt: What to change.
        deriving: See above.
        where: See above.
        shared: See above.
        waiting: See above.
        shown: See above.
    """
    return _made("edit", video, prompt, {}, deriving, where, shared, waiting, shown)


def extend(
    video: Source,
    prompt: Prompt,
    *,
    seconds: Annotated[Whole, Parameter(name=("--seconds", "--duration"))] = 8,
    allow_unlisted: Flag = False,
    deriving: Deriving = DERIVING,
    where: Into = INTO,
    shared: Sharing = SHARING,
    waiting: Waiting = WAITING,
    shown: Shown = SHOWN,
) -> int:
    """Have a finished video go on; the result holds both and is kept in the store.

    Args:
        video: See above.
        prompt: What happens next.
        seconds: How many seconds are added: 4, 8, 12, 16 or 20.
        allow_unlisted: Send what the catalogue says is not offered.
        deriving: See above.
        where: See above.
        shared: See above.
        waiting: See above.
        shown: See above.
    """
    own = {"seconds": seconds, "allow_unlisted": allow_unlisted}
    return _made("extend", video, prompt, own, deriving, where, shared, waiting, shown)


def _made(
    kind: Kind,
    video: str,
    prompt: str,
    own: dict[str, Any],
    deriving: Deriving,
    where: Into,
    shared: Sharing,
    waiting: Waiting,
    shown: Shown,
) -> int:
    def body(screen: Screen) -> int:
        fields = {**own, "extra": extra_fields(deriving.extra)}
        derived(kind, prompt, video, take=shared.take, **fields)  # refused before all else
        if kind == "extend":
            video_models.check_extensions(1, own["seconds"], None, own["allow_unlisted"])
        store = store_named(where.store)
        video_id, kept = signals.run(lambda: find_source(video, store))
        if kind == "extend":
            length = kept.duration_seconds if kept else None
            video_models.check_extensions(1, own["seconds"], length, own["allow_unlisted"])
        others = map(chosen, deriving.fallback or [])
        order = Order(
            derived(kind, prompt, kept or video_id, take=shared.take, **fields),
            (chosen_by(where), *others),
            store,
            shared,
            waiting,
            deriving.max_cost,
            source=kept,
            prefect=deriving.prefect,
            file=where.file,
        )
        return carry_out(order, screen)

    return run_command(shown, body, where.store, where.provider, pays=True)
