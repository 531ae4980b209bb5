"""Tasks: one per step, small handles in and out, and the records decide what is sent.

Prefect's cache is off on all of them: it fails open, and the ledger is the one
source of truth on what was paid. Retrying any of them is therefore safe.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.runtime import flow_run as running_flow
from prefect.runtime import task_run as running_task
from prefect.tasks import Task

from prefect_sora import keeping, rendering, reports, variants
from prefect_sora.blocks import VideoStore, store_of
from prefect_sora.budgets import Budget
from prefect_sora.cancellations import by_a_person
from prefect_sora.cancelling import OnCancel
from prefect_sora.deciding import Policy
from prefect_sora.errors import SoraError
from prefect_sora.handles import RenderedVideo, StoredVideo, VideoJob
from prefect_sora.passing import on_the_first
from prefect_sora.providers import Providers, client_of, ways_to
from prefect_sora.render_options import RenderOptions
from prefect_sora.requests import VideoRequest, title
from prefect_sora.submitting import AskedVideo
from prefect_sora.variants import Variant
from prefect_sora.waiters import OnProgress

RETRY_DELAYS_SECONDS: Final = [2.0, 10.0, 30.0]


async def worth_retrying(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Let the error's type decide: never moderation, bad requests, keys or quota."""
    error = await state.aresult(raise_on_failure=False)
    return error.retryable if isinstance(error, SoraError) else False


def _named(step: str, argument: str) -> Any:
    """Name a task run for the timeline: `submit · a red kite over…`."""

    def name() -> str:
        value = running_task.parameters[argument]
        return f"{step} · {title(value if isinstance(value, str) else value.title)}"

    return name


@task(
    name="submit-video",
    task_run_name=_named("submit", "request"),
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=0,  # whether sending again is safe is known inside, where the records are
)
async def submit_video(
    request: VideoRequest,
    provider: Providers,
    store: VideoStore | str | Path,
    *,
    scope: str | None = None,
    parent_key: str | None = None,
    timeout_seconds: float | None = None,
    in_doubt: Policy = "stop",
    max_cost_usd: float | None = None,
    reference_options: Mapping[str, Any] | None = None,
) -> VideoJob:
    """Have a render accepted, once: the same request in the same scope is the same job.

    Args:
        request: What to render.
        provider: Who renders it. Of a list the first; the next only where the one before
            has certainly not accepted it, and never after moderation.
        store: Where its records, and later its video, are kept.
        scope: Whom the render is shared with; the root flow run where it is None.
        parent_key: The render that this one starts from.
        timeout_seconds: How long a server may put us off; None: as for `wait_for_video`.
        in_doubt: Whether to stop or to pay again where nobody can tell if it was accepted.
        max_cost_usd: What all renders of this scope may cost, in USD; the store's daily
            budget holds besides.
        reference_options: fsspec options for the reference image's URL; one in the store
            is opened with the store's.

    Raises:
        SoraError: See `prefect_sora.submitting.submit`; each says what was paid.
    """
    block = store_of(store)
    options = RenderOptions(
        scope or await run_scope(),
        timeout_seconds=timeout_seconds,
        in_doubt=in_doubt,
        budget=Budget(max_cost_usd, block.daily_budget_usd),
    )
    reference_options = reference_options or block.folder.options_of(request.reference)
    asked = AskedVideo(request, block.ledger, options, parent_key, reference_options)
    job = await on_the_first(await ways_to(provider), asked)
    reports.submitted(job)
    return job


@task(
    name="wait-for-video",
    task_run_name=_named("wait", "job"),
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=RETRY_DELAYS_SECONDS,
    retry_condition_fn=worth_retrying,
)
async def wait_for_video(
    job: VideoJob,
    provider: Providers,
    store: VideoStore | str | Path,
    *,
    timeout_seconds: float | None = None,
    poll_interval_seconds: float = 5.0,
    max_poll_attempts: int | None = None,
    stall_seconds: float | None = None,
    on_cancel: OnCancel = "leave",
    on_progress: OnProgress | None = None,
) -> RenderedVideo:
    """Wait for a job; all that wait for one server in one process share their requests.

    Args:
        job: From `submit_video` or `remix_video`.
        provider: Who renders it; of a list, the one that accepted it.
        store: Where its records are.
        timeout_seconds: The deadline; past it the job is still resumable. None: 600 s, and
            more for longer, larger or `pro` clips (`prefect_sora.deadlines`).
        poll_interval_seconds: Shortest pause between two requests.
        max_poll_attempts: Another way to say the deadline, in polls; the sooner of the two ends it.
        stall_seconds: How long status and progress may stay as they are, in a queue
            too, before the wait ends; the job is still resumable.
        on_cancel: `leave`: whatever ends the run, the job goes on for the next. `delete`: where
            somebody cancels the run at Prefect, a job that it has submitted, and that is not
            finished, is deleted for all who wait for it, if the server stops by that.
        on_progress: Called with the server's Video at each change, plain or async.

    Raises:
        SoraError: See `prefect_sora.rendering.wait`.
    """
    async with reports.progress_of(job, on_progress) as tell:
        return await rendering.wait(
            job,
            await client_of(job, provider),
            store_of(store).ledger,
            timeout_seconds=timeout_seconds,
            poll_interval_seconds=poll_interval_seconds,
            max_poll_attempts=max_poll_attempts,
            stall_seconds=stall_seconds,
            on_cancel=on_cancel,
            by_person=by_a_person,
            on_progress=tell,
        )


@task(
    name="persist-video",
    task_run_name=_named("persist", "video"),
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=RETRY_DELAYS_SECONDS,
    retry_condition_fn=worth_retrying,
)
async def persist_video(
    video: RenderedVideo, provider: Providers, store: VideoStore | str | Path
) -> StoredVideo:
    """Stream a finished video into the store, check it, record it, and show it in the UI.

    Args:
        video: From `wait_for_video`.
        provider: Who holds it; of a list, the one that made it.
        store: Where to keep it.

    Raises:
        SoraError: See `prefect_sora.keeping.keep`; the job stays resumable.
    """
    block = store_of(store)
    stored = await keeping.keep(video, await client_of(video, provider), block.ledger)
    await reports.show(stored, block.folder)
    return stored


@task(
    name="download-video",
    task_run_name=_named("download", "video"),
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=RETRY_DELAYS_SECONDS,
    retry_condition_fn=worth_retrying,
)
async def download_video(
    video: RenderedVideo, provider: Providers, path: str | Path, variant: Variant = "video"
) -> Path:
    """Fetch a finished video, or a still of it, to a file on this machine, whole or not at all.

    Args:
        video: From `wait_for_video`.
        provider: Who holds it; of a list, the one that made it.
        path: The file to write; one that is there is replaced. A still gets the suffix
            that its content has.
        variant: `video`, `thumbnail` or `spritesheet`; a still that the server does not
            have is drawn from the video.

    Raises:
        DownloadError: It could not be fetched; the server still has it, unless it
            is a `VideoExpiredError`.
        StorageError: The path cannot be written.
    """
    target = Path(path).expanduser().absolute()
    client = await client_of(video, provider)
    if variant != "video":
        return await variants.download_still(video, client, target, variant)
    await keeping.download(video, client, target)
    return target


async def run_scope() -> str:
    """Name the run that this render belongs to: the root flow run, through all retries."""
    # Reading the chain of parents asks the API, so it goes to a thread.
    root = await asyncio.to_thread(running_flow.get_root_flow_run_id)
    if root:
        return str(root)
    context = TaskRunContext.get()
    return str(context.task_run.id) if context else "none"
