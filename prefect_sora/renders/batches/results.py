"""Results: what became of each row of a batch, in memory, as a table and as files."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from prefect_sora.errors import (
    BatchError,
    Paid,
    RenderStalledError,
    RenderTimeoutError,
    SoraError,
    shown,
)
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.handles import StoredVideo
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.video_prices import dollars, side_by_side

if TYPE_CHECKING:  # they bring an HTTP library, which a command's --help does not need
    from prefect_sora.requests.table import Row
    from prefect_sora.store.backends import VideoFolder

Outcome = Literal["kept", "failed", "duplicate", "broken", "not_started"]

BATCH: Final = "batch.json"

OUTCOMES: Final[tuple[Outcome, ...]] = ("failed", "not_started", "broken", "duplicate", "kept")
"""What a person has to look at stands first."""


class Result(BaseModel):
    """What became of one row: a line of the results' files.

    Attributes:
        row: Its number, from 1.
        outcome: `duplicate` is the same render as an earlier row; `broken` could not be
            sent; `not_started` was not sent, because of what `error` says.
        same_as: The row that a duplicate repeats.
        not_as_asked: What of a kept clip is another than was asked for.
        cost_usd: Estimated, by the server's prices.
        actual_usd: What the server says that it cost, also where it made no clip.
        cost_doubt: What it says of it that cannot be so.
        paid: Whether a failed one was charged, as far as that is known.
        next_step: What to do about the error.
        labels: The user's own columns.
    """

    model_config = ConfigDict(frozen=True)

    row: int
    outcome: Outcome
    prompt: str
    model: str | None = None
    size: str | None = None
    seconds: int | None = None
    take: int | None = None
    same_as: int | None = None
    key: str | None = None
    video_id: str | None = None
    provider: str | None = None
    url: str | None = None
    sha256: str | None = None
    duration_seconds: float | None = None
    not_as_asked: str | None = None
    cost_usd: float | None = None
    actual_usd: float | None = None
    cost_doubt: str | None = None
    paid: Paid | None = None
    error_type: str | None = None
    error: str | None = None
    next_step: str | None = None
    labels: dict[str, JsonValue] = {}

    @property
    def goes_on(self) -> bool:
        """Whether it made no video yet: its wait has ended, and the render goes on."""
        late = (RenderTimeoutError.__name__, RenderStalledError.__name__)
        return self.outcome == "failed" and self.paid == "yes" and self.error_type in late

    @property
    def where(self) -> str:
        """Its number, and its id where it has one."""
        return f"{self.row} (id {self.labels['id']})" if "id" in self.labels else f"{self.row}"


class BatchRecord(BaseModel):
    """What `batch.json` beside a batch's results says of it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: int = 1
    at: float = Field(description="When its results were written, Unix seconds.")
    name: str
    scope: str
    rows: int
    kept: int
    failed: int
    broken: int
    duplicates: int
    not_started: int
    estimated_usd: float | None = None
    cost_usd: float | None = None
    actual_usd: float | None = None


class BatchResult(BaseModel):
    """What a batch came to; the rows are in its files.

    Attributes:
        name: What it is called.
        scope: Whom its renders are shared with: run again with it, what is kept is not paid.
        videos: What is kept, in the order of the rows, each once.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    scope: str
    folder: str = Field(description="Where its files are, below the store's root.")
    rows: int = Field(description="Rows of the table.")
    kept: int = Field(description="Rows whose video is in the store, without duplicates.")
    failed: int = Field(description="Rows that made no video.")
    unfinished: int = Field(
        default=0, description="Of the failed: rows whose render goes on, and counts as paid."
    )
    broken: int = Field(description="Rows that could not be sent.")
    duplicates: int = Field(description="Rows that repeat an earlier one, and are its render.")
    not_started: int = Field(description="Rows that were not sent: something stopped the batch.")
    not_as_asked: int = Field(
        default=0, description="Rows whose clip has another size or length than was asked for."
    )
    estimated_usd: float | None = Field(description="Before; None where a price is unknown.")
    cost_usd: float | None = Field(description="Of what is kept; None where a price is unknown.")
    actual_usd: float | None = Field(
        default=None, description="The same by the servers' word; None where one does not say."
    )
    already: int = Field(
        default=0, description="Of the kept: those that were, before this run. Nothing is paid now."
    )
    earlier_usd: float = Field(default=0.0, description="What those cost then, where it is known.")
    unfinished_usd: float | None = Field(
        default=0.0, description="Of what is unfinished; None where a price is unknown."
    )
    csv_url: str = Field(description="All rows, as CSV.")
    jsonl_url: str = Field(description="All rows, as JSON lines.")
    videos: tuple[StoredVideo, ...] = ()

    def __str__(self) -> str:
        """One line."""
        counts = {
            "failed": self.failed - self.unfinished,
            "not started": self.not_started,
            "left out": self.broken,
            "duplicate": self.duplicates,
            "not as asked": self.not_as_asked,
        }
        more = "".join(f", {count} {name}" for name, count in counts.items() if count)
        if self.already and self.already == self.kept and not (self.failed or self.not_started):
            kept = "was" if self.already == 1 else "were"
            return (
                f"{self.kept} of {self.rows} {kept} kept already{more}; nothing was sent, nothing "
                f"paid now ({dollars(self.earlier_usd)} earlier)"
            )
        if self.unfinished:
            still = (
                "is still rendering and counts"
                if self.unfinished == 1
                else ("are still rendering and count")
            )
            more += f", {self.unfinished} {still} as paid, {dollars(self.unfinished_usd)}"
            if not self.kept:
                return f"{self.kept} of {self.rows} kept{more}"
        cost = side_by_side(self.cost_usd, self.actual_usd)
        before = f", {dollars(self.earlier_usd)} of it earlier" if self.already else ""
        return f"{self.kept} of {self.rows} kept{more}; cost {cost}{before}"


def kept(row: "Row", video: StoredVideo) -> Result:
    """Say that a row's video is in the store."""
    return Result(
        **_asked(row),
        outcome="kept",
        not_as_asked=", ".join(video.differences) or None,
        **video.model_dump(
            include={
                *("key", "video_id", "provider", "url", "sha256", "duration_seconds"),
                *("cost_usd", "actual_usd", "cost_doubt"),
            }
        ),
    )


