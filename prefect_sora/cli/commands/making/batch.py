"""`prefect-sora batch`: a table of requests."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from prefect_sora.cli import exits
from prefect_sora.cli.commands import pricing
from prefect_sora.cli.options import (
    ASK_ABOVE_USD,
    SHOWN,
    WAITING,
    WHERE,
    AskAbove,
    Count,
    Flag,
    MaxCost,
    Prefect,
    Shown,
    Waiting,
    Where,
)
from prefect_sora.cli.run import Making, chosen_by, make, run_command
from prefect_sora.cli.saved import NamedStore, store_named
from prefect_sora.cli.screen import Screen, describe, place
from prefect_sora.errors import BatchError
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.renders.environment import NamedProvider
from prefect_sora.store.identity import title_slug

if TYPE_CHECKING:
    from prefect_sora.cli.progress import Display
    from prefect_sora.handles import StoredVideo
    from prefect_sora.renders.batches.counts import Counts
    from prefect_sora.renders.batches.plan import Plan
    from prefect_sora.renders.batches.results import BatchResult, Result
    from prefect_sora.renders.run import PlainSteps
    from prefect_sora.requests.video import VideoRequest


def batch(
    file: str,
    *,
    where: Where = WHERE,
    model: str | None = None,
    size: str | None = None,
    seconds: Count | None = None,
    max_concurrent: Count = 2,
    max_cost: MaxCost = None,
    ask_above: AskAbove = ASK_ABOVE_USD,
    dry_run: Flag = False,
    skip_bad_rows: Flag = False,
    scope: str | None = None,
    anew: Flag = False,
    waiting: Waiting = WAITING,
    prefect: Prefect = None,
    shown: Shown = SHOWN,
) -> int:
    """Render all rows of a file; every row is checked before any is paid.

    What became of each row stands in results.csv and results.jsonl in the store. The same
    file run again renders only what is missing: what is kept is not paid for again.

    Args:
        file: Path or URL of CSV, JSON lines, JSON or Parquet; the columns are prompt, model,
            size, aspect_ratio, seconds, image, take and the other fields of a request.
        where: See above.
        model: The model of rows that name none; "" lets a server that has only one choose.
        size: The size of rows that name none.
        seconds: The length of rows that name none.
        max_concurrent: How many renders are under way at a time.
        max_cost: See above.
        ask_above: See above.
        dry_run: Check all rows and say what they will cost; nothing is sent.
        skip_bad_rows: Go on without rows that cannot be sent.
        scope: Runs that name one scope share their renders; without it, all runs of this
            file.
        anew: Pay for all rows anew, whatever is in the store; not with --scope, which shares.
        waiting: See above.
        prefect: See above.
        shown: See above.
    """
    defaults = pricing.row_defaults(model, size, seconds)

    def body(screen: Screen) -> int:
        renderer, store = chosen_by(where), store_named(where.store)
        shared = scope or (uuid4().hex if anew else _scope_of(file))
        planned = _planned(file, defaults, renderer, max_cost, skip_bad_rows, shared, store)
        for warning in planned.warnings:
            screen.warn(warning)
        for row in planned.broken:
            screen.warn(f"left out {row.where}: {'; '.join(row.problems)}")
        screen.note(f"{file}: {planned}")
        if dry_run:
            pricing.tell(screen, planned)
            return exits.OK
        pricing.agree(planned.estimate.known_usd, ask_above, max_cost)
        screen.note(f"  who   {renderer.label}\n  into  {place(store.name)}\n  scope {shared}")

        async def flow(flows: ModuleType, block: Any, folder: Any) -> "BatchResult":
            result: BatchResult = await flows.render_batch(
                file,
                provider=block,
                store=folder,
                scope=shared,
                max_concurrent=max_concurrent,
                max_cost_usd=max_cost,
                defaults=defaults,
                skip_bad_rows=skip_bad_rows,
                **waiting.options,
            )
            return result

        async def plainly(display: "Display") -> "BatchResult":
            from prefect_sora.cli.commands.making.plain import (
                Plainly,  # which --help need not wait for
            )
            from prefect_sora.renders.batches.batch import name_of

            how = Plainly([renderer], store, display, shared, max_cost, waiting.options)
            return await _rendered(name_of(file), planned, how.steps(), max_concurrent, display)

        try:
            making = Making([renderer], store, flow, plainly, batch=True)
            result = make(screen, making, prefect)
        except BatchError as error:
            error.known(store=where.store, provider=where.provider)
            again = NextStep("again", scope=shared if anew else None)
            error.advise(*(again if step.kind == "again" else step for step in error.steps))
            return _failed(error, screen)
        screen.document(result.model_dump(mode="json"))
        screen.result(f"✓ {result}", style="green")
        screen.file(result.csv_url)
        return exits.OK

    return run_command(shown, body, where.store, where.provider, pays=True)


def _planned(
    file: str,
    defaults: dict[str, Any],
    provider: NamedProvider,
    max_cost: float | None,
    skip_bad_rows: bool,
    scope: str,
    store: NamedStore,
) -> "Plan":
    from prefect_sora.renders.batches.within import plan_within
    from prefect_sora.requests.table import read_table

    if max_cost is not None:
        from prefect_sora.renders.submit.options import Budget  # which brings an HTTP library

        Budget(max_cost)
    from prefect_sora.store.ledger import Ledger

    server = pricing.server_of(provider)

    async def work() -> "Plan":
        return await plan_within(
            await read_table(file, defaults=defaults),
            server,
            scope,
            Ledger(store.folder),
            service=server.ends_models,
            max_cost_usd=max_cost,
            skip_bad_rows=skip_bad_rows,
        )

    return asyncio.run(work())


async def _rendered(
    name: str, planned: "Plan", steps: "PlainSteps", max_concurrent: int, display: "Display"
) -> "BatchResult":
    """Render all rows, and write what became of them, without Prefect."""
    from prefect_sora.renders.batches.batch import Batch
    from prefect_sora.renders.batches.results import refuse_failed
    from prefect_sora.renders.run import render, retried

    async def tell(counts: "Counts") -> None:
        display.counted(counts)

    async def render_one(request: "VideoRequest") -> "StoredVideo":
        return await retried(lambda: render(request, steps))

    batch = Batch(planned, tell)
    scope, folder = steps.options.scope, steps.ledger.store

    async def told(rows: "Sequence[Result]") -> "BatchResult":
        return await batch.written(name, scope, rows, folder)

    rows, result = await batch.carried_out(render_one, max_concurrent, scope, told)
    refuse_failed(result, rows)
    return result


def _scope_of(file: str) -> str:
    """Name what all runs of this file share; where it has changed, its equal rows."""
    name = title_slug(Path(file.partition("?")[0]).stem) or "batch"
    place = str(Path(file).expanduser().absolute()) if "://" not in file else file
    return f"batch-{name}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"


def _failed(error: BatchError, screen: Screen) -> int:
    """Tell that rows failed, and in the document all that was kept as well."""
    screen.trouble(error)
    document = error.result.model_dump(mode="json")
    screen.document({**document, "error": describe(error)})
    screen.file(error.result.csv_url)
    return exits.exit_code(error)
