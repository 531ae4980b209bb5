"""`prefect-sora extend`: a video made from a finished one, as a Prefect flow in this process."""

from prefect_sora import catalogue
from prefect_sora.cli import providers, stopping
from prefect_sora.cli.options import DEFAULT_STORE, Flag, Positive, Provider, Shown, Store
from prefect_sora.cli.preflight import Order
from prefect_sora.cli.render import carry_out
from prefect_sora.cli.screen import Screen, run_command
from prefect_sora.cli.sources import find_source
from prefect_sora.requests import VideoRequest


def extend(
    video: str,
    prompt: str,
    *,
    provider: Provider = None,
    seconds: int = 8,
    store: Store = DEFAULT_STORE,
    take: int = 1,
    scope: str | None = None,
    timeout: Positive | None = None,
    stall: Positive | None = None,
    poll_interval: Positive = 5.0,
    allow_unlisted: Flag = False,
    anew: Flag = False,
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
        scope: Runs that name one scope share their renders; without it, each is new.
        timeout: Seconds to wait for the video; past them it stays resumable.
        stall: Seconds that status and progress may stay as they are, in a queue too.
        poll_interval: Shortest pause between two polls, in seconds.
        allow_unlisted: Send what the catalogue says is not offered.
        anew: Pay for another one even if an unfinished one is in the store.
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
        waiting = {
            "timeout_seconds": timeout,
            "poll_interval_seconds": poll_interval,
            "stall_seconds": stall,
        }
        order = Order(request, store, scope, anew, kept)
        return carry_out(order, providers.choose(provider), waiting, screen)

    return run_command(shown, body, store, provider)
