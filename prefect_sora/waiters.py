"""Waiters: who waits for which video, at which pace, and is told what is new of it."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Final

from prefect_sora.errors import SoraError
from prefect_sora.wire import Status, Video

log = logging.getLogger(__name__)

OnProgress = Callable[[Video], Awaitable[object] | object]

FINAL: Final[frozenset[Status]] = frozenset(
    {"completed", "failed", "cancelled", "deleted", "expired"}
)

MIN_INTERVAL_SECONDS: Final = 0.05
MAX_INTERVAL_SECONDS: Final = 20.0
"""Ceiling of the growing interval: OpenAI's video guide advises 10 to 20 s."""
GROWTH: Final = 1.25
"""How much longer each pause is than the one before. Ours."""


@dataclass(eq=False)
class Waiter:
    """One who waits for one video, when to ask for it next, and what came in."""

    video_id: str
    interval_s: float
    asked_interval_s: float
    due: float
    inbox: asyncio.Queue[Video | Exception] = field(default_factory=asyncio.Queue)
    seen: Video | None = None
    missing_since: float | None = None

    def pause(self, hint_s: float | None, now: float) -> None:
        """Set when to ask next: the server's own pace, or ours, growing."""
        if hint_s is not None:
            self.due = now + max(hint_s, MIN_INTERVAL_SECONDS)
            return
        self.due = now + self.interval_s
        ceiling = max(MAX_INTERVAL_SECONDS, self.asked_interval_s)
        self.interval_s = min(self.interval_s * GROWTH, ceiling)


def tell(waiter: Waiter, video: Video, hint_s: float | None) -> None:
    """Hand a waiter what the server says of its video."""
    waiter.pause(hint_s, asyncio.get_running_loop().time())
    waiter.inbox.put_nowait(video)


def refuse(waiter: Waiter, error: SoraError) -> None:
    """End a wait with an error."""
    # A copy each: the error is about this waiter's video.
    waiter.inbox.put_nowait(copy(error).about(video_id=waiter.video_id, paid="yes"))


async def follow(waiter: Waiter, on_progress: OnProgress | None) -> Video:
    """Pass on what is new, in the waiter's own task, until the job is final."""
    while True:
        news = await waiter.inbox.get()
        if isinstance(news, Exception):
            raise news
        before, waiter.seen = waiter.seen, news
        if before is None or (before.raw_status, before.progress) != (
            news.raw_status,
            news.progress,
        ):
            if news.status == "unknown":
                log.warning("Video %s: %r is no status we know; waiting", news.id, news.raw_status)
            await _call(on_progress, news)
        if news.status in FINAL:
            return news


async def _call(callback: OnProgress | None, video: Video) -> None:
    if callback is None:
        return
    try:
        result: Any = callback(video)
        if inspect.isawaitable(result):
            await result
    except Exception:
        log.exception("The progress callback failed; the render goes on")
