"""Table: one line per promise, the ratio first, for machines differ and ratios hardly do."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Pairs:
    """Measurements of ours and of what it is compared with, taken in turn.

    Attributes:
        ours: One per round.
        theirs: One per round, taken right after ours.
    """

    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """Ours by theirs, round by round: what disturbs a round disturbs both."""
        return tuple(a / b for a, b in zip(self.ours, self.theirs, strict=True))


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        benchmark: Whose row it is.
        ours: What was measured of ours, in words.
        theirs: What it is compared with, in words.
        unit: Of both.
        pairs: The measurements.
        target: The ratio must not exceed it; None: for information.
    """

    benchmark: str
    ours: str
    theirs: str
    unit: str
    pairs: Pairs
    target: float | None = None

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return median(self.pairs.ratios)

    @property
    def met(self) -> bool | None:
        """Whether the target is kept; None where there is none."""
        return None if self.target is None else self.ratio <= self.target


def alternate(rounds: int, ours: Callable[[int], float], theirs: Callable[[int], float]) -> Pairs:
    """Measure in turn: ours, theirs, ours, theirs."""
    measured = [(ours(index), theirs(index)) for index in range(rounds)]
    return Pairs(*zip(*measured, strict=True))


def show(rows: Sequence[Row], console: Console) -> None:
    """Print the rows."""
    table = Table(show_lines=True)
    table.add_column("benchmark")
    table.add_column("ratio", justify="right", style="bold")
    table.add_column("lowest to highest", justify="right")
    table.add_column("target", justify="right")
    table.add_column("met")
    table.add_column("ours (median)", ratio=1)
    table.add_column("against (median)", ratio=1)
    for row in rows:
        table.add_row(
            row.benchmark,
            f"{row.ratio:.3g}",
            f"{min(row.pairs.ratios):.3g} to {max(row.pairs.ratios):.3g}",
            "" if row.target is None else f"≤ {row.target:g}",
            {True: "[green]yes", False: "[red]no", None: ""}[row.met],
            f"{row.ours}: {_number(median(row.pairs.ours))} {row.unit}",
            f"{row.theirs}: {_number(median(row.pairs.theirs))} {row.unit}",
        )
    console.print(table)


def save(rows: Sequence[Row], path: Path) -> None:
    """Write the rows as JSON, each with its measurements."""
    documents = [{**asdict(row), "ratio": row.ratio, "met": row.met} for row in rows]
    path.write_text(json.dumps({"rows": documents}, indent=2) + "\n", "utf-8")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
