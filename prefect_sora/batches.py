"""Batches: the flow `render_batch`, a table of requests with one task run for each render."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run as running_flow
from prefect.runtime import task_run as running_task
from pydantic import Field, JsonValue, WithJsonSchema

from prefect_sora import reports, results
from prefect_sora.batch_reports import Teller
from prefect_sora.batching import Batch, Plan, plan
from prefect_sora.blocks import Store, VideoStore, store_of
from prefect_sora.budgets import Budget
from prefect_sora.cancellations import by_a_person
from prefect_sora.cancelling import OnCancel
from prefect_sora.deciding import Policy
from prefect_sora.errors import BatchError, Paid
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.identity import title_slug
from prefect_sora.limits import limits
from prefect_sora.parameters import (
    InDoubt,
    MaxCostUsd,
    PollIntervalSeconds,
    Providers,
    Scope,
    StallSeconds,
    TimeoutSeconds,
    WhenCancelled,
)
from prefect_sora.providers import distinct, first_there, ways_to
from prefect_sora.requests import VideoRequest
from prefect_sora.results import BatchResult, Result
from prefect_sora.storage.filesystems import scheme_of
from prefect_sora.tables import Row, read_table, rows_of
from prefect_sora.tasks import run_scope, worth_retrying
from prefect_sora.whole import render_whole

_RETRY_DELAYS_SECONDS: Final = [2.0, 10.0, 30.0]

Requests = Annotated[
    # One field in the UI, whichever of the two a script passes.
    Annotated[str | Path, WithJsonSchema({"type": "string"})] | list[VideoRequest | dict[str, Any]],
    Field(
        description="Path or URL of a CSV, JSON lines, JSON or Parquet file whose columns are a "
        "request's fields; or the requests themselves."
    ),
]


def _task_name() -> str:
    return f"render · {running_task.parameters['request'].title}"


def _flow_name() -> str:
    return f"batch · {_name_of(running_flow.parameters.get('requests'))}"


@task(
    name="render-video",
    task_run_name=_task_name,
    cache_policy=NO_CACHE,
    persist_result=False,
    # The records decide what is sent: to try again never pays twice.
    retries=3,
    retry_delay_seconds=_RETRY_DELAYS_SECONDS,
    retry_condition_fn=worth_retrying,
)
async def render_video(
    request: VideoRequest,
    provider: Providers,
    store: VideoStore | str | Path,
    *,
    scope: str | None = None,
    timeout_seconds: float | None = None,
    poll_interval_seconds: float = 5.0,
    stall_seconds: float | None = None,
    on_cancel: OnCancel = "leave",
    in_doubt: Policy = "stop",
    max_cost_usd: float | None = None,
    show: bool = True,
) -> StoredVideo:
    """Render one request, from its submission to its kept video, in one task run.

    Args:
        request: What to render.
        provider: As in `submit_video`, like the next two.
        store: See there.
        scope: See there.
        timeout_seconds: As in `wait_for_video`, like the next three.
        poll_interval_seconds: See there.
        stall_seconds: See there.
        on_cancel: See there.
        in_doubt: As in `submit_video`.
        max_cost_usd: As in `submit_video`.
        show: Give the clip a page of its own in the UI.

    Raises:
        SoraError: Each says whether it was paid, and what to do next.
    """
    block = store_of(store)
    video = await render_whole(
        request,
        await ways_to(provider),
        block.ledger,
        scope or await run_scope(),
        timeout_seconds=timeout_seconds,
        poll_interval_seconds=poll_interval_seconds,
        stall_seconds=stall_seconds,
        on_cancel=on_cancel,
        by_person=by_a_person,
        on_submitted=_submitted,
        in_doubt=in_doubt,
        budget=Budget(max_cost_usd, block.daily_budget_usd),
    )
    if show:
        await reports.show(video, block.folder)
    return video


def _submitted(job: VideoJob) -> None:
    reports.submitted(job)


@flow(name="render-batch", flow_run_name=_flow_name)
async def render_batch(
    requests: Requests,
    provider: Providers,
    store: Store,
    max_concurrent: Annotated[
        int, Field(ge=1, description="How many renders are under way at a time.")
    ] = 2,
    scope: Scope = None,
    max_cost_usd: MaxCostUsd = None,
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
    timeout_seconds: TimeoutSeconds = None,
    poll_interval_seconds: PollIntervalSeconds = 5,
    stall_seconds: StallSeconds = None,
    in_doubt: InDoubt = "stop",
    on_cancel: WhenCancelled = "leave",
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
    Budget(max_cost_usd)
    block, several = store_of(store), await distinct(provider)
    rows = await _rows(requests, defaults, block)
    server = (await first_there(several)).server
    planned = plan(
        rows,
        server,
        # What one service has ended, the next of a list may still render.
        service=server.service if len(several) == 1 else None,
        max_cost_usd=max_cost_usd,
        skip_bad_rows=skip_bad_rows,
    )
    name, scope = _name_of(requests), scope or await run_scope()
    _announce(name, planned)
    teller = Teller(name)
    batch = Batch(planned, teller.tell)

    async def render(request: VideoRequest) -> StoredVideo:
        video: StoredVideo = await render_video(
            request,
            several,
            block,
            scope=scope,
            timeout_seconds=timeout_seconds,
            poll_interval_seconds=poll_interval_seconds,
            stall_seconds=stall_seconds,
            on_cancel=on_cancel,
            in_doubt=in_doubt,
            max_cost_usd=max_cost_usd,
            show=len(planned.renders) <= limits().clips_shown,
        )
        return video

    rows_done = await batch.run(render, max_concurrent)
    result = await _written(name, scope, planned, batch, rows_done, block)
    await teller.finish(batch.counts, result, rows_done)
    if fail_on_error and result.failed + result.not_started:
        raise _error(result, rows_done)
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
        return Path(str(requests).partition("?")[0]).stem
    return f"{len(requests)} requests" if isinstance(requests, Sequence) else "requests"


def _announce(name: str, planned: Plan) -> None:
    logger = reports.logger()
    for warning in planned.warnings:
        logger.warning("%s", warning)
    for row in planned.broken:
        logger.warning("Left out %s: %s", row.where, "; ".join(row.problems))
    logger.info("Batch %s: %s", name, planned)
    for why in planned.estimate.whys[:5]:
        logger.info("A price is unknown: %s", why)


async def _written(
    name: str, scope: str, planned: Plan, batch: Batch, rows: list[Result], store: VideoStore
) -> BatchResult:
    """Write the results next to the videos, under the same name for the same batch."""
    digest = hashlib.sha256(scope.encode())
    for row in planned.renders:
        digest.update(row.request.model_dump_json().encode() if row.request else b"")
    slug = title_slug(name)
    folder = f"batches/{slug}-{digest.hexdigest()[:12]}" if slug else digest.hexdigest()[:12]
    urls = [
        await store.folder.put(f"{folder}/results.{suffix}", write(rows))
        for suffix, write in _WRITERS
    ]
    counts = batch.counts
    return BatchResult(
        name=name,
        scope=scope,
        folder=folder,
        rows=len(rows),
        kept=results.count(rows, "kept"),
        failed=results.count(rows, "failed"),
        broken=results.count(rows, "broken"),
        duplicates=results.count(rows, "duplicate"),
        not_started=results.count(rows, "not_started"),
        estimated_usd=planned.estimate.usd,
        cost_usd=None if counts.unpriced else round(counts.spent_usd, 6),
        csv_url=urls[0],
        jsonl_url=urls[1],
        videos=batch.in_order(),
    )


_WRITERS: Final[tuple[tuple[str, Callable[[Sequence[Result]], bytes]], ...]] = (
    ("csv", results.as_csv),
    ("jsonl", results.as_json_lines),
)


def _error(result: BatchResult, rows: Sequence[Result]) -> BatchError:
    bad = [row for row in rows if row.outcome in ("failed", "not_started")]
    first = next((row for row in bad if row.outcome == "failed"), bad[0])
    told = {row.paid for row in bad}
    paid: Paid = "unknown" if "unknown" in told else "yes" if "yes" in told else "no"
    return BatchError(
        f"{result}. Row {first.row}: {first.error}",
        result=result,
        paid=paid,
        next_step=(f"{result.csv_url} tells all rows.", NextStep("again", scope=result.scope)),
    )
