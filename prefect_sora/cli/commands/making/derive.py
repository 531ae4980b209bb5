"""`prefect-sora edit` and `extend`: a video made from a finished one, as a Prefect flow here."""

from prefect_sora.cli import signals
from prefect_sora.cli.commands.making.clip import Order, carry_out
from prefect_sora.cli.options import (
    SHARING,
    SHOWN,
    WAITING,
    WHERE,
    Flag,
    Sharing,
    Shown,
    Waiting,
    Where,
    find_source,
)
from prefect_sora.cli.run import chosen, run_command
from prefect_sora.cli.screen import Screen
from prefect_sora.requests.video import derived
from prefect_sora.servers import video_models


def edit(
    video: str,
    prompt: str,
    *,
    where: Where = WHERE,
    shared: Sharing = SHARING,
    waiting: Waiting = WAITING,
    shown: Shown = SHOWN,
) -> int:
    """Change something in a finished video; the result is kept in the store.

    Args:
        video: The finished video: the server's id of it, or a kept render's key.
        prompt: What to change.
        where: See above.
        shared: See above.
        waiting: See above.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        video_id, kept = signals.run(lambda: find_source(video, where.store))
        request = derived("edit", prompt, kept or video_id, take=shared.take)
        order = Order(request, (chosen(where.provider),), where.store, shared, waiting, source=kept)
        return carry_out(order, screen)

    return run_command(shown, body, where.store, where.provider)


def extend(
    video: str,
    prompt: str,
    *,
    seconds: int = 8,
    where: Where = WHERE,
    shared: Sharing = SHARING,
    waiting: Waiting = WAITING,
    allow_unlisted: Flag = False,
    shown: Shown = SHOWN,
) -> int:
    """Have a finished video go on; the result holds both and is kept in the store.

    Args:
        video: The finished video: the server's id of it, or a kept render's key.
        prompt: What happens next.
        seconds: How many seconds are added: 4, 8, 12, 16 or 20.
        where: See above.
        shared: See above.
        waiting: See above.
        allow_unlisted: Send what the catalogue says is not offered.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        video_id, kept = signals.run(lambda: find_source(video, where.store))
        length = kept.duration_seconds if kept else None
        video_models.check_extensions(1, seconds, length, allow_unlisted)
        request = derived(
            "extend",
            prompt,
            kept or video_id,
            take=shared.take,
            seconds=seconds,
            allow_unlisted=allow_unlisted,
        )
        order = Order(request, (chosen(where.provider),), where.store, shared, waiting, source=kept)
        return carry_out(order, screen)

    return run_command(shown, body, where.store, where.provider)
