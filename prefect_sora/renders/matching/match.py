"""Match: whether a job that a server lists can be the one of a create whose answer was lost.

What a server shows of a job need not be what it was sent: sizes are rounded,
models renamed, prompts improved, times written by a clock of any kind, and many say
nothing of the prompt. So only a clear agreement makes a job ours, only a clear
contradiction makes it another's, and everything between is a doubt.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from prefect_sora.limits import limits
from prefect_sora.requests.video import DERIVED, VideoRequest
from prefect_sora.servers.protocol.video_object import Video
from prefect_sora.servers.server import Server

WORST_CLOCK_SECONDS: Final = 26 * 3600.0
"""How far a clock may be off: as much as two local times of the earth differ, UTC-12 and
UTC+14, for some servers write local time as if it were UTC."""

Verdict = Literal["ours", "perhaps", "another"]

_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")


@dataclass(frozen=True)
class Doubt:
    """A create request that may have been accepted, and when that may have been.

    Attributes:
        since: When it was sent at the earliest, Unix seconds by our clock.
        until: When it was accepted at the latest.
    """

    since: float
    until: float

    def distance_s(self, at: float) -> float:
        """How far a time lies outside the doubt, in seconds; 0 within."""
        first, last = sorted((self.since, self.until))  # a clock may have been set back between
        return max(first - at, at - last, 0.0)


@dataclass(frozen=True)
class Clock:
    """How a server's times are read.

    Attributes:
        now: Our time when the list was asked for, Unix seconds.
        ahead_s: How far the answer's Date was ahead of us, in seconds; it may be a gateway's.
    """

    now: float
    ahead_s: float | None = None

    def readings(self, shown: float | None) -> list[float]:
        """Read a time by the answer's Date and as it stands; empty where it can be neither."""
        ahead_s = self.ahead_s or 0.0
        if abs(ahead_s) > WORST_CLOCK_SECONDS:
            ahead_s = 0.0
        if shown is None or shown - ahead_s > self.now + WORST_CLOCK_SECONDS:
            return []
        return [shown - ahead_s, shown]


def judge(job: Video, request: VideoRequest, server: Server, doubt: Doubt, clock: Clock) -> Verdict:
    """Say whether a listed job can be the one that a request in doubt has made."""
    verbatim = server.profile.prompt_verbatim
    own_source = job.remixed_from_video_id in (None, request.source_video_id)
    # A gateway may know the source by another id than the one that it gave us.
    if not own_source and (verbatim or request.kind not in DERIVED):
        return "another"
    prompt = job.prompt
    same = prompt is not None and words(prompt) == words(request.prompt)
    if prompt is not None and not same:
        may_be_made_of_it = has_same_shape(job, request) or are_akin(prompt, request.prompt)
        if verbatim or not may_be_made_of_it:
            return "another"
    if not same and is_far(job, doubt, clock):
        return "another"
    clear = own_source and is_in_time(job, doubt, clock) and is_alike(job, request, server)
    return "ours" if same and clear and job.status != "deleted" else "perhaps"


def is_in_time(job: Video, doubt: Doubt, clock: Clock) -> bool:
    """Whether a job's time, by the answer's Date, lies where the request was on its way."""
    readings = clock.readings(job.created_at)
    return bool(readings) and doubt.distance_s(readings[0]) <= limits().clock_slack_seconds


def is_far(job: Video, doubt: Doubt, clock: Clock) -> bool:
    """Whether its time is one that no clock of the earth shows while the request was on its way."""
    readings = clock.readings(job.created_at)
    return bool(readings) and min(map(doubt.distance_s, readings)) > WORST_CLOCK_SECONDS


def is_past(job: Video, doubt: Doubt, clock: Clock, off_s: float) -> bool:
    """Whether a job is older than any that can be ours, by a clock that is `off_s` seconds off."""
    readings = clock.readings(job.created_at)
    return bool(readings) and max(readings) < min(doubt.since, doubt.until) - off_s


def is_alike(job: Video, request: VideoRequest, server: Server) -> bool:
    """Whether size, length and model are those that were asked for, as far as they are shown."""
    return has_same_shape(job, request) and (
        request.kind in DERIVED or _same_model(job.model, request, server)
    )


def is_shape_shown(job: Video, request: VideoRequest) -> bool:
    """Whether size and length are shown, and just as they were asked for."""
    return (
        request.kind not in DERIVED
        and None not in (job.size, job.seconds)
        and has_same_shape(job, request)
    )


@lru_cache(maxsize=1024)  # a busy account's list is compared with every request in doubt
def words(prompt: str) -> tuple[str, ...]:
    """Split a prompt into words: neither blanks nor the ways to encode a letter count."""
    return tuple(unicodedata.normalize("NFC", prompt).split())


def are_akin(one: str, other: str) -> bool:
    """Whether one prompt may have been made of the other: one holds all words of the other."""
    one, other = _plain(one), _plain(other)
    a, b = (set(re.findall(r"\w+", prompt)) for prompt in (one, other))
    held = len(a & b) == min(len(a), len(b))
    return held or _holds(one, other) or _holds(other, one)


def _holds(text: str, part: str) -> bool:
    """Whether a text holds another one that neither begins nor ends within a word or number.

    Some languages put no blanks between their words; their letters have no capitals.
    """
    ends = ((m.start(), m.start() + len(part)) for m in re.finditer(f"(?={re.escape(part)})", text))
    return any(not (_is_in_a_word(text, a) or _is_in_a_word(text, b)) for a, b in ends)


def _is_in_a_word(text: str, at: int) -> bool:
    beside = text[max(at - 1, 0) : at + 1]
    return len(beside) == 2 and all(c.isdigit() or c.lower() != c.upper() for c in beside)


def _plain(prompt: str) -> str:
    return " ".join(words(prompt)).casefold()


def has_same_shape(job: Video, request: VideoRequest) -> bool:
    """Whether size and length are those that were asked for, as far as they are shown."""
    if request.kind in DERIVED:  # the shape is the source's, which the request does not name
        return True
    return job.size in (None, request.size) and (
        job.seconds is None or _number(job.seconds) == request.seconds
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _same_model(shown: str | None, request: VideoRequest, server: Server) -> bool:
    asked = {server.deployment, server.model_for(request.model)} - {None}
    if shown is None or not asked:
        return True
    # A server may answer with the model's dated name.
    return any(
        name in (shown, _DATED.sub("", shown)) or shown == _DATED.sub("", name)
        for name in asked
        if name
    )
