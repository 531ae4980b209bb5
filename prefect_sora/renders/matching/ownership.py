"""Ownership: whose a listed job is, among all who may have made it, and what follows from that.

Everything is judged from plain values: what the lists have shown, who holds which job,
and which requests of the store are in doubt. A job that two of them could have made is
nobody's without a person. `Nothing` means that no job was accepted, and permits to pay: it
is said only where nothing on a whole list can be ours and the list would have to show it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from prefect_sora.limits import limits
from prefect_sora.renders.matching.match import (
    Clock,
    Doubt,
    Verdict,
    are_akin,
    has_same_shape,
    is_far,
    is_in_time,
    is_shape_shown,
    judge,
    words,
)
from prefect_sora.requests.video import DERIVED, VideoRequest
from prefect_sora.servers.protocol.video_object import Video
from prefect_sora.servers.server import Server
from prefect_sora.store.identity import title_slug

# Fields that do not change which video a request asks for.
_SAME_VIDEO: Final = frozenset({"take", "allow_unlisted"})


@dataclass(frozen=True)
class Asked:
    """A request of the store that may have been sent and has no job.

    Attributes:
        key: Its render.
        request: What was asked for; None where its record cannot be read.
        doubt: When it may have been accepted.
        slug: Its prompt's first words, which stand in its folder's name.
        reference_sha256: Its picture.
        held: Whether a live worker is at work on it.
    """

    key: str
    request: VideoRequest | None
    doubt: Doubt
    slug: str = ""
    reference_sha256: str | None = None
    held: bool = False


@dataclass(frozen=True)
class Seen:
    """What is known at one moment of the search for a render's job.

    Attributes:
        jobs: All that the lists have shown so far.
        holders: Which render holds a job, by the job's id; one that is not named is free.
        torn: Ids whose holder cannot be read.
        first_seen: When each job was first shown, Unix seconds by our clock.
        known: Ids of jobs that this render had before.
        clock: How the list's times are read, and when it was asked for.
        is_whole: Whether the list was read back to the doubt.
        late_looks: How often it was read when an accepted job would have been on it.
        missing: Ids of jobs that the list would have to show and does not.
        latest: From when on an accepted job would be on the list.
        can_wait: Whether a live worker that may be about to claim a job is still waited for.
        can_read_again: Whether a list that is not whole is still read again.
        same_account: Whether the account that asks sent it; None where that is not known.
    """

    jobs: tuple[Video, ...]
    clock: Clock
    latest: float
    holders: Mapping[str, str] = field(default_factory=dict)
    torn: frozenset[str] = frozenset()
    first_seen: Mapping[str, float] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    is_whole: bool = True
    late_looks: int = field(default_factory=lambda: limits().late_looks)
    missing: frozenset[str] = frozenset()
    can_wait: bool = True
    can_read_again: bool = True
    same_account: bool | None = None


@dataclass(frozen=True)
class Adopt:
    """The job is this render's: it is to be claimed."""

    job: Video


@dataclass(frozen=True)
class Wait:
    """It is not decided yet: look again."""


@dataclass(frozen=True)
class Nothing:
    """It is shown that no job of this render was accepted."""


@dataclass(frozen=True)
class Person:
    """Nobody but a person can tell, and why."""

    why: str


Outcome = Adopt | Wait | Nothing | Person


def decide(mine: Asked, rivals: Iterable[Asked], seen: Seen, server: Server) -> Outcome:
    """Say what follows for a request in doubt from what is known.

    Args:
        mine: The request in doubt.
        rivals: All other requests of the store on this server that are in doubt or on their way.
        seen: What is known of the server's jobs.
        server: The server.
    """
    if mine.request is None:
        return Person("The record of what was asked for cannot be read.")
    case = _Case(mine, [r for r in rivals if not are_twins(mine, r)], seen, server)
    # Oldest first: of several twins, each takes the one that fits it best.
    jobs = sorted(seen.jobs, key=lambda job: job.created_at or 0.0)
    for job in jobs:
        if seen.holders.get(job.id) == mine.key and job.id not in seen.known:
            return Adopt(job)
    free = [job for job in jobs if job.id not in seen.known and job.id not in seen.holders]
    verdicts = {job.id: case.verdict(job, mine.request, mine.doubt) for job in free}
    ours = [job for job in free if verdicts[job.id] == "ours" and job.id not in seen.torn]
    for job in ours:
        if not case.contesting(job):
            return Adopt(job)
    candidates = [job for job in free if verdicts[job.id] != "another"]
    if seen.can_wait and any(r.held for job in candidates for r in case.contesting(job)):
        return Wait()
    if ours:
        rival = case.contesting(ours[0])[0]
        return Person(
            f"Video {ours[0].id} may be its job, or that of render {rival.key} of this store, "
            "whose answer is missing, too: what the server shows does not tell them apart."
        )
    if seen.clock.now < seen.latest:
        return Wait()
    return _settled(candidates, seen, server) if candidates else _absent(mine, seen, server)


