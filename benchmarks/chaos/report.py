"""Report: the verdict first, then what it withstood."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.chaos.storm import Tally
from benchmarks.chaos.verdict import Verdict

_MIB = 2**20
_SHOWN = 20


@dataclass(frozen=True)
class Report:
    """What happened, and what became of the promise.

    Attributes:
        verdict: What was lost, paid twice, orphaned, kept.
        tally: What was done to it; empty where only the verdict was asked for.
        met: The faults, as the server has counted them.
    """

    verdict: Verdict
    tally: Tally
    met: Counter[str]

    def show(self, console: Console) -> None:
        """Print it."""
        verdict, tally = self.verdict, self.tally
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column()
        row = table.add_row
        row("lost", _number(len(verdict.lost)), "asked for and not kept whole, as recorded")
        row("double-paid", _number(len(verdict.double_paid)), "jobs beyond one for each render")
        row("orphaned", _number(len(verdict.orphaned)), "jobs that no record names")
        row("kept", _number(verdict.kept), f"of {verdict.asked} asked for")
        if tally.runs:
            self._show_tally(table)
        console.print(table)
        for reason, times in tally.doubts.most_common(_SHOWN):
            console.print(f"in doubt, {times} times: {reason}", markup=False, soft_wrap=True)
        for title, lines in (
            ("lost", verdict.lost),
            ("double-paid", verdict.double_paid),
            ("orphaned", verdict.orphaned),
            ("said", tally.said),
        ):
            for line in lines[:_SHOWN]:
                console.print(f"{title}: {line}", markup=False, soft_wrap=True)
            if len(lines) > _SHOWN:
                console.print(f"{title}: and {len(lines) - _SHOWN} more")

    def _show_tally(self, table: Table) -> None:
        tally, row = self.tally, table.add_row
        in_doubt = tally.errors["UncertainSubmitError"]
        pace = tally.kept_in_storm / (tally.storm_s / 60)
        row(
            "in doubt",
            _number(in_doubt),
            f"runs ended in UncertainSubmitError; {tally.decided} renders were for a person",
        )
        row("runs", _number(tally.runs), f"{tally.raced} renders raced by two workers at once")
        row("failed runs", _number(tally.errors.total()), _listed(tally.errors))
        row("workers killed", _number(tally.workers_killed), f"{tally.workers_died} died otherwise")
        row(
            "renderer killed",
            _number(tally.renderer_killed),
            f"{tally.renderer_died} times it died otherwise",
        )
        row("faults", _number(self.met.total()), _listed(self.met))
        row("peak memory", _number(tally.peak_bytes / _MIB), "MiB, of the largest worker")
        row(
            "a minute",
            _number(pace),
            f"renders kept: {tally.kept_in_storm} in {tally.storm_s:.0f} s of storm; "
            f"the rest in {tally.calm_s:.0f} s of calm",
        )

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        tally = {name: value for name, value in vars(self.tally).items() if name != "told"}
        document = {
            "held": self.verdict.held,
            "verdict": asdict(self.verdict),
            "tally": tally,
            "faults": self.met,
        }
        path.write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def _number(value: float) -> str:
    return f"{value:,.0f}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
