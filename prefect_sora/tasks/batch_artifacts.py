"""Batch artifacts: what the Prefect UI and the log show of a batch, at a bounded rate."""

from collections.abc import Sequence
from time import monotonic
from typing import Any

from prefect.artifacts import (
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.context import FlowRunContext

from prefect_sora.limits import limits
from prefect_sora.renders.batches.counts import Counts
from prefect_sora.renders.batches.results import OUTCOMES, BatchResult, Result
from prefect_sora.servers.video_prices import dollars
from prefect_sora.tasks.artifacts import counted, logger
from prefect_sora.tasks.markdown import cells, plain


class Reporter:
    """Tells how far a batch is: to a listener, as an artifact, and in the log."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._artifact: Any = None
        self._shown_at = self._logged_at = float("-inf")

    async def tell(self, counts: Counts) -> None:
        """Tell how far the batch is, unless that was told just now."""
        counted(counts)
        if monotonic() - self._logged_at >= limits().log_seconds:
            self._logged_at = monotonic()
            logger().info("Batch %s: %s", self._name, counts)
        if monotonic() - self._shown_at >= limits().progress_seconds:
            await self._show(counts)

    async def finish(self, counts: Counts, result: BatchResult, rows: Sequence[Result]) -> None:
        """Tell what came of the batch: the end of the progress, and a table of the rows."""
        counted(counts)
        logger().info("Batch %s: %s. All rows: %s", self._name, result, result.csv_url)
        await self._show(counts)
        if not FlowRunContext.get():
            return
        try:
            await acreate_table_artifact(
                cells(_table(rows)),
                key=f"batch-{result.folder[-12:]}",
                description=plain(f"Batch {self._name}: {result}. All rows: {result.csv_url}"),
            )
        except Exception as error:
            logger().warning("The results are kept, but cannot be shown in the UI: %s", error)

    async def _show(self, counts: Counts) -> None:
        if not FlowRunContext.get():
            return
        self._shown_at = monotonic()
        done = 100.0 * (counts.kept + counts.failed) / max(counts.total, 1)
        try:
            if self._artifact is None:
                self._artifact = await acreate_progress_artifact(done, description=str(counts))
            else:
                await aupdate_progress_artifact(self._artifact, done, str(counts))
        except Exception as error:
            logger().debug("No progress shown: %s", error)


def _table(rows: Sequence[Result]) -> list[dict[str, Any]]:
    """The rows that a person has to look at first, and as many of the others as fit."""
    sorted_rows = sorted(rows, key=lambda row: OUTCOMES.index(row.outcome))
    return [
        {
            "Row": row.where,
            "Outcome": _outcome(row),
            "Prompt": _short(row.prompt, 80),
            "Render": row.key or "",
            "Cost": "" if row.outcome not in ("kept", "duplicate") else dollars(row.cost_usd),
            "Real cost": "" if row.actual_usd is None else dollars(row.actual_usd),
            "Where or why": _short(_why_or_where(row), limits().said_characters),
            "What to do": row.next_step or "",
        }
        for row in sorted_rows[: limits().rows_shown]
    ]


def _outcome(row: Result) -> str:
    said = row.outcome.replace("_", " ")
    return f"{said}: moderation" if row.error_type == "ModerationError" else said


def _why_or_where(row: Result) -> str:
    if row.not_as_asked and not row.error:
        return f"{row.not_as_asked}: {row.url}"
    return row.error or row.url or ""


def _short(text: str, characters: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= characters else f"{line[: characters - 1]}…"
