"""Wait options: how long a job is waited for, and when the wait is given up, as one value."""

from dataclasses import dataclass

from prefect_sora.renders.finish.cancel import OnCancel


@dataclass(frozen=True, kw_only=True)
class WaitOptions:
    """How long a job is waited for, and what becomes of it when the wait is cancelled.

    Attributes:
        timeout_seconds: The deadline of each render, of its submission too; past it the job is
            still resumable. None: as long as the clip's length, size and model give
            (`deadlines.deadline_seconds`), 600 s at least.
        poll_interval_seconds: Shortest pause between two requests.
        max_poll_attempts: The deadline in polls; the sooner of the two ends the wait.
        stall_seconds: How long status and progress may stay as they are, in a queue too.
        on_cancel: `leave` the job to the next run, or `delete` it where a person has cancelled
            the run that submitted it, and it is not finished.
        strict: Whether a clip of another size or length than was asked for is an error, once it
            is kept; else `StoredVideo.differences` tells it.
    """

    timeout_seconds: float | None = None
    poll_interval_seconds: float = 5.0
    max_poll_attempts: int | None = None
    stall_seconds: float | None = None
    on_cancel: OnCancel = "leave"
    strict: bool = False
