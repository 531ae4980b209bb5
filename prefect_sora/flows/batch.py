"""Batch: the flow `render_batch`, a table of requests with one task run for each render."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Unpack

from prefect.runtime import flow_run as running_flow
from pydantic import Field, JsonValue, WithJsonSchema

from prefect_sora.blocks import Store, VideoStore, store_of
from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.limits import limits
from prefect_sora.renders.batches import results
from prefect_sora.renders.batches.batch import Batch, name_of
from prefect_sora.renders.batches.plan import Plan
from prefect_sora.renders.batches.results import BatchResult, Result
from prefect_sora.renders.batches.within import plan_within
from prefect_sora.renders.run import PlainSteps, render
from prefect_sora.requests.table import Row, read_table, rows_of
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.protocol.video_object import Video
from prefect_sora.store.backends.filesystems import scheme_of
from prefect_sora.tasks import artifacts
from prefect_sora.tasks.batch_artifacts import Reporter
from prefect_sora.tasks.calling import flow, task
from prefect_sora.tasks.flow_runs import by_a_person, task_named
from prefect_sora.tasks.parameters import Providers, RenderParameters, options_of, spelled_out
from prefect_sora.tasks.providers import distinct, first_there, ways_to
from prefect_sora.tasks.video import AGAIN

Requests = Annotated[
    # One field in the UI, whichever of the two types a script passes.
    Annotated[str | Path, WithJsonSchema({"type": "string"})] | list[VideoRequest | dict[str, Any]],
    Field(
        description="Path or URL of a CSV, JSON lines, JSON or Parquet file whose columns are a "
        "request's fields; or the requests themselves."
    ),
]


def _flow_name() -> str:
    return f"batch · {_name_of(running_flow.parameters.get('requests'))}"


@task(name="render-video", task_run_name=task_named("render", "request"), **AGAIN)
@spelled_out
async def render_video(
    request: VideoRequest,
    provider: Providers,
    store: VideoStore | str | Path,
    *,
    show: bool = True,
    **how: Unpack[RenderParameters],
) -> StoredVideo:
    """Render one request, from its submission to its kept video, in one task run.

    Args:
        request: What to render.
        provider: Who renders it. Of a list the first; the next only where the one before
            has certainly not made it, and never after moderation.
        store: Where its records and its video are kept.
        show: Give the clip a page of its own in the UI.
        how: `scope`, `in_doubt` and `max_cost_usd`, as `submit_video` says;
            `timeout_seconds`, `poll_interval_seconds`, `max_poll_attempts`, `stall_seconds`,
            `on_cancel` and `on_progress`, as `wait_for_video` does; `strict`, as `persist_video`
            does.

    Raises:
        SoraError: Each says whether it was paid, and what to do next.
    """
    block = store_of(store)
    ledger = block.ledger
    jobs: list[VideoJob] = []

    def submitted(job: VideoJob) -> None:
        jobs.append(job)
        artifacts.submitted(job, ledger)

    hear = how.get("on_progress")

    def progressed(_: VideoJob, video: Video) -> object:
        return hear(video) if hear else None

    steps = PlainSteps(
        await ways_to(provider),
        ledger,
        await options_of(how, block),
        by_person=by_a_person,
        on_submitted=submitted,
        on_progress=progressed if hear else None,
    )
    async with artifacts.told_if_cancelled(jobs, ledger):
        video = await render(request, steps)
    if show:
        await artifacts.show(video, block.folder)
    return video


@flow(name="render-batch", flow_run_name=_flow_name)
@spelled_out
async def render_batch(
    requests: Requests,
    provider: Providers,
    store: Store,
    max_concurrent: Annotated[
        int, Field(ge=1, description="How many renders are under way at a time.")
    ] = 2,
    *,
    defaults: Annotated[
        dict[str, JsonValue] | None,
        Field(description="Fields of the requests that do not have them, such as the model."),
    ] = None,
    skip_bad_rows: Annotated[
        bool, Field(description="Go on without rows that cannot be sent, in place of refusing all.")
    ] = False,
    fail_on_error: Annotated[
        bool,
        Field(description="End as failed where a row made no video, after all others are kept."),
    ] = True,
    **how: Unpack[RenderParameters],
) -> BatchResult:
    """Render a table of requests, a few at a time, and keep what can be kept.

    Every row is checked before any is paid. What became of each stands in `results.csv` and
    `results.jsonl` next to the videos. Run again with the same scope, as a retry of this run
    does, only what is missing is rendered; equal rows are one render, unless `take` differs.

    Raises:
        InvalidRequestError: Rows cannot be sent, each named with its column; nothing was paid.
        BudgetExceededError: The estimate is over `max_cost_usd`; nothing was paid.
        BatchError: Some rows made no video, unless `fail_on_error` is off; the rest is kept.
        StorageError: The results cannot be written; the videos are kept.
    """
    block, several = store_of(store), await distinct(provider)
    options = await options_of(how, block)
    rows = await _rows(requests, defaults, block)
    server = (await first_there(several)).server
    planned = await plan_within(
        rows,
        server,
        options.scope,
        block.ledger,
        # What one service no longer offers, the next of a list may still render.
        service=server.ends_models if len(several) == 1 else None,
        max_cost_usd=how.get("max_cost_usd"),
        skip_bad_rows=skip_bad_rows,
    )
    name = _name_of(requests)
    _announce(name, planned)
    reporter = Reporter(name)
    batch = Batch(planned, reporter.tell)
    how["scope"] = options.scope
    show = len(planned.renders) <= limits().clips_shown

    async def render_one(request: VideoRequest) -> StoredVideo:
        return await render_video(request, several, block, show=show, **how)

    async def told(rows_done: Sequence[Result]) -> BatchResult:
        result = await batch.written(name, options.scope, rows_done, block.folder)
        await reporter.finish(batch.counts, result, rows_done)
        return result

    rows_done, result = await batch.carried_out(render_one, max_concurrent, options.scope, told)
    if fail_on_error:
        results.refuse_failed(result, rows_done)
    return result


async def _rows(
    requests: str | Path | Sequence[VideoRequest | dict[str, Any]],
    defaults: dict[str, JsonValue] | None,
    store: VideoStore,
) -> list[Row]:
    if not isinstance(requests, (str, Path)):
        return rows_of(requests, defaults)
    # A table beside the videos is read with the store's own credentials.
    beside = scheme_of(str(requests)) == scheme_of(store.url) and "://" in str(requests)
    options = store.folder.options if beside else None
    return await read_table(requests, defaults=defaults, options=options)


def _name_of(requests: object) -> str:
    if isinstance(requests, (str, Path)):
        return name_of(requests)
    return f"{len(requests)} requests" if isinstance(requests, Sequence) else "requests"


def _announce(name: str, planned: Plan) -> None:
    logger = artifacts.logger()
    for warning in planned.warnings:
        logger.warning("%s", warning)
    for row in planned.broken:
        logger.warning("Left out %s: %s", row.where, "; ".join(row.problems))
    logger.info("Batch %s: %s", name, planned)
    for why in planned.estimate.whys[:5]:
        logger.info("A price is unknown: %s", why)
