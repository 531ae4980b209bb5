"""Whole: one request carried home in one go, on the first of several servers that makes it."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from prefect_sora.cancelling import OnCancel
from prefect_sora.client import VideoClient
from prefect_sora.errors import RenderFailedError
from prefect_sora.fallback import Connect, pass_on_failed, submit_to_first
from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.keeping import keep
from prefect_sora.ledger import Ledger
from prefect_sora.rendering import wait
from prefect_sora.requests import VideoRequest
from prefect_sora.waiters import OnProgress

log = logging.getLogger(__name__)


async def render_whole(
    request: VideoRequest,
    servers: Sequence[Connect],
    ledger: Ledger,
    scope: str,
    *,
    timeout_seconds: float | None = None,
    poll_interval_seconds: float = 5.0,
    stall_seconds: float | None = None,
    on_cancel: OnCancel = "leave",
    on_submitted: Callable[[VideoJob], None] | None = None,
    on_progress: OnProgress | None = None,
    **submitting: Any,
) -> StoredVideo:
    """Submit, wait, keep; of several servers the next where one has failed for nothing.

    Args:
        request: What to render.
        servers: How to connect to each, the preferred first.
        ledger: The store's records.
        scope: Whom the render is shared with.
        timeout_seconds: As in `rendering.wait`, like the next three.
        poll_interval_seconds: See there.
        stall_seconds: See there.
        on_cancel: See there.
        on_submitted: Hears of the job that was accepted, or found.
        on_progress: Hears of each change at the server.
        submitting: As `fallback.submit_to_first` takes it.

    Raises:
        SoraError: As submitting, waiting and keeping say.
    """
    while True:
        job = await submit_to_first(
            request, servers, ledger, scope, timeout_seconds=timeout_seconds, **submitting
        )
        if on_submitted:
            on_submitted(job)
        client = await _client_of(job, servers)
        try:
            video = await wait(
                job,
                client,
                ledger,
                timeout_seconds=timeout_seconds,
                poll_interval_seconds=poll_interval_seconds,
                stall_seconds=stall_seconds,
                on_cancel=on_cancel,
                on_progress=on_progress,
            )
            return await keep(video, client, ledger)
        except RenderFailedError as error:
            last = await servers[-1]()
            await pass_on_failed(error, job, last.server.label, ledger)
            log.warning("Passed on to the next provider: %s", error.message)


async def _client_of(job: VideoJob, servers: Sequence[Connect]) -> VideoClient:
    """Find the server that has the job; a single one is taken at its word."""
    for connect in servers[:-1]:
        client = await connect()
        if client.server.label == job.provider:
            return client
    return await servers[-1]()
