"""Watcher: one watcher per server and event loop asks for all renders that wait there.

A few jobs are asked for one by one; many are read off the pages of the server's
list, so that 300 waiting renders cost a few requests a round. The server is never
asked more often than the waiters want: a pace that it names can only be slower,
except the local renderer's own, and never so slow that a deadline passes unseen. Failures
are ridden out: where the list fails, jobs are asked for one by one; where a job fails, it is
asked for less often, without keeping the others waiting.
"""

import asyncio
import logging
import math
from typing import Final, cast

from prefect_sora.errors import RateLimitError, SoraError, UnavailableError, VideoNotFoundError
from prefect_sora.limits import limits
from prefect_sora.renders.finish.polling import (
    OnProgress,
    Waiter,
    backoff,
    follow,
    miss,
    refuse,
    tell,
    timed_out,
)
from prefect_sora.servers.not_found import ROUTE_ALIKE, Absence
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.video_object import Video

log = logging.getLogger(__name__)

PAGE_LIMIT: Final = 100
"""OpenAI's openapi.yaml, `ListVideos.limit` (2026-08-21)."""


class Watcher:
    """Waits for any number of jobs of one server with few requests."""

    def __init__(self, client: VideoClient) -> None:
        self._client = client
        self._limits = limits()  # of whoever waits first, for all who come later
        self._waiters: set[Waiter] = set()
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._gate = asyncio.Semaphore(self._limits.singles_at_once)
        self._not_before = 0.0
        self._failing: set[Waiter] = set()  # since the server's last good answer
        self._trouble: SoraError | None = None
        profile = client.server.profile
        self._lists = profile.can_list and not profile.lists_by_provider
        self._list_not_before = 0.0  # as the waiters want it
        self._list_put_off = 0.0  # as the server asks for
        self._list_again = 0.0
        self._list_failures = 0
        self._list_alone_failed = 0
        self._answered_singly = False
        self._told_of_absence = False
        self._told_of_replicas = False

    async def wait(
        self,
        video_id: str,
        *,
        timeout_seconds: float = 600.0,
        poll_interval_seconds: float = 5.0,
        max_poll_attempts: int | None = None,
        stall_seconds: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> Video:
        """Wait until the job is final, whatever its end.

        Args:
            video_id: The job.
            timeout_seconds: The deadline of this wait.
            poll_interval_seconds: Shortest pause between two requests; it grows
                to 20 s. A server may name a slower pace.
            max_poll_attempts: Another way to say the deadline, in polls.
            stall_seconds: How long status and progress may stay as they are, in a
                queue too; None: until the deadline, for servers that tell no progress.
            on_progress: Called with each change of status or progress, plain or
                async; what it raises is logged and changes nothing.

        Raises:
            RenderTimeoutError: The deadline passed; the job goes on and can be
                waited for again.
            RenderStalledError: Nothing moved for `stall_seconds`; the same holds.
            VideoNotFoundError: The server goes on saying that it does not know the job.
            AuthenticationError: The key does not work, or no longer.
        """
        loop = asyncio.get_running_loop()
        interval = max(poll_interval_seconds, limits().poll_min_seconds)
        limit = timeout_seconds
        if max_poll_attempts is not None:
            limit = min(limit, max_poll_attempts * interval)
        waiter = Waiter(
            video_id,
            interval,
            asked_interval_s=interval,
            due=loop.time(),
            trusts_hints=self._client.server.local,
            ends_at=loop.time() + limit,
            last_look=loop.time() + limit - min(limits().last_look_seconds, limit / 10),
            absence=Absence(self._client.server.profile.lost_after_s),
        )
        self._waiters.add(waiter)
        self._news.set()
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._watch(), name="prefect-sora watcher")
        try:
            async with asyncio.timeout(limit) as deadline:
                return await follow(waiter, on_progress, stall_seconds)
        except TimeoutError as error:
            if isinstance(error, SoraError) or not deadline.expired():
                raise
            raise timed_out(waiter, limit, self._trouble) from None
        finally:
            self._waiters.discard(waiter)
            self._failing.discard(waiter)
            if waiter.asking is not None:
                waiter.asking.cancel()
            self._news.set()

    def ask_now(self, video_id: str) -> None:
        """Ask for a job at once, unless its server has asked for a pause."""
        for waiter in self._waiters:
            if waiter.video_id == video_id and waiter.asking is None:
                waiter.due = asyncio.get_running_loop().time()
                waiter.asking = asyncio.create_task(self._ask_for_one(waiter))

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiters:
            self._news.clear()
            now = loop.time()
            wake = min((self._due(w) for w in self._waiters if w.asking is None), default=math.inf)
            if self._by_list(now):
                put_off = min(self._list_put_off, *(w.last_look for w in self._waiters))
                wake = max(wake, self._list_not_before, put_off)
            if wake > now:
                try:
                    async with asyncio.timeout(wake - now if wake < math.inf else None):
                        await self._news.wait()
                except TimeoutError:
                    pass
                else:
                    # Somebody came or went; those who come together are asked for together.
                    await asyncio.sleep(self._limits.poll_together_seconds)
                continue
            try:
                if self._by_list(now):
                    await self._ask_for_all()
            except Exception as error:
                # A defect of ours must end the waits loudly, not hang them.
                log.exception("The watcher of %s broke", self._client.server.label)
                for waiter in self._waiters:
                    waiter.inbox.put_nowait(error)
                return
            # Those that the list told of are due later; one that hangs keeps no other waiting.
            for waiter in self._waiters:
                if waiter.asking is None and self._due(waiter) <= loop.time():
                    waiter.asking = loop.create_task(self._ask_for_one(waiter))

    def _due(self, waiter: Waiter) -> float:
        """When to ask for it: a pause after any failure delays it, but not past its last look."""
        return max(waiter.due, min(self._not_before, waiter.last_look))

    def _by_list(self, now: float) -> bool:
        many = len(self._waiters) >= self._limits.list_from
        return self._lists and many and now >= self._list_again

    async def _ask_for_all(self) -> None:
        """Read the list; where it fails, this round asks for single jobs."""
        try:
            hint_s = await self._read_pages()
        except SoraError as error:
            self._list_failed(error)
            return
        self._list_failures = self._list_alone_failed = 0
        self._all_is_well()
        now = asyncio.get_running_loop().time()
        trusted = hint_s is not None and self._client.server.local
        self._list_not_before = now + (0.0 if trusted else self._shortest_interval())
        self._list_put_off = now + min(hint_s or 0.0, self._limits.hint_max_seconds)

    async def _read_pages(self) -> float | None:
        """Read pages, newest first, until each waiter's job was seen; return the server's pace."""
        missing = {w.video_id for w in self._waiters}
        after: str | None = None
        seen_ids: set[str] = set()
        # Others' jobs stand between ours; past twice our number, the rest is asked for singly.
        for _ in range(2 + 2 * len(missing) // PAGE_LIMIT):
            try:
                async with asyncio.timeout(self._limits.list_page_seconds):
                    page = await self._client.list_page(after=after, limit=PAGE_LIMIT)
            except TimeoutError:
                raise UnavailableError(
                    f"{self._client.server.label} takes longer than "
                    f"{self._limits.list_page_seconds:g} s for a page of its list."
                ) from None
            fresh = [video for video in page.videos if video.id not in seen_ids]
            seen_ids.update(video.id for video in fresh)
            for video in fresh:
                missing.discard(video.id)
                if video.status == "unknown":  # some lists show less than a single answer does
                    continue
                for waiter in [w for w in self._waiters if w.video_id == video.id]:
                    self._found(waiter, video, page.poll_after_s)
            after = page.next_after
            if not missing or not fresh or after is None:
                break
        return page.poll_after_s

    def _list_failed(self, error: SoraError) -> None:
        self._list_failures += 1
        self._list_alone_failed += self._answered_singly
        self._answered_singly = False
        if not error.retryable or self._list_alone_failed >= self._limits.list_failures:
            log.info("%s Asking for single jobs from here on.", error.message)
            self._lists = False
            return
        log.info("%s Asking for single jobs in the meantime.", error.message)
        pause = backoff(self._shortest_interval(), self._list_failures, error, self._limits)
        self._list_again = asyncio.get_running_loop().time() + pause

    async def _ask_for_one(self, waiter: Waiter) -> None:
        clock = asyncio.get_running_loop().time
        try:
            async with self._gate:
                if clock() < self._due(waiter):
                    return  # another one has just met trouble that is the server's
                anew = waiter.absence.answers > 0
                video = await self._client.retrieve(waiter.video_id, anew=anew)
            self._answered_singly = True
            self._all_is_well()
            self._found(waiter, video, video.poll_after_s)
        except VideoNotFoundError as error:
            self._answered_singly = True
            self._not_found(waiter, error)
        except SoraError as error:
            if error.retryable:
                self._ride_out(error, waiter)
            else:
                refuse(waiter, error)
                waiter.pause(None, clock())
        except Exception as error:
            log.exception("The watcher of %s broke", self._client.server.label)
            waiter.inbox.put_nowait(error)
            waiter.pause(None, clock())
        finally:
            waiter.asking = None
            self._news.set()

    def _found(self, waiter: Waiter, video: Video, hint_s: float | None) -> None:
        if waiter.absence.found() and not self._told_of_replicas:
            self._told_of_replicas = True
            log.warning("Video %s at %s: %s", video.id, self._client.server.label, ROUTE_ALIKE)
        tell(waiter, video, hint_s)

    def _not_found(self, waiter: Waiter, error: VideoNotFoundError) -> None:
        miss(waiter, error)
        log.log(
            logging.DEBUG if self._told_of_absence else logging.WARNING,
            "%s A replica alone may say so: it must go on for %g s to be believed.",
            error.message,
            waiter.absence.lasting_s,
        )
        self._told_of_absence = True

    def _ride_out(self, error: SoraError, waiter: Waiter) -> None:
        """Ride out a failing request: only the deadline ends a wait, and others are not slowed."""
        now = asyncio.get_running_loop().time()
        waiter.failures += 1
        waiter.trouble = self._trouble = error
        self._failing.add(waiter)
        pause = backoff(waiter.asked_interval_s, waiter.failures, error, waiter.within)
        waiter.put_off(pause, now)
        log.log(
            logging.WARNING if waiter.failures == len(self._failing) == 1 else logging.DEBUG,
            "%s Asking again in %.1f s.",
            error.message,
            waiter.due - now,
        )
        of_the_server = (
            isinstance(error, RateLimitError)
            or getattr(error, "never_sent", False)
            or len(self._failing) >= self._limits.singles_at_once
        )
        if of_the_server:
            pause = backoff(self._shortest_interval(), waiter.failures, error, self._limits)
            self._not_before = max(self._not_before, now + pause)

    def _shortest_interval(self) -> float:
        return min(
            (w.asked_interval_s for w in self._waiters), default=self._limits.poll_min_seconds
        )

    def _all_is_well(self) -> None:
        self._failing.clear()
        self._trouble = None


def watcher_of(client: VideoClient) -> Watcher:
    """Return the one watcher of this client."""
    if client.watcher is None:
        client.watcher = Watcher(client)
    return cast(Watcher, client.watcher)
