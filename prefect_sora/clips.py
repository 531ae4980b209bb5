"""Clips: one request through its tasks to a kept video, wherever a flow renders one."""

from dataclasses import dataclass
from pathlib import Path

from prefect_sora.blocks import VideoStore, store_of
from prefect_sora.cancelling import OnCancel
from prefect_sora.deciding import Policy
from prefect_sora.errors import RenderFailedError
from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.passing import pass_on_failed
from prefect_sora.providers import Providers, listed
from prefect_sora.reports import logger
from prefect_sora.requests import VideoRequest
from prefect_sora.tasks import persist_video, submit_video, wait_for_video


@dataclass(frozen=True)
class How:
    """How a render is waited for and paid, as the flows' parameters of these names say."""

    scope: str
    timeout_seconds: float | None = None
    poll_interval_seconds: float = 5.0
    stall_seconds: float | None = None
    on_cancel: OnCancel = "leave"
    in_doubt: Policy = "stop"
    max_cost_usd: float | None = None


async def render_clip(
    request: VideoRequest,
    provider: Providers,
    store: VideoStore | str | Path,
    how: How,
    *,
    parent_key: str | None = None,
) -> StoredVideo:
    """Submit, wait, persist; of several providers the next where one has failed for nothing.

    Raises:
        SoraError: Each says which render, whether it was paid, and what to do next.
    """
    several = await listed(provider)
    while True:
        job = await submit_video(
            request,
            several,
            store,
            scope=how.scope,
            parent_key=parent_key,
            timeout_seconds=how.timeout_seconds,
            in_doubt=how.in_doubt,
            max_cost_usd=how.max_cost_usd,
        )
        try:
            return await bring_home(job, several, store, how)
        except RenderFailedError as error:
            last = (await several[-1].describe()).label
            await pass_on_failed(error, job, last, store_of(store).ledger)
            logger().warning("Passed on to the next provider: %s", error.message)


async def bring_home(
    job: VideoJob, provider: Providers, store: VideoStore | str | Path, how: How
) -> StoredVideo:
    """Wait for a job and keep its video.

    Raises:
        SoraError: As `wait_for_video` and `persist_video` say.
    """
    video = await wait_for_video(
        job,
        provider,
        store,
        timeout_seconds=how.timeout_seconds,
        poll_interval_seconds=how.poll_interval_seconds,
        stall_seconds=how.stall_seconds,
        on_cancel=how.on_cancel,
    )
    return await persist_video(video, provider, store)
