"""Batch: many rows, a few renders at a time; what fails is collected, and the rest is kept."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from prefect_sora.errors import (
    AuthenticationError,
    BudgetExceededError,
    InvalidRequestError,
    QuotaError,
    SoraError,
    StorageError,
    UnavailableError,
)
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.handles import StoredVideo
from prefect_sora.renders.batches import results
from prefect_sora.renders.batches.results import BatchResult, Counts, Result
from prefect_sora.requests.table import Row, refuse_broken
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers import video_models
from prefect_sora.servers.estimates import Estimate, estimate, unknown_price
from prefect_sora.servers.profiles import Profile, Service
from prefect_sora.servers.server import Server
from prefect_sora.servers.video_prices import dollars
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.identity import title_slug

_ENDS_ALL: Final = (AuthenticationError, QuotaError, BudgetExceededError, StorageError)
"""Errors of the account, the money or the store, which concern every row."""


@dataclass(frozen=True)
class Plan:
    """What a batch will do, checked, with nothing sent yet.

    Attributes:
        rows: All rows.
        renders: Those that are rendered: sound, and each request once.
        first: The row that a duplicate repeats, by the duplicate's number.
        estimate: What `renders` cost.
        warnings: What is doubtful about them, each once.
    """

    rows: tuple[Row, ...]
    renders: tuple[Row, ...]
    first: dict[int, int]
    estimate: Estimate
    warnings: tuple[str, ...]

    @property
    def broken(self) -> list[Row]:
        """The rows that cannot be sent."""
        return [row for row in self.rows if row.problems]

    def __str__(self) -> str:
        """One line."""
        left_out = f", {len(self.first)} of them repeat another" if self.first else ""
        left_out += f", {len(self.broken)} broken" if self.broken else ""
        labels = dict.fromkeys(name for row in self.rows for name in row.labels)
        own = f"; your own columns go with the rows: {', '.join(labels)}" if labels else ""
        told = f"{len(self.renders)} renders, {self.estimate}{own}"
        return f"{len(self.rows)} rows{left_out}: {told}"


def plan(
    rows: Sequence[Row],
    server: Server,
    *,
    service: Service | None = None,
    max_cost_usd: float | None = None,
    skip_bad_rows: bool = False,
) -> Plan:
    """Check all rows, find those that repeat another, and price the rest.

    Args:
        rows: From `tables`.
        server: Its prices count.
        service: Whose own service it is, where that decides which models have ended.
        max_cost_usd: What all may cost together.
        skip_bad_rows: Go on without those that cannot be sent.

    Raises:
        InvalidRequestError: A row cannot be sent, or there is a budget and a price is
            not known. Nothing was sent.
        BudgetExceededError: The estimate is over the budget. Nothing was sent.
    """
    checked, warnings = _checked(rows, service, server.profile)
    if not skip_bad_rows:
        refuse_broken(checked)
    renders: list[Row] = []
    first: dict[int, int] = {}
    seen: dict[str, int] = {}
    for row in checked:
        if row.request is None:
            continue
        same = seen.setdefault(_told(row.request), row.number)
        if same == row.number:
            renders.append(row)
        else:
            first[row.number] = same
    if not renders:
        refuse_broken(checked)
        raise InvalidRequestError(
            "The batch has no rows.", next_step="Nothing was sent; give a request for each video."
        )
    told = estimate(_requests(renders), server)
    if max_cost_usd is not None:
        _refuse_over(told, renders, max_cost_usd)
    return Plan(tuple(checked), tuple(renders), first, told, tuple(warnings))


def _told(request: VideoRequest) -> str:
    return request.model_dump_json(exclude={"labels"})


def _checked(
    rows: Sequence[Row], service: Service | None, profile: Profile
) -> tuple[list[Row], list[str]]:
    """Check each row against the catalogue, too."""
    checked: list[Row] = []
    warnings: dict[str, None] = {}
    for row in rows:
        try:
            if row.request is not None:
                doubtful = video_models.check(row.request, service, profile=profile)
                warnings.update(dict.fromkeys(doubtful))
        except InvalidRequestError as error:
            row = replace(row, request=None, problems=(error.message.rstrip("."),))
        checked.append(row)
    return checked, [*warnings]


def _refuse_over(told: Estimate, renders: Sequence[Row], max_cost_usd: float) -> None:
    for row, price in zip(renders, told.prices, strict=True):
        # A row that starts from another video is priced when that is looked up, before sending.
        if price.usd is None and row.request and row.request.kind == "create":
            error = unknown_price(price.why)
            error.message = f"{row.where}: {error.message}"
            raise error
    if told.known_usd > max_cost_usd + 1e-6:
        raise BudgetExceededError(
            f"The {len(renders)} renders would cost {told}, and the run's budget is "
            f"{dollars(max_cost_usd)}.",
            budget_usd=max_cost_usd,
            spent_usd=0.0,
            asked_usd=told.known_usd,
            next_step="Nothing was sent. Raise max_cost_usd (--max-cost), or take out rows.",
        )


def name_of(file: str | Path) -> str:
    """Name a batch after the path or URL of its table."""
    return Path(str(file).partition("?")[0]).stem


def _requests(rows: Sequence[Row]) -> Iterator[VideoRequest]:
    return (row.request for row in rows if row.request is not None)


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
            digest.update(_told(row.request).encode() if row.request else b"")
        slug = title_slug(name)
        folder = f"batches/{slug}-{digest.hexdigest()[:12]}" if slug else digest.hexdigest()[:12]
        csv_url, jsonl_url = await results.write(rows, folder, store)
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
            not_as_asked=sum(row.not_as_asked is not None for row in rows),
            estimated_usd=self.plan.estimate.usd,
            cost_usd=None if self.counts.unpriced else round(self.counts.spent_usd, 6),
            csv_url=csv_url,
            jsonl_url=jsonl_url,
            videos=self.in_order(),
        )

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
        self.counts.spent_usd += video.cost_usd or 0.0
        self.counts.unpriced += video.cost_usd is None
        self._results[row.number] = results.kept(row, video)
        self._videos[row.number] = video

    def _failed(self, row: Row, error: Exception) -> None:
        self.counts.rendering -= 1
        self.counts.failed += 1
        self._results[row.number] = results.failed(row, error)
        if not isinstance(error, SoraError):
            self.counts.doubtful += 1
            return
        self.counts.doubtful += error.paid != "no"
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