def _settled(candidates: list[Video], seen: Seen, server: Server) -> Outcome:
    """Say what follows where nothing is clearly ours, and something may be."""
    # A job may be on the list before the worker that sent it has claimed it.
    at_rest_since = seen.clock.now - server.profile.submit_grace_s
    at_rest = [job.id for job in candidates if seen.first_seen[job.id] <= at_rest_since]
    if not at_rest:
        return Wait()
    names = ", ".join(at_rest[:5])
    return Person(f"What the server says of its jobs does not decide it; it may be one of {names}.")


def _absent(mine: Asked, seen: Seen, server: Server) -> Outcome:
    """Say what follows where nothing on the list can be ours."""
    if seen.missing or not seen.is_whole:
        if seen.can_read_again:
            return Wait()
        if not seen.is_whole:
            return Person("The server's list of jobs cannot be read whole.")
        names = ", ".join(sorted(seen.missing)[:3])
        return Person(
            f"The server's list is not whole: it lacks {names}, which this server has accepted. "
            "Another of its replicas, or another account, may know the job."
        )
    if seen.same_account is False:
        return Person(
            "It was sent with another key than the one that asks now, and an account's list "
            "shows no other account's jobs."
        )
    memory_s = server.profile.remembers_seconds
    if memory_s is not None and seen.clock.now - mine.doubt.since > memory_s:
        return Person(
            "It is not on the server's list, which may have forgotten it: a job is known to stay "
            f"there for {memory_s / 3600:g} hours, and it was sent longer ago."
        )
    if seen.late_looks < limits().late_looks:
        return Wait()
    return Nothing()


def are_twins(one: Asked, other: Asked) -> bool:
    """Whether two requests ask for the same video, so that either may have the other's job."""
    if one.request is None or other.request is None:
        return False
    apart = set(_SAME_VIDEO)
    if one.reference_sha256 is None:  # no picture, nothing to fit
        apart.add("fit")
    asked = (request.model_dump(exclude=apart) for request in (one.request, other.request))
    return one.reference_sha256 == other.reference_sha256 and next(asked) == next(asked)


class _Case:
    """Who may have made each job, with all requests judged side by side."""

    def __init__(self, mine: Asked, rivals: list[Asked], seen: Seen, server: Server) -> None:
        self.mine, self.rivals, self.seen, self.server = mine, rivals, seen, server
        self._by_words: dict[tuple[str, ...], list[Video]] = {}
        for job in seen.jobs:
            if job.prompt is not None:
                self._by_words.setdefault(words(job.prompt), []).append(job)
        self._contesting: dict[str, list[Asked]] = {}

    def contesting(self, job: Video) -> list[Asked]:
        """Tell which others may have made a job that may be ours."""
        if job.id not in self._contesting:
            self._contesting[job.id] = [r for r in self.rivals if self._contests(job, r)]
        return self._contesting[job.id]

    def _contests(self, job: Video, rival: Asked) -> bool:
        clock, request = self.seen.clock, rival.request
        # No clock of the earth shows a job of then as one of now.
        if is_in_time(job, self.mine.doubt, clock) and is_far(job, rival.doubt, clock):
            return False
        if request is None:
            return job.prompt is None or title_slug(job.prompt) == rival.slug
        verdict = self.verdict(job, request, rival.doubt)
        return verdict != "another" and not self._would_be_shown_otherwise(job, request)

    def verdict(self, job: Video, request: VideoRequest, doubt: Doubt) -> Verdict:
        """Say whether a job can be that of a request, seen beside the others."""
        verdict = judge(job, request, self.server, doubt, self.seen.clock)
        if verdict == "perhaps":
            beside = (self.mine, *self.rivals)
            if any(_is_plainly_of(job, other.request, request) for other in beside):
                return "another"
        return verdict

    def _would_be_shown_otherwise(self, job: Video, request: VideoRequest) -> bool:
        """Whether the list proves that the server shows this size and length as they are asked for.

        A server that rounds them always does. This does not hold for models: a gateway takes
        another one where the first is busy.
        """
        return not has_same_shape(job, request) and any(
            is_shape_shown(one, request) for one in self._by_words.get(words(request.prompt), ())
        )


def _is_plainly_of(job: Video, other: VideoRequest | None, request: VideoRequest) -> bool:
    """Whether a job shows another's own words or source, which no server makes of this one's."""
    if other is None:
        return False
    if other.kind in DERIVED and job.remixed_from_video_id == other.source_video_id:
        return request.source_video_id != other.source_video_id
    return (
        job.prompt is not None
        and words(job.prompt) == words(other.prompt)
        and not are_akin(other.prompt, request.prompt)
    )
