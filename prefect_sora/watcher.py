"""Wait: one watcher per server and event loop asks for all renders that wait there.

A few jobs are asked for one by one; many are read off the pages of the server's
list, so that 300 waiting renders cost a few requests a round. The server is never
asked more often than the waiters want, except where it names a pace itself.
"""

import asyncio
import logging
from typing import Final, cast

from prefect_sora.client import VideoClient
from prefect_sora.errors import (
    RateLimitError,
    RejectedError,
    RenderTimeoutError,
    SoraError,
    UnavailableError,
    VideoNotFoundError,
)
from prefect_sora.waiters import MIN_INTERVAL_SECONDS, OnProgress, Waiter, follow, refuse, tell
from prefect_sora.wire import Video

log = logging.getLogger(__name__)

UNKNOWN_ID_GRACE_SECONDS: Final = 10.0
"""How long a fresh id may be unknown to a server behind several replicas. Ours."""
LIST_FROM: Final = 3
"""From this many waiters on, a page of the list is cheaper than single requests."""
PAGE_LIMIT: Final = 100
"""OpenAI's openapi.yaml, `ListVideos.limit` (2026-08-21)."""
MAX_BACKOFF_SECONDS: Final = 30.0
SINGLES_AT_ONCE: Final = 8


class Watcher:
    """Waits for any number of jobs of one server with few requests."""

    def __init__(self, client: VideoClient) -> None:
        self._client = client
        self._waiters: set[Waiter] = set()
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._lists = client.server.profile.can_list
        self._not_before = 0.0
        self._list_not_before = 0.0
        self._failures = 0
        self._trouble: SoraError | None = None

    async def wait(
        self,
        video_id: str,
        *,
        timeout_seconds: float = 600.0,
        poll_interval_seconds: float = 5.0,
        max_poll_attempts: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> Video:
        """Wait until the job is final, whatever its end.

        Args:
            video_id: The job.
            timeout_seconds: The deadline of this wait.
            poll_interval_seconds: Shortest pause between two requests; it grows
                to 20 s. A server that names its own pace is taken at its word.
            max_poll_attempts: Another way to say the deadline, in polls.
            on_progress: Called with each change of status or progress, plain or
                async; what it raises is logged and changes nothing.

        Raises:
            RenderTimeoutError: The deadline passed; the job goes on and can be
                waited for again.
            VideoNotFoundError: The server does not know the job.
            AuthenticationError: The key does not work, or no longer.
        """
        loop = asyncio.get_running_loop()
        interval = max(poll_interval_seconds, MIN_INTERVAL_SECONDS)
        limit = timeout_seconds
        if max_poll_attempts is not None:
            limit = min(limit, max_poll_attempts * interval)
        waiter = Waiter(video_id, interval, asked_interval_s=interval, due=loop.time())
        self._waiters.add(waiter)
        self._news.set()
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._watch(), name="prefect-sora watcher")
        try:
            async with asyncio.timeout(limit) as deadline:
                return await follow(waiter, on_progress)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise self._timed_out(waiter, limit) from None
        finally:
            self._waiters.discard(waiter)
            self._news.set()

    def _timed_out(self, waiter: Waiter, limit: float) -> RenderTimeoutError:
        status = waiter.seen.raw_status if waiter.seen else "not yet known"
        progress = waiter.seen.progress if waiter.seen else None
        trouble = f" The server's last trouble: {self._trouble.message}" if self._trouble else ""
        return RenderTimeoutError(
            f"Not finished within {limit:g} s: {status}"
            f"{f', {progress:g} %' if progress is not None else ''}.{trouble}",
            video_id=waiter.video_id,
            paid="yes",
            next_step="It goes on rendering: run the same again with the same scope, or "
            "`prefect-sora resume`, to wait on without paying again.",
        )

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiters:
            self._news.clear()
            now = loop.time()
            wake = max(min(w.due for w in self._waiters), self._not_before)
            if self._by_list():
                wake = max(wake, self._list_not_before)
            if wake > now:
                try:
                    async with asyncio.timeout(wake - now):
                        await self._news.wait()
                except TimeoutError:
                    pass
                else:
                    # Somebody came or went; those who come together are asked for together.
                    await asyncio.sleep(0.02)
                continue
            due = [w for w in self._waiters if w.due <= now]
            try:
                await self._round(due)
            except SoraError as error:
                self._ride_out(error, due)
            except Exception as error:
                # A defect of ours must end the waits loudly, not hang them.
                log.exception("The watcher of %s broke", self._client.server.label)
                for waiter in self._waiters:
                    waiter.inbox.put_nowait(error)
                return

    def _by_list(self) -> bool:
        return self._lists and len(self._waiters) >= LIST_FROM

    async def _round(self, due: list[Waiter]) -> None:
        if self._by_list():
            try:
                await self._ask_for_all()
            except (RejectedError, VideoNotFoundError) as error:
                log.info("%s: asking for single jobs from here on", error.message)
                self._lists = False
            else:
                self._all_is_well()
                return
        gate = asyncio.Semaphore(SINGLES_AT_ONCE)

        async def ask(waiter: Waiter) -> None:
            async with gate:
                await self._ask_for_one(waiter)

        results = await asyncio.gather(*(ask(w) for w in due), return_exceptions=True)
        failures = [r for r in results if isinstance(r, BaseException)]
        if failures:
            raise failures[0]
        self._all_is_well()

    async def _ask_for_all(self) -> None:
        """Read pages of the list, newest first, until each waiter's job was seen."""
        missing = {w.video_id for w in self._waiters}
        after: str | None = None
        seen_ids: set[str] = set()
        # Others' jobs stand between ours; past twice our number, the rest is asked for singly.
        for _ in range(2 + 2 * len(missing) // PAGE_LIMIT):
            page = await self._client.list_page(after=after, limit=PAGE_LIMIT)
            fresh = [video for video in page.videos if video.id not in seen_ids]
            seen_ids.update(video.id for video in fresh)
            for video in fresh:
                missing.discard(video.id)
                for waiter in [w for w in self._waiters if w.video_id == video.id]:
                    tell(waiter, video, page.poll_after_s)
            after = page.next_after
            if not missing or not fresh or after is None:
                break
        now = asyncio.get_running_loop().time()
        shortest = min((w.asked_interval_s for w in self._waiters), default=0.0)
        self._list_not_before = now + (page.poll_after_s or shortest)
        unseen = [w for w in self._waiters if w.video_id in missing and w.due <= now]
        for waiter in unseen[:SINGLES_AT_ONCE]:
            await self._ask_for_one(waiter)

    async def _ask_for_one(self, waiter: Waiter) -> None:
        loop = asyncio.get_running_loop()
        try:
            video = await self._client.retrieve(waiter.video_id)
        except VideoNotFoundError as error:
            now = loop.time()
            waiter.missing_since = waiter.missing_since or now
            grace = min(UNKNOWN_ID_GRACE_SECONDS, 2 * waiter.asked_interval_s)
            if now - waiter.missing_since >= grace:
                error.paid = "yes"
                error.next_step = (
                    "Check the id and that this is its server. Servers that keep jobs in memory "
                    "forget them on a restart."
                )
                waiter.inbox.put_nowait(error)
            waiter.pause(None, now)
        except SoraError as error:
            if error.retryable:
                raise
            refuse(waiter, error)
            waiter.pause(None, loop.time())
        else:
            waiter.missing_since = None
            tell(waiter, video, video.poll_after_s)

    def _ride_out(self, error: SoraError, due: list[Waiter]) -> None:
        """A failing request ends no wait: the deadline does. A wrong key does."""
        if not error.retryable:
            for waiter in self._waiters:
                refuse(waiter, error)
                waiter.pause(None, asyncio.get_running_loop().time())
            return
        self._trouble = error
        self._failures += 1
        shortest = min(w.asked_interval_s for w in due)
        pause = min(shortest * 1.5 ** min(self._failures, 12), MAX_BACKOFF_SECONDS)
        if isinstance(error, (RateLimitError, UnavailableError)) and error.retry_after_s:
            pause = max(pause, error.retry_after_s)
        log.log(
            logging.WARNING if self._failures == 1 else logging.DEBUG,
            "%s Asking again in %.1f s.",
            error.message,
            pause,
        )
        self._not_before = asyncio.get_running_loop().time() + pause

    def _all_is_well(self) -> None:
        self._failures = 0
        self._trouble = None


def watcher_of(client: VideoClient) -> Watcher:
    """Return the one watcher of this client."""
    if client.watcher is None:
        client.watcher = Watcher(client)
    return cast(Watcher, client.watcher)
