"""Batch: many rows, a few renders at a time; what fails is collected, and the rest is kept."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from time import time
from typing import Final, TypeVar

from prefect_sora.errors import (
    AuthenticationError,
    BudgetExceededError,
    QuotaError,
    SoraError,
    StorageError,
    UnavailableError,
)
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.handles import StoredVideo
from prefect_sora.limits import limits
from prefect_sora.renders.batches import results
from prefect_sora.renders.batches.counts import Counts
from prefect_sora.renders.batches.plan import Plan, as_asked
from prefect_sora.renders.batches.results import BatchRecord, BatchResult, Result
from prefect_sora.requests.table import Row
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.video_prices import total_usd
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.identity import title_slug
from prefect_sora.store.payments import Cost

T = TypeVar("T")

_ENDS_ALL: Final = (AuthenticationError, QuotaError, BudgetExceededError, StorageError)
"""Errors of the account, the money or the store, which concern every row."""


def name_of(file: str | Path) -> str:
    """Name a batch after the path or URL of its table."""
    return Path(str(file).partition("?")[0]).stem


class Batch:
    """The renders of a plan, under way.

    Attributes:
        counts: How far it is.
    """

    def __init__(self, planned: Plan, told: Callable[[Counts], Awaitable[None]]) -> None:
        self.plan = planned
        self.counts = Counts(queued=len(planned.renders))
        self._told = told
        self._results: dict[int, Result] = {}
        self._videos: dict[int, StoredVideo] = {}
        self._ended_by: SoraError | None = None
        self._began = time()
        self._prices = {
            row.number: price.usd
            for row, price in zip(planned.renders, planned.estimate.prices, strict=True)
        }

    async def run(
        self, render: Callable[[VideoRequest], Awaitable[StoredVideo]], max_concurrent: int
    ) -> list[Result]:
        """Render all, `max_concurrent` at a time, and say what became of each row.

        One that fails keeps no other from being kept. What is about the account, the
        money, the store or the connection ends the batch: the rest is not started.

        Args:
            render: Carries one request home; it raises where it cannot.
            max_concurrent: How many at a time.
        """
        await self._told(self.counts)
        waiting = iter(self.plan.renders)

        async def work() -> None:
            for row in waiting:  # shared: each takes the next
                if self._ended_by is None:
                    await self._one(row, render)
                else:
                    self._not_started(row, self._ended_by)

        async with asyncio.TaskGroup() as workers:
            for _ in range(min(max_concurrent, len(self.plan.renders))):
                workers.create_task(work())
        await self._told(self.counts)
        return [self._result(row) for row in self.plan.rows]

    async def carried_out(
        self,
        render: Callable[[VideoRequest], Awaitable[StoredVideo]],
        max_concurrent: int,
        scope: str,
        told: Callable[[Sequence[Result]], Awaitable[T]],
    ) -> tuple[list[Result], T]:
        """Render all, and tell what became of the rows, also where it is cancelled on its way.

        Args:
            render: As in `run`.
            max_concurrent: The same.
            scope: Whom the renders are shared with.
            told: Tells it, and writes it down.
        """
        try:
            rows = await self.run(render, max_concurrent)
        except asyncio.CancelledError:
            # A task of its own: what cancels again ends the wait for it alone.
            telling = asyncio.ensure_future(told(self.cancelled(scope)))
            await asyncio.wait([telling], timeout=limits().cancel_seconds)
            raise
        return rows, await told(rows)

    async def written(
        self, name: str, scope: str, rows: Sequence[Result], store: VideoFolder
    ) -> BatchResult:
        """Write what became of the rows next to the videos, and sum it up.

        Args:
            name: The batch's; the same batch in the same scope has the same files.
            scope: Whom its renders are shared with.
            rows: From `run`.
            store: Where the videos are kept.

        Raises:
            StorageError: The store refuses; the videos are kept.
        """
        digest = hashlib.sha256(scope.encode())
        for row in self.plan.renders:
            digest.update(as_asked(row.request).encode() if row.request else b"")
        slug = title_slug(name)
        folder = f"batches/{f'{slug}-' if slug else ''}{digest.hexdigest()[:12]}"
        csv_url, jsonl_url = await results.write(rows, folder, store)
        going_on = [row.row for row in rows if row.goes_on]
        result = BatchResult(
            name=name,
            scope=scope,
            folder=folder,
            rows=len(rows),
            kept=results.count(rows, "kept"),
            failed=results.count(rows, "failed"),
            broken=results.count(rows, "broken"),
            duplicates=results.count(rows, "duplicate"),
            not_started=results.count(rows, "not_started"),
            unfinished=len(going_on),
            unfinished_usd=total_usd(self._prices.get(number) for number in going_on),
            already=self.counts.already,
            earlier_usd=self.counts.earlier_usd,
            not_as_asked=sum(row.not_as_asked is not None for row in rows),
            estimated_usd=self.plan.estimate.usd,
            cost_usd=total_usd(video.cost_usd for video in self._videos.values()),
            actual_usd=total_usd(v.actual_usd for v in self._videos.values())
            if self._videos
            else None,
            csv_url=csv_url,
            jsonl_url=jsonl_url,
            videos=self.in_order(),
        )
        record = BatchRecord.model_validate({**result.model_dump(), "at": time()})
        await store.put(f"{folder}/{results.BATCH}", record.model_dump_json(indent=1).encode())
        return result

    def cancelled(self, scope: str) -> list[Result]:
        """Say what became of each row of a batch that was cancelled.

        Args:
            scope: Whom its renders are shared with.
        """
        because = SoraError("The batch was cancelled.", next_step=NextStep("again", scope=scope))
        for row in self.plan.renders:
            if row.number not in self._results:
                self._not_started(row, because)
        return [self._result(row) for row in self.plan.rows]

    def in_order(self) -> tuple[StoredVideo, ...]:
        """All that is kept, in the order of the rows, each once."""
        by_key = {self._videos[n].key: self._videos[n] for n in sorted(self._videos)}
        return tuple(by_key.values())

    async def _one(
        self, row: Row, render: Callable[[VideoRequest], Awaitable[StoredVideo]]
    ) -> None:
        assert row.request is not None  # noqa: S101 - a plan's renders have one
        self.counts.queued -= 1
        self.counts.rendering += 1
        await self._told(self.counts)
        try:
            video = await render(row.request)
        except asyncio.CancelledError as cancelled:
            self._cut_short(row, cancelled)
            raise
        except Exception as error:  # one that fails keeps no other from being kept
            self._failed(row, error)
        else:
            self._kept(row, video)
        await self._told(self.counts)

    def _kept(self, row: Row, video: StoredVideo) -> None:
        self.counts.rendering -= 1
        self.counts.kept += 1
        cost = Cost(True, video.cost_usd, video.actual_usd).best_usd
        if video.created_at < self._began:
            self.counts.already += 1
            self.counts.earlier_usd += cost or 0.0
        else:
            self.counts.spent_usd += cost or 0.0
            self.counts.unpriced += cost is None
        self._results[row.number] = results.kept(row, video)
        self._videos[row.number] = video

    def _failed(self, row: Row, error: Exception) -> None:
        self._results[row.number] = results.failed(row, error)
        if self._results[row.number].goes_on:  # so it stays among those that render
            cost = self._prices[row.number]
            self.counts.spent_usd += cost or 0.0
            self.counts.unpriced += cost is None
            return
        self.counts.rendering -= 1
        self.counts.failed += 1
        if not isinstance(error, SoraError):
            self.counts.doubtful += 1
            return
        actual_usd = getattr(error, "actual_usd", None)
        self.counts.spent_usd += actual_usd or 0.0
        self.counts.doubtful += error.paid != "no" and actual_usd is None
        unreachable = isinstance(error, UnavailableError) and error.never_sent
        if isinstance(error, _ENDS_ALL) or unreachable:
            self._ended_by = self._ended_by or error

    def _cut_short(self, row: Row, cancelled: asyncio.CancelledError) -> None:
        self.counts.rendering -= 1
        self.counts.failed += 1
        self.counts.doubtful += 1
        said = " ".join(getattr(cancelled, "__notes__", []))
        error = SoraError(f"The batch was cancelled. {said}".rstrip(), paid="unknown")
        self._results[row.number] = results.failed(row, error)

    def _not_started(self, row: Row, because: SoraError) -> None:
        self._results[row.number] = results.failed(row, because, "not_started")

    def _result(self, row: Row) -> Result:
        if row.request is None:
            return results.broken(row)
        if row.number in self.plan.first:
            return results.duplicate(row, self._results[self.plan.first[row.number]])
        return self._results[row.number]