def failed(row: "Row", error: BaseException, outcome: Outcome = "failed") -> Result:
    """Say why a row made no video."""
    ours = error if isinstance(error, SoraError) else None
    return Result(
        **_asked(row),
        outcome=outcome,
        key=ours.key if ours else None,
        video_id=ours.video_id if ours else None,
        actual_usd=getattr(ours, "actual_usd", None),
        paid="no" if outcome == "not_started" else ours.paid if ours else "unknown",
        error_type=type(error).__name__,
        error=ours.message if ours else str(error) or type(error).__name__,
        next_step=ours.next_step if ours else None,
    )


def broken(row: "Row") -> Result:
    """Say what is wrong with a row."""
    return Result(**_asked(row), outcome="broken", paid="no", error="; ".join(row.problems))


def duplicate(row: "Row", first: Result) -> Result:
    """Say that a row is the same render as an earlier one."""
    costs = {"cost_usd", "actual_usd", "cost_doubt"}
    told = first.model_dump(exclude={"row", "outcome", *costs, "same_as", "labels"})
    cost_usd = 0.0 if first.outcome == "kept" else None
    own = {"row": row.number, "labels": row.labels, "same_as": first.row}
    return Result(**told, **own, outcome="duplicate", cost_usd=cost_usd)


def as_csv(results: Iterable[Result]) -> bytes:
    """Write results as CSV, with a header; the user's own columns stand last.

    One of them that is called like a column of ours has `input_` before its name. Text that a
    spreadsheet would take for a formula has a `'` before it; JSON lines have it as it is.
    """
    ours = [name for name in Result.model_fields if name != "labels"]
    rows = [
        {
            **result.model_dump(exclude={"labels"}),
            **{f"input_{n}" if n in ours else n: v for n, v in result.labels.items()},
        }
        for result in results
    ]
    header = dict.fromkeys([*ours, *(name for row in rows for name in row)])
    return shown.as_csv([*header], rows).encode()


def as_json_lines(results: Iterable[Result]) -> bytes:
    """Write results as JSON lines."""
    return "".join(f"{result.model_dump_json()}\n" for result in results).encode()


async def write(results: Sequence[Result], path: str, store: "VideoFolder") -> tuple[str, str]:
    """Write results as CSV and as JSON lines, and return the files' URLs.

    Args:
        results: All rows.
        path: Where, below the store's root.
        store: Where the videos are kept.

    Raises:
        StorageError: The store refuses.
    """
    return (
        await store.put(f"{path}/results.csv", as_csv(results)),
        await store.put(f"{path}/results.jsonl", as_json_lines(results)),
    )


def refuse_failed(result: BatchResult, rows: Sequence[Result]) -> None:
    """Stop where a row made no video.

    Raises:
        BatchError: Some made none; the others are kept.
    """
    bad = [row for row in rows if row.outcome in ("failed", "not_started")]
    if not bad:
        return
    failed = [row for row in bad if row.outcome == "failed" and not row.goes_on]
    told = {row.paid for row in bad}
    paid: Paid = "unknown" if "unknown" in told else "yes" if "yes" in told else "no"
    first = [*failed, *(row for row in bad if row.outcome != "failed")][:1]
    raise BatchError(
        f"{result}. {''.join(f'Row {row.where}: {row.error}' for row in first)}".rstrip(),
        result=result,
        paid=paid,
        next_step=(f"{result.csv_url} tells all rows.", NextStep("again", scope=result.scope)),
    )


def count(results: Sequence[Result], outcome: Outcome) -> int:
    """How many rows ended so."""
    return sum(result.outcome == outcome for result in results)


def _asked(row: "Row") -> dict[str, Any]:
    request: VideoRequest | None = row.request
    fields: dict[str, Any] = {"row": row.number, "prompt": row.prompt, "labels": row.labels}
    if request:
        fields |= request.model_dump(include={"model", "size", "seconds", "take"})
    return fields
