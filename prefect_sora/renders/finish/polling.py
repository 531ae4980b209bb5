"""Polling: who waits for which video, at which pace, and is told what is new of it."""

import asyncio
import inspect
import logging
import math
from collections.abc import Awaitable, Callable
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Final

from prefect_sora.errors import (
    RenderStalledError,
    RenderTimeoutError,
    SoraError,
    VideoNotFoundError,
)
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.handles import Status
from prefect_sora.limits import Limits, limits
from prefect_sora.servers.not_found import ROUTE_ALIKE, Absence
from prefect_sora.servers.protocol.video_object import Video

log = logging.getLogger(__name__)

OnProgress = Callable[[Video], Awaitable[object] | object]

FINAL: Final[frozenset[Status]] = frozenset(
    {"completed", "failed", "cancelled", "deleted", "expired"}
)

GROWTH: Final = 1.25
"""How much longer each pause is than the one before. Ours."""
BACKOFF_GROWTH: Final = 1.5
"""How much longer each pause is after failures. Ours."""


@dataclass(eq=False)
class Waiter:
    """One who waits for one video, when to ask for it next, and what came in.

    It keeps the limits of its own call, whoever asks for it.
    """

    video_id: str
    interval_s: float
    asked_interval_s: float
    due: float
    absence: Absence
    trusts_hints: bool = False
    inbox: asyncio.Queue[Video | Exception] = field(default_factory=asyncio.Queue)
    ends_at: float = math.inf
    last_look: float = math.inf
    seen: Video | None = None
    asking: asyncio.Task[None] | None = None
    failures: int = 0
    trouble: SoraError | None = None
    within: Limits = field(default_factory=limits)

    def pause(self, hint_s: float | None, now: float) -> None:
        """Set when to ask next: after a growing pause, or the server's own where it is longer."""
        if hint_s is not None:
            self.put_off(min(hint_s, self.within.hint_max_seconds), now)
            return
        self.put_off(self.interval_s, now)
        ceiling = max(self.within.poll_max_seconds, self.asked_interval_s)
        self.interval_s = min(self.interval_s * GROWTH, ceiling)

    def put_off(self, pause_s: float, now: float) -> None:
        """Ask after this pause: sooner where time runs out, but never sooner than was asked for."""
        left = self.last_look - now
        longest = left if left > 0 else (self.ends_at - now) / 2
        self.due = now + max(self.shortest_s, min(pause_s, longest))

    @property
    def shortest_s(self) -> float:
        """The shortest pause between two questions."""
        return self.within.poll_min_seconds if self.trusts_hints else self.asked_interval_s


def tell(waiter: Waiter, video: Video, hint_s: float | None) -> None:
    """Hand a waiter what the server says of its video."""
    waiter.failures, waiter.trouble = 0, None
    waiter.pause(hint_s, asyncio.get_running_loop().time())
    waiter.inbox.put_nowait(video)


def miss(waiter: Waiter, error: VideoNotFoundError) -> None:
    """Ask again for a job that was not known; end its wait where that may be believed."""
    now = asyncio.get_running_loop().time()
    absence, waiter.trouble = waiter.absence, error
    if absence.missed(now):
        error.paid = "yes"
        error.message += f" All {absence.answers} answers of {absence.lasting_s:g} s said so."
        error.advise(
            "Check the id and that this is its server.",
            NextStep("resubmit", "Servers that keep jobs in memory forget them on a restart:"),
        )
        waiter.inbox.put_nowait(error)
    waiter.put_off(min(waiter.asked_interval_s, absence.pace_s), now)


def refuse(waiter: Waiter, error: SoraError) -> None:
    """End a wait with an error."""
    # A copy each: the error is about this waiter's video.
    waiter.inbox.put_nowait(copy(error).about(video_id=waiter.video_id, paid="yes"))


def backoff(asked_interval_s: float, failures: int, error: SoraError, within: Limits) -> float:
    """Say how long to pause after so many failures: never less than was asked for."""
    pause = asked_interval_s * BACKOFF_GROWTH ** min(failures, 12)
    pause = max(asked_interval_s, min(pause, within.backoff_max_seconds))
    return max(pause, min(getattr(error, "retry_after_s", None) or 0.0, within.hint_max_seconds))


async def follow(
    waiter: Waiter, on_progress: OnProgress | None, stall_seconds: float | None = None
) -> Video:
    """Pass on what is new, in the waiter's own task, until the job is final.

    Raises:
        RenderStalledError: It was seen in one and the same state for `stall_seconds`.
    """
    clock = asyncio.get_running_loop().time
    moved_at = clock()
    while True:
        news = await waiter.inbox.get()
        if isinstance(news, Exception):
            raise news
        before, waiter.seen = waiter.seen, news
        if before is None or (before.raw_status, before.progress) != (
            news.raw_status,
            news.progress,
        ):
            moved_at = clock()
            if news.status == "unknown":
                log.warning("Video %s: %r is no status we know; waiting", news.id, news.raw_status)
            await _call(on_progress, news)
        if news.status in FINAL:
            return news
        # Only the server's answers count here: while it does not answer, the deadline does.
        if stall_seconds is not None and clock() - moved_at >= stall_seconds:
            raise RenderStalledError(
                f"Nothing has moved for {clock() - moved_at:.3g} s: {_standing(waiter)}.",
                video_id=waiter.video_id,
                paid="yes",
                next_step=(
                    "Where the server has lost it, a new take renders, and pays for, another.",
                    NextStep("wait"),
                ),
            )


def timed_out(waiter: Waiter, limit_s: float, trouble: SoraError | None) -> RenderTimeoutError:
    """Say where a job stood when its waiter's deadline passed."""
    trouble = waiter.trouble or trouble
    said = f" The server's last trouble: {trouble.message}" if trouble else ""
    said += f" {ROUTE_ALIKE}" if waiter.absence.contradicted else ""
    return RenderTimeoutError(
        f"Not finished within {limit_s:g} s: {_standing(waiter)}.{said}",
        video_id=waiter.video_id,
        paid="yes",
        next_step=("It goes on rendering.", NextStep("wait"), NextStep("again", "Or")),
    )


def _standing(waiter: Waiter) -> str:
    if waiter.seen is None:
        return "not yet known"
    status = waiter.seen.raw_status or "no status"
    progress = waiter.seen.progress
    return status if progress is None else f"{status}, {progress:g} %"


async def _call(callback: OnProgress | None, video: Video) -> None:
    if callback is None:
        return
    try:
        result: Any = callback(video)
        if inspect.isawaitable(result):
            await result
    except Exception:
        log.exception("The progress callback failed; the render goes on")
