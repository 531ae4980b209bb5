"""Reconcile: find the job of a create whose answer was lost, so that it is not paid twice."""

import asyncio
import logging
from collections.abc import Iterator
from time import monotonic
from typing import Final

from prefect_sora.client import VideoClient
from prefect_sora.errors import (
    RejectedError,
    SoraError,
    UncertainSubmitError,
    VideoNotFoundError,
)
from prefect_sora.ledger import Ledger, Reserved
from prefect_sora.requests import VideoRequest
from prefect_sora.wire import Video

log = logging.getLogger(__name__)

CLOCK_SKEW_SECONDS: Final = 60.0
"""How far the server's clock may be behind ours. Ours."""

MAX_PAGES: Final = 50
"""Up to 5,000 jobs newer than the doubt. Ours."""

OUTAGE_PATIENCE_SECONDS: Final = 60.0
"""How long a list that fails for the moment is asked again. Ours."""


async def find_accepted(
    reservation: Reserved, client: VideoClient, ledger: Ledger, since: float
) -> Video | None:
    """Find and claim the job that a lost create made.

    Returns:
        The job, claimed for this render; None where it is shown that there is none.

    Raises:
        UncertainSubmitError: The server does not list, or lists jobs that may be
            this one without saying what their prompts are.
        ApiError: The server does not answer; the render stays in doubt.
    """
    request = VideoRequest.model_validate(reservation.request)
    profile = client.server.profile
    if not profile.can_list:
        raise _in_doubt(reservation, "This server does not list its jobs.")
    grace_until = monotonic() + profile.submit_grace_s
    patience_until = monotonic() + OUTAGE_PATIENCE_SECONDS
    while True:
        try:
            jobs = await _jobs_since(client, since - CLOCK_SKEW_SECONDS)
        except (RejectedError, VideoNotFoundError) as error:
            raise _in_doubt(reservation, "This server does not list its jobs.") from error
        except SoraError as error:
            if not error.retryable or monotonic() > patience_until:
                raise error.about(key=reservation.key, paid="unknown") from None
            await asyncio.sleep(1.0)
            continue
        # Oldest first: of several twins, each doubt takes the one that fits it best.
        for job in sorted(jobs, key=lambda job: job.created_at or 0.0):
            if (
                _matches(job, request, client.server.deployment)
                and job.prompt is not None
                and await ledger.claim(client.server.identity, job.id, reservation.key)
            ):
                log.info("Render %s: adopted video %s", reservation.key, job.id)
                return job
        if monotonic() >= grace_until:
            nameless = [
                j.id
                for j in jobs
                if j.prompt is None and _matches(j, request, client.server.deployment)
            ]
            if nameless:
                raise _in_doubt(
                    reservation,
                    "This server does not say which prompt a job has; it may be one of "
                    f"{', '.join(nameless[:5])}.",
                )
            return None
        await asyncio.sleep(min(0.5, max(0.05, grace_until - monotonic())))


async def _jobs_since(client: VideoClient, since: float) -> list[Video]:
    jobs: list[Video] = []
    seen: set[str] = set()
    after: str | None = None
    for _ in range(MAX_PAGES):
        page = await client.list_page(after=after)
        fresh = [job for job in page.videos if job.id not in seen]
        seen.update(job.id for job in fresh)
        jobs += [job for job in fresh if job.created_at is None or job.created_at >= since]
        reached_the_past = any(j.created_at is not None and j.created_at < since for j in fresh)
        if not fresh or reached_the_past or page.next_after is None:
            return jobs
        after = page.next_after
    return jobs


def _matches(job: Video, request: VideoRequest, deployment: str | None) -> bool:
    """Whether the job can be this request's: all that the server says of it agrees."""
    return all(_agreements(job, request, deployment)) and job.status not in ("deleted", "expired")


def _agreements(job: Video, request: VideoRequest, deployment: str | None) -> Iterator[bool]:
    if job.prompt is not None:
        yield job.prompt == request.prompt
    if request.kind == "remix":
        yield job.remixed_from_video_id in (request.source_video_id, None)
        return
    yield job.remixed_from_video_id is None
    if job.size is not None:
        yield job.size == request.size
    if job.seconds is not None:
        yield job.seconds.removesuffix(".0") == str(request.seconds)
    if job.model is not None and request.model is not None and deployment is None:
        # A gateway may answer with the model's dated name.
        yield job.model.startswith(request.model) or request.model.startswith(job.model)


def _in_doubt(reservation: Reserved, why: str) -> UncertainSubmitError:
    key = reservation.key
    return UncertainSubmitError(
        f"The create request may have been accepted, and its answer was lost. {why}",
        key=key,
        paid="unknown",
        next_step=f"Look at the server: if the job is there, `prefect-sora resume {key} --adopt "
        f"VIDEO_ID`; if it is not, `prefect-sora resume {key} --resubmit`.",
    )
