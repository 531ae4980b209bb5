"""Reconcile: find the job of a create whose answer was lost, so that it is not paid twice.

That there is none, which is the licence to pay, is said only when the whole list
was read, late enough for the slowest create, and no unclaimed job in it can be ours.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from itertools import pairwise
from time import monotonic, time
from typing import Final, Literal

from prefect_sora.client import VideoClient
from prefect_sora.errors import SoraError, UncertainSubmitError, VideoNotFoundError
from prefect_sora.ledger import TORN, Ledger
from prefect_sora.matching import Doubt, is_past, judge
from prefect_sora.records import Reserved
from prefect_sora.requests import VideoRequest
from prefect_sora.wire import Video, VideoPage

log = logging.getLogger(__name__)

MAX_PAGES: Final = 50
"""Up to 5,000 jobs newer than the doubt. Ours."""

LIST_ATTEMPTS: Final = 3
"""How often a list that ends too early is read anew. Ours."""

OUTAGE_PATIENCE_SECONDS: Final = 60.0
"""How long a list that fails for the moment is asked again. Ours."""

RIVAL_PATIENCE_SECONDS: Final = 100.0
"""How long a live worker that may be about to claim the job is waited for: the longest
create and some. Ours."""

_PAGE_LIMITS: Final = frozenset({10, 20, 25, 50, 100, 200, 250, 500, 1000})

# What no list shows of a job, and yet makes another video of it.
_UNSEEN: Final = ("extra", "fit")
_NEITHER: Final = ("take", "allow_unlisted")


@dataclass
class _Look:
    """What one reading of the list has shown."""

    claimed: list[Video] = field(default_factory=list)
    ours: list[Video] = field(default_factory=list)
    perhaps: list[Video] = field(default_factory=list)
    complete: bool = False


class _Search:
    """The search for one render's job."""

    def __init__(
        self, mine: Reserved, folder: str, client: VideoClient, ledger: Ledger, doubt: Doubt
    ) -> None:
        self.mine, self.folder, self.client = mine, folder, client
        self.ledger, self.doubt = ledger, doubt
        self.server = client.server
        self.request = VideoRequest.model_validate(mine.request)
        self.known: set[str] = set()

    async def run(self) -> Video | None:
        self.known = await self.ledger.accepted_ids(self.folder)
        if not self.server.profile.can_list:
            return await self._by_claims("This server does not list its jobs.")
        latest = max(time(), self.doubt.until) + self.server.profile.submit_grace_s
        rivals_until = monotonic() + RIVAL_PATIENCE_SECONDS
        outage_until = monotonic() + OUTAGE_PATIENCE_SECONDS
        first_seen: dict[str, float] = {}
        pause_s, unread = 0.25, 0
        while True:
            asked_at = time()
            try:
                look = await self._look()
            except SoraError as error:
                if error.retryable and monotonic() < outage_until:
                    await asyncio.sleep(1.0)
                    continue
                return await self._by_claims(f"Its jobs cannot be listed: {error.message}")
            outage_until = monotonic() + OUTAGE_PATIENCE_SECONDS
            taken = await self._take(look, rivals_until)
            if isinstance(taken, Video):
                return taken
            if asked_at >= latest and taken == "nothing":
                # A job may be on the list before the worker that sent it has claimed it.
                settle = self.server.profile.submit_grace_s
                for job in look.perhaps:
                    first_seen.setdefault(job.id, asked_at)
                settled = [j for j in look.perhaps if asked_at - first_seen[j.id] >= settle]
                if settled:
                    raise uncertain(self.mine, _perhaps(settled))
                if look.complete and not look.perhaps:
                    return None
                unread += not look.complete
                if unread >= LIST_ATTEMPTS:
                    raise uncertain(self.mine, "The server's list of jobs cannot be read whole.")
            pause_s = min(pause_s * 1.5, 5.0)
            await asyncio.sleep(min(pause_s, max(0.05, latest - time())))

    async def _by_claims(self, why: str) -> Video | None:
        """Look where the id was claimed and the worker died before recording it."""
        for video_id in await self.ledger.claims_of(self.server.identity, self.mine.key):
            if video_id not in self.known:
                try:
                    return await self.client.retrieve(video_id)
                except VideoNotFoundError:
                    why = f"It was video {video_id}, which the server has forgotten."
        raise uncertain(self.mine, why)

    async def _look(self) -> _Look:
        """Read the list back to the doubt, and leave out what other renders hold."""
        jobs, complete, clock_ahead_s = await self._listed()
        look = _Look(complete=complete)
        # Oldest first: of several twins, each doubt takes the one that fits it best.
        for job in sorted(jobs, key=lambda job: job.created_at or 0.0):
            verdict = judge(job, self.request, self.server, self.doubt, clock_ahead_s)
            if verdict == "another" or job.id in self.known:
                continue
            holder = await self.ledger.holder(self.server.identity, job.id)
            if holder == self.mine.key:
                look.claimed.append(job)
            elif holder is None and verdict == "ours":
                look.ours.append(job)
            elif holder in (None, TORN):
                look.perhaps.append(job)
        return look

    async def _listed(self) -> tuple[list[Video], bool, float | None]:
        """Read jobs, whether these are all since the doubt, and the server's clock."""
        jobs: dict[str, Video] = {}
        descending, after = True, None
        until = monotonic() + OUTAGE_PATIENCE_SECONDS
        for _ in range(MAX_PAGES):
            page = await self._page(after, until)
            if not page.videos:
                # Some show an empty page where the job that we go on from has been deleted.
                complete = after is None or await self._knows(after)
                return [*jobs.values()], complete, page.clock_ahead_s
            fresh = [job for job in page.videos if job.id not in jobs]
            times = [job.created_at for job in [*jobs.values()][-1:] + fresh]
            descending &= all(
                a is not None and b is not None and a >= b for a, b in pairwise(times)
            )
            jobs.update((job.id, job) for job in fresh)
            if not fresh:
                # The same page again: this server does not page. As many jobs as a page
                # commonly holds are rather its limit than all that there are.
                complete = page.has_more is None and len(jobs) not in _PAGE_LIMITS
                return [*jobs.values()], complete, page.clock_ahead_s
            past = descending and is_past(fresh[-1], self.doubt, page.clock_ahead_s)
            if past or page.next_after is None:
                return [*jobs.values()], True, page.clock_ahead_s
            after = page.next_after
        return [*jobs.values()], False, page.clock_ahead_s

    async def _page(self, after: str | None, until: float) -> VideoPage:
        """Read one page: where it fails, those before it are not read anew."""
        pause_s = 0.25
        while True:
            try:
                return await self.client.list_page(after=after)
            except SoraError as error:
                if not error.retryable or monotonic() + pause_s > until:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 2.0)

    async def _knows(self, video_id: str) -> bool:
        try:
            await self.client.retrieve(video_id)
        except VideoNotFoundError:
            return False
        return True

    async def _take(self, look: _Look, rivals_until: float) -> Video | Literal["nothing", "wait"]:
        if look.claimed:
            return look.claimed[0]
        for job in look.ours:
            rival = await self._rival()
            if rival == "held" and monotonic() < rivals_until:
                return "wait"
            if rival:
                raise uncertain(
                    self.mine,
                    f"Video {job.id} may be its job, or that of another render of this store "
                    "which differs only in what a list does not show, such as the picture.",
                )
            holder = await self.ledger.claim(self.server.identity, job.id, self.mine.key)
            if holder == self.mine.key:
                log.info("Render %s: adopted video %s", self.mine.key, job.id)
                return job
        return "nothing"

    async def _rival(self) -> Literal["held", "in doubt"] | None:
        """Find another render, sent and not recorded, that the same job would fit."""
        slug = self.folder.removesuffix(self.mine.key)[:-1]
        found: Literal["in doubt"] | None = None
        for state in await self.ledger.unfinished(slug):
            other = state.reserved
            if state.name != "reserved" or other is None or other.key == self.mine.key:
                continue
            if other.server != self.mine.server or not self._looks_alike(other):
                continue
            if self.ledger.is_held(other):
                return "held"
            found = "in doubt"
        return found

    def _looks_alike(self, other: Reserved) -> bool:
        mine, theirs = dict(self.mine.request), dict(other.request)
        unseen = [{name: r.pop(name, None) for name in _UNSEEN} for r in (mine, theirs)]
        for request in (mine, theirs):
            for name in _NEITHER:
                request.pop(name, None)
        same = self.mine.reference_sha256 == other.reference_sha256 and unseen[0] == unseen[1]
        return mine == theirs and not same


