"""Reconcile: find the job of a create whose answer was lost, so that it is not paid twice.

This module reads the server's list and the store's records, again and again until they decide.
`ownership` judges whose a job is, and whether there is none.
"""

import asyncio
import contextlib
import logging
from time import monotonic, time

from pydantic import ValidationError

from prefect_sora.errors import SoraError, UncertainSubmitError, VideoNotFoundError
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.errors.next_steps import clock as written
from prefect_sora.limits import limits
from prefect_sora.renders.matching.job_lists import JobList
from prefect_sora.renders.matching.match import Clock, Doubt, is_in_time, judge
from prefect_sora.renders.matching.ownership import Adopt, Asked, Nothing, Person, Seen, decide
from prefect_sora.renders.submit.attempt import Attempt, asked_for
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.estimates import price
from prefect_sora.servers.protocol.video_object import Video
from prefect_sora.servers.video_prices import dollars
from prefect_sora.store.claims import TORN
from prefect_sora.store.identity import KEY_DIGITS
from prefect_sora.store.records import RenderState, Reserved

log = logging.getLogger(__name__)


class _Search:
    """The search for one render's job."""

    def __init__(self, attempt: Attempt, doubt: Doubt) -> None:
        self.attempt, self.doubt = attempt, doubt
        self.reserved, self.ledger, self.client = attempt.reserved, attempt.ledger, attempt.client
        self.server = self.client.server
        self.request = asked_for(self.reserved, VideoRequest.model_validate)
        self.known: frozenset[str] = frozenset()
        self.list = JobList(self.client, doubt, self.request.model)

    async def run(self) -> Video | None:
        self.known = frozenset(await self.ledger.accepted_ids(self.attempt.folder))
        if not self.server.profile.can_list:
            return await self._by_claims("This server does not list its jobs.")
        latest = max(time(), self.doubt.until) + self.server.profile.submit_grace_s
        rivals_until = monotonic() + limits().rival_seconds
        outage_until = monotonic() + limits().list_outage_seconds
        asked = Asked(
            self.reserved.key,
            self.request,
            self.doubt,
            reference_sha256=self.reserved.reference_sha256,
        )
        pause_s, unread, late_looks = limits().look_pause_seconds, 0, 0
        while True:
            asked_at = time()
            is_late = asked_at >= latest
            try:
                shown, is_whole, clock = await self.list.look(asked_at, is_late)
            except SoraError as error:
                if error.retryable and monotonic() < outage_until:
                    await asyncio.sleep(limits().list_outage_pause_seconds)
                    continue
                return await self._by_claims(f"Its jobs cannot be listed: {error.message}")
            outage_until = monotonic() + limits().list_outage_seconds
            holders, is_open = await self._holders(clock)
            rivals: list[Asked] = []
            accepted: set[str] = set()
            if is_open or is_late:
                # After the list: a render no longer in doubt holds its job by now, or has none.
                rivals, accepted = await self._others(asked_at)
            missing = self.list.vanished | (accepted - shown)
            unread += is_late and (not is_whole or bool(missing))
            late_looks += is_late
            seen = Seen(
                jobs=tuple(self.list.jobs.values()),
                clock=clock,
                latest=latest,
                holders={video_id: key for video_id, key in holders.items() if key != TORN},
                torn=frozenset(video_id for video_id, key in holders.items() if key == TORN),
                first_seen=self.list.first_seen,
                known=self.known,
                is_whole=is_whole,
                late_looks=late_looks,
                missing=frozenset(missing),
                can_wait=monotonic() < rivals_until,
                can_read_again=unread < limits().list_reads,
                same_account=self.server.is_account(self.reserved.account),
            )
            match decide(asked, rivals, seen, self.server):
                case Adopt(job=job) if await self._claimed(job):
                    return job
                case Nothing():
                    return None
                case Person(why=why):
                    raise self._uncertain(why)
            pause_s = min(pause_s * 1.5, limits().search_pause_max_seconds)
            await asyncio.sleep(min(pause_s, max(limits().poll_min_seconds, latest - time())))

    def _uncertain(self, why: str) -> UncertainSubmitError:
        """Say that a person has to look, and what to look for."""
        sent_at = self.doubt.since or self.reserved.at
        usd = price(self.request, self.server).usd
        costs = f"costs {dollars(usd)}" if usd is not None else "its price is not known"
        told = f"It was sent to {self.server.label} at {written(sent_at)}, and {costs}."
        return uncertain(self.attempt.key, f"{why} {told}")

    async def _claimed(self, job: Video) -> bool:
        holder = await self.ledger.claim(self.server.identity, job.id, self.reserved.key)
        if holder == self.reserved.key:
            log.info("Render %s: adopted video %s", self.reserved.key, job.id)
        return holder == self.reserved.key

    async def _by_claims(self, why: str) -> Video | None:
        """Look for an id that was claimed by a worker that died before recording it."""
        for video_id in await self.ledger.claims_of(self.server.identity, self.reserved.key):
            if video_id not in self.known:
                try:
                    return await self.client.retrieve(video_id)
                except VideoNotFoundError:
                    why = f"It was video {video_id}, which the server has forgotten."
        raise self._uncertain(why)

    async def _holders(self, clock: Clock) -> tuple[dict[str, str], bool]:
        """Read who holds the jobs of that time and those that may match, and if one is free."""
        gate = asyncio.Semaphore(limits().records_at_once)

        async def holder(video_id: str) -> str | None:
            async with gate:
                return await self.ledger.holder(self.server.identity, video_id)

        jobs = [job for job in self.list.jobs.values() if job.id not in self.known]
        judged = (
            (job.id, judge(job, self.request, self.server, self.doubt, clock)) for job in jobs
        )
        ours = {video_id for video_id, verdict in judged if verdict != "another"}
        asked = [
            *ours,
            *(j.id for j in jobs if is_in_time(j, self.doubt, clock) and j.id not in ours),
        ]
        keys = await asyncio.gather(*map(holder, asked))
        holders = {video_id: key for video_id, key in zip(asked, keys, strict=True) if key}
        return holders, not ours <= holders.keys()

    async def _others(self, asked_at: float) -> tuple[list[Asked], set[str]]:
        """Read which renders lack an answer from this server, and what it has accepted since."""
        rivals: list[Asked] = []
        accepted: set[str] = set()
        listed_by = asked_at - self.server.profile.submit_grace_s
        for state in await self.ledger.unfinished():
            if state.key == self.reserved.key or state.is_image:
                continue
            if state.name == "reserved":
                if rival := self._rival(state):
                    rivals.append(rival)
            elif (record := state.accepted) and self.doubt.since <= record.at <= listed_by:
                # An adopted job may be older than the part of the list that is read.
                job, reserved = record.job, state.reserved
                here = reserved is not None and reserved.server == self.server.identity
                if here and not job.adopted and self._may_show(reserved):
                    accepted.add(job.video_id)
        return rivals, accepted

    def _may_show(self, reserved: Reserved | None) -> bool:
        return reserved is None or self.server.is_account(reserved.account) is not False

    def _rival(self, state: RenderState) -> Asked | None:
        slug, other = state.folder[: -KEY_DIGITS - 1], state.reserved
        if other is None:  # torn: nobody knows what was asked for, or where
            return Asked(state.key, None, Doubt(0.0, time()), slug)
        # Deployments of one resource share its list.
        here = self.server.identity.partition("#")[0]
        if other.server.partition("#")[0] != here or other.request.get("kind") == "existing":
            return None
        request = None
        with contextlib.suppress(ValidationError):  # of a later version, which knows more fields
            request = VideoRequest.model_validate(other.request)
        return Asked(
            state.key,
            request,
            Doubt(other.in_doubt_since, other.lease_until),
            slug,
            other.reference_sha256,
            self.ledger.is_held(other),
        )


async def find_accepted(attempt: Attempt, doubt: Doubt) -> Video | None:
    """Find and claim the job that a create without an answer has made.

    Args:
        attempt: The search runs under it; its request was sent to its server.
        doubt: When it may have been accepted.

    Returns:
        The job, claimed for this render; None where it is shown that there is none.

    Raises:
        UncertainSubmitError: The server does not list, or not all, or it lists jobs
            that may be this one.
    """
    return await _Search(attempt, doubt).run()


def taken(key: str, why: str) -> UncertainSubmitError:
    """Say that a person has to look, because a server gave one id to two renders."""
    error = uncertain(key, why)
    error.message = (
        f"{why} Either the server gives one id twice, or that render has taken this one's video."
    )
    return error


def uncertain(key: str, why: str) -> UncertainSubmitError:
    """Say that a person has to look."""
    return UncertainSubmitError(
        f"The create request may have been accepted, and its answer was lost. {why}",
        key=key,
        paid="unknown",
        next_step=(
            NextStep("adopt", "Look at the server: if the job is there,"),
            NextStep("resubmit", "If it is not,"),
        ),
    )
