"""Match: whether a job that a server lists can be the one of a create whose answer was lost.

What a server shows of a job need not be what it was sent: sizes are rounded,
models renamed, prompts improved, and many say nothing of the prompt. So only a
clear agreement makes a job ours, only a clear contradiction makes it another's,
and everything between is a doubt.
"""

from dataclasses import dataclass
from typing import Final, Literal

from prefect_sora.requests import DERIVED, VideoRequest
from prefect_sora.server import Server
from prefect_sora.wire import Video

CLOCK_SLACK_SECONDS: Final = 60.0
"""What a job's time may be off by, after the server's clock is told from its answer's Date, and
still be in time: seconds are cut off, replicas differ. Ours."""

CLOCK_DOUBT_SECONDS: Final = 900.0
"""What it may be off by before that shows that the job is another's: the Date may be a
gateway's, with another clock than that of the server behind it. Ours."""

Verdict = Literal["ours", "perhaps", "another"]


@dataclass(frozen=True)
class Doubt:
    """A create request that may have been accepted, and when that may have been.

    Attributes:
        since: When it was sent at the earliest, Unix seconds by our clock.
        until: When it was accepted at the latest.
    """

    since: float
    until: float


def judge(
    job: Video,
    request: VideoRequest,
    server: Server,
    doubt: Doubt,
    clock_ahead_s: float | None,
) -> Verdict:
    """Say whether a listed job can be the one that a request in doubt has made."""
    in_time = _in_time(job, doubt, clock_ahead_s)
    if in_time == "another" or job.status == "deleted" or not _same_source(job, request):
        return "another"
    alike = _alike(job, request, server)
    if job.prompt is None:
        return "perhaps"
    if _words(job.prompt) != _words(request.prompt):
        return "another" if server.profile.prompt_verbatim or not alike else "perhaps"
    return in_time if alike else "perhaps"


def _in_time(job: Video, doubt: Doubt, clock_ahead_s: float | None) -> Verdict:
    if job.created_at is None:
        return "ours"
    at = job.created_at - (clock_ahead_s or 0.0)
    if doubt.since - CLOCK_SLACK_SECONDS <= at <= doubt.until + CLOCK_SLACK_SECONDS:
        return "ours"
    slack = CLOCK_DOUBT_SECONDS
    return "perhaps" if doubt.since - slack <= at <= doubt.until + slack else "another"


def is_past(job: Video, doubt: Doubt, clock_ahead_s: float | None) -> bool:
    """Whether the job is older than any that can be ours, by whatever clock."""
    return job.created_at is not None and (
        job.created_at - (clock_ahead_s or 0.0) < doubt.since - CLOCK_DOUBT_SECONDS
    )


def _same_source(job: Video, request: VideoRequest) -> bool:
    if request.kind in DERIVED:
        return job.remixed_from_video_id in (request.source_video_id, None)
    return job.remixed_from_video_id is None


def _alike(job: Video, request: VideoRequest, server: Server) -> bool:
    """Whether size, length and model are those that were asked for, as far as they are shown."""
    if request.kind in DERIVED:  # they are the source's, which the request does not name
        return True
    if job.size is not None and job.size != request.size:
        return False
    if job.seconds is not None and job.seconds.removesuffix(".0") != str(request.seconds):
        return False
    asked = server.model_for(request.model)
    if job.model is None or asked is None or server.deployment is not None:
        return True
    # A gateway may answer with the model's dated name.
    return job.model.startswith(asked) or asked.startswith(job.model)


def _words(prompt: str) -> list[str]:
    return prompt.split()