async def find_accepted(
    mine: Reserved, folder: str, client: VideoClient, ledger: Ledger, doubt: Doubt
) -> Video | None:
    """Find and claim the job that a create without an answer has made.

    Args:
        mine: The reservation under which we look, and whose request was sent.
        folder: The render's folder.
        client: The server that it was sent to.
        ledger: The store's records.
        doubt: When it may have been accepted.

    Returns:
        The job, claimed for this render; None where it is shown that there is none.

    Raises:
        UncertainSubmitError: The server does not list, or not all, or it lists jobs
            that may be this one.
    """
    return await _Search(mine, folder, client, ledger, doubt).run()


def uncertain(mine: Reserved, why: str) -> UncertainSubmitError:
    """Say that a person has to look."""
    return UncertainSubmitError(
        f"The create request may have been accepted, and its answer was lost. {why}",
        key=mine.key,
        paid="unknown",
        next_step=f"Look at the server: if the job is there, `prefect-sora resume {mine.key} "
        f"--adopt VIDEO_ID`; if it is not, `prefect-sora resume {mine.key} --resubmit`.",
    )


def _perhaps(jobs: list[Video]) -> str:
    names = ", ".join(job.id for job in jobs[:5])
    return f"What the server says of its jobs does not decide it; it may be one of {names}."
