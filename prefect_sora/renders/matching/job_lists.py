"""Job lists: a server's list is read back to the time of a doubt, and told whole or not."""

import asyncio
from itertools import pairwise
from time import monotonic
from typing import Final

from prefect_sora.errors import SoraError, VideoNotFoundError
from prefect_sora.limits import limits
from prefect_sora.renders.matching.match import WORST_CLOCK_SECONDS, Clock, Doubt, is_past
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.video_object import Video, VideoPage

_PAGE_LIMITS: Final = frozenset({10, 20, 25, 50, 100, 200, 250, 500, 1000})


class JobList:
    """What a server's list shows of its jobs, look after look.

    Attributes:
        jobs: All that any look has shown, by id.
        first_seen: When each was first shown, Unix seconds.
        vanished: Ids that a later look did not show, though the server has them: its
            replicas do not share one list.
    """

    def __init__(self, client: VideoClient, doubt: Doubt, model: str | None = None) -> None:
        self.client, self.doubt, self.model = client, doubt, model
        self.jobs: dict[str, Video] = {}
        self.first_seen: dict[str, float] = {}
        self.vanished: set[str] = set()

    async def look(self, asked_at: float, is_late: bool) -> tuple[set[str], bool, Clock]:
        """Read ids, whether these are all since the doubt, and how their times are read.

        Args:
            asked_at: When we ask, Unix seconds.
            is_late: Whether a job's absence counts: then the list is read back as far as any
                clock may be wrong, which takes a day's pages of a busy account.

        Raises:
            ApiError: The server shows no list.
        """
        off_s = WORST_CLOCK_SECONDS if is_late else limits().clock_slack_seconds
        jobs, is_whole, clock = await self._read(asked_at, off_s)
        before = self.jobs.values()
        gone = [j for j in before if j.id not in jobs and not is_past(j, self.doubt, clock, off_s)]
        for job in gone[-limits().vanished_asked :]:
            if await self._knows(job.id):
                self.vanished.add(job.id)
        self.jobs |= jobs
        for video_id in jobs:
            self.first_seen.setdefault(video_id, asked_at)
        return set(jobs), is_whole, clock

    async def _read(self, asked_at: float, off_s: float) -> tuple[dict[str, Video], bool, Clock]:
        jobs: dict[str, Video] = {}
        descending, is_whole, after = True, True, None
        until = monotonic() + limits().list_outage_seconds
        for _ in range(limits().list_pages):
            page = await self._page(after, until)
            clock = Clock(asked_at, page.clock_ahead_s)
            is_whole &= page.is_whole
            if not page.videos:
                # Some show an empty page where the job that we go on from has been deleted.
                return jobs, is_whole and (after is None or await self._knows(after)), clock
            fresh = [job for job in page.videos if job.id not in jobs]
            times = [job.created_at for job in [*jobs.values()][-1:] + fresh]
            descending &= all(
                a is not None and b is not None and a >= b for a, b in pairwise(times)
            )
            jobs.update((job.id, job) for job in fresh)
            if not fresh:
                # The same page again: this server does not page. Where the count is a common
                # page size, it is rather the server's limit than all jobs.
                all_of_it = page.has_more is None and len(jobs) not in _PAGE_LIMITS
                return jobs, is_whole and all_of_it, clock
            past = descending and is_past(fresh[-1], self.doubt, clock, off_s)
            if past or page.next_after is None:
                return jobs, is_whole, clock
            after = page.next_after
        return jobs, False, clock

    async def _page(self, after: str | None, until: float) -> VideoPage:
        """Read one page; where that fails, the pages before it are not read anew."""
        pause_s = limits().look_pause_seconds
        while True:
            try:
                return await self.client.list_page(after=after, model=self.model)
            except SoraError as error:
                if not error.retryable or monotonic() + pause_s > until:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, limits().look_pause_max_seconds)

    async def _knows(self, video_id: str) -> bool:
        try:
            await self.client.retrieve(video_id)
        except VideoNotFoundError:
            return False
        return True
