"""Whole: one request carried home in one go, on the first of several servers that makes it."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from prefect_sora.asked import Way
from prefect_sora.cancelling import ByPerson, OnCancel
from prefect_sora.client import VideoClient
from prefect_sora.connections import connect
from prefect_sora.errors import RenderFailedError
from prefect_sora.fallback import pass_on_failed, submit_to_first
from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.keeping import keep
from prefect_sora.ledger import Ledger
from prefect_sora.rendering import wait
from prefect_sora.requests import VideoRequest
from prefect_sora.waiters import OnProgress

log = logging.getLogger(__name__)


async def render_whole(
    request: VideoRequest,
    ways: Sequence[Way],
    ledger: Ledger,
    scope: str,
    *,
    timeout_seconds: float | None = None,
    poll_interval_seconds: float = 5.0,
    stall_seconds: float | None = None,
    on_cancel: OnCancel = "leave",
    by_person: ByPerson | None = None,
    on_submitted: Callable[[VideoJob], None] | None = None,
    on_progress: OnProgress | None = None,
    **submitting: Any,
) -> StoredVideo:
    """Submit, wait, keep; of several servers the next where one has failed for nothing.

    Args:
        request: What to render.
        ways: The servers, the preferred first.
        ledger: The store's records.
        scope: Whom the render is shared with.
        timeout_seconds: As in `rendering.wait`, like the next four.
        poll_interval_seconds: See there.
        stall_seconds: See there.
        on_cancel: See there.
        by_person: See there.
        on_submitted: Hears of the job that was accepted, or found.
        on_progress: Hears of each change at the server.
        submitting: As `fallback.submit_to_first` takes it.

    Raises:
        SoraError: As submitting, waiting and keeping say.
    """
    while True:
        job = await submit_to_first(
            request, ways, ledger, scope, timeout_seconds=timeout_seconds, **submitting
        )
        if on_submitted:
            on_submitted(job)
        client = await _client_of(job, ways)
        try:
            video = await wait(
                job,
                client,
                ledger,
                timeout_seconds=timeout_seconds,
                poll_interval_seconds=poll_interval_seconds,
                stall_seconds=stall_seconds,
                on_cancel=on_cancel,
                by_person=by_person,
                on_progress=on_progress,
            )
            return await keep(video, client, ledger)
        except RenderFailedError as error:
            await pass_on_failed(error, job, ways[-1].server.label, ledger)
            log.warning("Passed on to the next provider: %s", error.message)


async def _client_of(job: VideoJob, ways: Sequence[Way]) -> VideoClient:
    """Find the server that has the job; a single one is taken at its word.

    For a video that is kept the server is asked nothing, so it need not be there.
    """
    there = (way for way in ways[:-1] if way.server.label == job.provider)
    way = next(there, ways[-1])
    return connect(way.server) if job.stored else await way.connect()
