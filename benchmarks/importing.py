"""Import: what `import prefect_sora` costs a process, against `import prefect`."""

import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.processes import environment, seconds_of
from benchmarks.table import Row, alternate

TARGET = 1.1

_PAIRS = (
    ("import prefect_sora", "import prefect", TARGET),
    ("from prefect_sora import text_to_video", "from prefect import flow", None),
)


def measure(rounds: int) -> Iterable[Row]:
    """Time new interpreters, whole processes, in turn."""
    with TemporaryDirectory() as home:
        for ours, theirs, target in _PAIRS:
            run_ours, run_theirs = (
                partial(_seconds, Path(home), ours),
                partial(_seconds, Path(home), theirs),
            )
            alternate(1, run_ours, run_theirs)  # compiles, and fills the disk's cache
            pairs = alternate(rounds, run_ours, run_theirs)
            yield Row("import", ours, theirs, "s", pairs, target)


def _seconds(home: Path, statement: str, _: int) -> float:
    return seconds_of([sys.executable, "-c", statement], home, environment(home))
