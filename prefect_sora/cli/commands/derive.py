"""`prefect-sora edit` and `extend`: a video made from a finished one, as a Prefect flow here."""

from prefect_sora import catalogue
from prefect_sora.cli import stopping
from prefect_sora.cli.clip import Order, carry_out
from prefect_sora.cli.options import (
    DEFAULT_STORE,
    Anew,
    Flag,
    Provider,
    Scope,
    Shown,
    Store,
    Waiting,
    find_source,
)
from prefect_sora.cli.run import chosen, run_command
from prefect_sora.cli.screen import Screen
from prefect_sora.requests import VideoRequest


def edit(
    video: str,
    prompt: str,
    *,
    provider: Provider = None,
    store: Store = DEFAULT_STORE,
    take: int = 1,
    scope: Scope = None,
    waiting: Waiting | None = None,
    anew: Anew = False,
    shown: Shown | None = None,
) -> int:
    """Change something in a finished video; the result is kept in the store.

    Args:
        video: The finished video: the server's id of it, or a kept render's key.
        prompt: What to change.
        provider: See above; the server that has the video.
        store: See above.
        take: Count it up to render the same once more in one scope.
        scope: See above.
        waiting: See above.
        anew: See above.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        video_id, kept = stopping.run(lambda: find_source(video, store))
        request = VideoRequest.of(
            prompt=prompt,
            kind="edit",
            model=kept.model if kept else None,
            source_video_id=video_id,
            take=take,
        )
        order = Order(
            request, (chosen(provider),), store, scope, anew, waiting or Waiting(), source=kept
        )
        return carry_out(order, screen)

    return run_command(shown, body, store, provider)


def extend(
    video: str,
    prompt: str,
    *,
    provider: Provider = None,
    seconds: int = 8,
    store: Store = DEFAULT_STORE,
    take: int = 1,
    scope: Scope = None,
    waiting: Waiting | None = None,
    allow_unlisted: Flag = False,
    anew: Anew = False,
    shown: Shown | None = None,
) -> int:
    """Have a finished video go on; the result holds both and is kept in the store.

    Args:
        video: The finished video: the server's id of it, or a kept render's key.
        prompt: What happens next.
        provider: See above; the server that has the video.
        seconds: How many seconds are added: 4, 8, 12, 16 or 20.
        store: See above.
        take: Count it up to render the same once more in one scope.
        scope: See above.
        waiting: See above.
        allow_unlisted: Send what the catalogue says is not offered.
        anew: See above.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        video_id, kept = stopping.run(lambda: find_source(video, store))
        length = kept.duration_seconds if kept else None
        catalogue.check_extensions(1, seconds, length, allow_unlisted)
        request = VideoRequest.of(
            prompt=prompt,
            kind="extend",
            model=kept.model if kept else None,
            source_video_id=video_id,
            take=take,
            seconds=seconds,
            allow_unlisted=allow_unlisted,
        )
        order = Order(
            request, (chosen(provider),), store, scope, anew, waiting or Waiting(), source=kept
        )
        return carry_out(order, screen)

    return run_command(shown, body, store, provider)
