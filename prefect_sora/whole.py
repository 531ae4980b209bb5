"""Whole: one request carried home in one go, on the first of several servers that makes it."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prefect_sora.asked import Way
from prefect_sora.budgets import Budget
from prefect_sora.cancelling import ByPerson, OnCancel
from prefect_sora.client import VideoClient
from prefect_sora.connections import connect
from prefect_sora.deciding import Policy
from prefect_sora.errors import RenderFailedError
from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.keeping import keep
from prefect_sora.ledger import Ledger
from prefect_sora.passing import on_the_first, pass_on_failed
from prefect_sora.render_options import RenderOptions
from prefect_sora.rendering import wait
from prefect_sora.requests import VideoRequest
from prefect_sora.submitting import AskedVideo
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
    in_doubt: Policy = "stop",
    budget: Budget | None = None,
    parent_key: str | None = None,
    reference_options: Mapping[str, Any] | None = None,
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
        in_doubt: As in `RenderOptions`.
        budget: See there.
        parent_key: As in `AskedVideo`.
        reference_options: See there.

    Raises:
        SoraError: As submitting, waiting and keeping say.
    """
    while True:
        options = RenderOptions(
            scope, timeout_seconds=timeout_seconds, in_doubt=in_doubt, budget=budget
        )
        asked = AskedVideo(request, ledger, options, parent_key, reference_options)
        job = await on_the_first(ways, asked)
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
