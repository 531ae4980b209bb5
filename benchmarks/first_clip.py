"""First clip: from the command to the file, against a Prefect flow that does nothing.

Both start from an empty home without a Prefect server, so that each of them makes a
database and runs a temporary server; ours starts the local renderer, renders, and keeps
the video with its pictures besides.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks.processes import FailedError, environment, seconds_of
from benchmarks.table import Pairs, Row
from prefect_sora.servers.local import find_running

TARGET = 1.2

_COMMAND = (
    *("-m", "prefect_sora.cli", "render", "a red kite over a grassy park"),
    *("--provider", "local", "--seconds", "4", "--size", "1280x720"),
)
_NOTHING = """\
from prefect import flow


@flow
def nothing() -> None: ...


nothing()
"""


def measure(rounds: int) -> Iterable[Row]:
    """Measure the first and the second command of a new user."""
    ours: tuple[list[float], list[float]] = ([], [])
    theirs: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        with (
            TemporaryDirectory(ignore_cleanup_errors=True) as ours_at,
            TemporaryDirectory(ignore_cleanup_errors=True) as theirs_at,
        ):
            for nth in (0, 1):
                ours[nth].append(_render(Path(ours_at), clips=nth + 1))
                theirs[nth].append(_do_nothing(Path(theirs_at)))
    for nth, word in enumerate(("first", "second")):
        yield Row(
            "first-clip",
            f"{word} clip of a new user, from command to file",
            f"{word} flow of a new user, an empty one",
            "s",
            Pairs(tuple(ours[nth]), tuple(theirs[nth])),
            TARGET if nth == 0 else None,
        )


def _render(home: Path, clips: int) -> float:
    try:
        took = seconds_of([sys.executable, *_COMMAND], home, environment(home))
    finally:
        _stop_renderer(home / ".prefect-sora" / "renderer")
    if len([*home.glob("renders/*/video.mp4")]) != clips:
        raise FailedError("The command succeeded, and its clip is not there.")
    return took


def _do_nothing(home: Path) -> float:
    script = home / "nothing.py"
    script.write_text(_NOTHING, "utf-8")
    return seconds_of([sys.executable, str(script)], home, environment(home))


def _stop_renderer(folder: Path) -> None:
    """End it, so that the next clip pays for its start again."""
    running = find_running(folder)
    if running is not None:
        process = psutil.Process(running.pid)
        process.terminate()
        process.wait(20)
