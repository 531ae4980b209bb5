"""`python -m benchmarks [NAME ...]`: measure, print the ratios, fail if a target is missed."""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import batches, first_clip, importing, memory, stitching, table, waiting

Measure = Callable[[argparse.Namespace], Iterable[table.Row]]

BENCHMARKS: dict[str, Measure] = {
    "first-clip": lambda given: first_clip.measure(given.rounds or 3),
    "batch": lambda given: batches.measure(given.rounds or 3),
    "memory": lambda given: memory.measure(given.rounds or 3, given.megabytes),
    "import": lambda given: importing.measure(given.rounds or 7),
    "stitch": lambda given: stitching.measure(given.rounds or 3),
    "wait": lambda given: waiting.measure(given.rounds or 7),
}


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--rounds", type=int, help="of each benchmark; its own number if left out")
    parser.add_argument("--megabytes", type=int, default=1024, help="size of memory's large video")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measurements there")
    given = parser.parse_args(words)
    unknown = [name for name in given.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark is called {unknown[0]}")
    if not 64 <= given.megabytes <= 4000:
        parser.error("--megabytes goes from 64 to 4000")
    return given


def main() -> int:
    """Run what the command line names, or everything."""
    given = parse()
    told = Console(stderr=True)
    rows: list[table.Row] = []
    for name in given.names or BENCHMARKS:
        with told.status(f"measuring {name}"):
            rows += BENCHMARKS[name](given)
    table.show(rows, Console(width=None if sys.stdout.isatty() else 140))
    if given.json:
        table.save(rows, given.json)
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
