"""`prefect-sora edit`: a video made from a finished one, as a Prefect flow in this process."""

from prefect_sora.cli import providers, stopping
from prefect_sora.cli.options import DEFAULT_STORE, Flag, Positive, Provider, Shown, Store
from prefect_sora.cli.preflight import Order
from prefect_sora.cli.render import carry_out
from prefect_sora.cli.screen import Screen, run_command
from prefect_sora.cli.sources import find_source
from prefect_sora.requests import VideoRequest


def edit(
    video: str,
    prompt: str,
    *,
    provider: Provider = None,
    store: Store = DEFAULT_STORE,
    take: int = 1,
    scope: str | None = None,
    timeout: Positive | None = None,
    stall: Positive | None = None,
    poll_interval: Positive = 5.0,
    anew: Flag = False,
    shown: Shown | None = None,
) -> int:
    """Change something in a finished video; the result is kept in the store.

    Args:
        video: The finished video: the server's id of it, or a kept render's key.
        prompt: What to change.
        provider: See above; the server that has the video.
        store: See above.
        take: Count it up to render the same once more in one scope.
        scope: Runs that name one scope share their renders; without it, each is new.
        timeout: Seconds to wait for the video; past them it stays resumable.
        stall: Seconds that status and progress may stay as they are, in a queue too.
        poll_interval: Shortest pause between two polls, in seconds.
        anew: Pay for another one even if an unfinished one is in the store.
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
        waiting = {
            "timeout_seconds": timeout,
            "poll_interval_seconds": poll_interval,
            "stall_seconds": stall,
        }
        order = Order(request, store, scope, anew, kept)
        return carry_out(order, providers.choose(provider), waiting, screen)

    return run_command(shown, body, store, provider)
