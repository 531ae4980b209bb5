"""Commands: each in a process of its own, forked off one that has imported what they all import.

Importing Prefect's and our dependencies costs a command two CPU seconds. So a server is kept
that has imported them, and neither Prefect nor this package, whose imports read the
environment. What a command does from there on, to its exit code, is its own.
"""

import atexit
import contextlib
import importlib
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

_OURS = ("prefect", "prefect_sora", "tests", "__main__", "__mp_main__")

_NEEDED = "import prefect_sora.flows, prefect_sora.cli.commands.render, s3fs, sys"

_STREAMS = ("stdout.txt", "stderr.txt")

_context = get_context("forkserver")


class Process(Protocol):
    """A command that was started."""

    @property
    def pid(self) -> int:
        """Its process, which leads a group."""

    def wait(self, timeout_seconds: float) -> int:
        """Wait for its end and give its exit code."""


Start = Callable[[Iterable[str], Mapping[str, str], Path], Process]


class Fresh:
    """A command's process, as a shell starts it."""

    def __init__(self, words: Iterable[str], environment: Mapping[str, str], folder: Path) -> None:
        out, err = (folder / name for name in _STREAMS)
        with out.open("wb") as stdout, err.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "prefect_sora.cli", *words],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=environment,
                cwd=folder,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def wait(self, timeout_seconds: float) -> int:
        """Wait for its end and give its exit code."""
        return self._process.wait(timeout_seconds)


class Forked:
    """A command's process, forked."""

    def __init__(self, words: Iterable[str], environment: Mapping[str, str], folder: Path) -> None:
        _context.set_forkserver_preload(["tests.support.preloaded"])
        self._process = _context.Process(target=_run, args=(list(words), dict(environment), folder))
        self._process.start()

    @property
    def pid(self) -> int:
        """Its process, which leads a group."""
        assert self._process.pid is not None
        return self._process.pid

    def wait(self, timeout_seconds: float) -> int:
        """Wait for its end and give its exit code."""
        self._process.join(timeout_seconds)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("prefect-sora", timeout_seconds)
        return self._process.exitcode


def _run(words: list[str], environment: dict[str, str], folder: Path) -> None:
    os.setsid()
    for number, name in enumerate(_STREAMS, start=1):
        with (folder / name).open("wb") as file:
            os.dup2(file.fileno(), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["prefect-sora", *words]
    from prefect_sora.cli import main

    try:
        sys.exit(main())
    finally:
        # What ends with the interpreter ends with the command, such as Prefect's own server.
        atexit._run_exitfuncs()


def preload() -> None:
    """Import what the commands import, but for Prefect and this package."""
    listed = subprocess.run(
        [sys.executable, "-c", f"{_NEEDED}; print(' '.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    quiet = io.StringIO()
    with contextlib.redirect_stderr(quiet), contextlib.redirect_stdout(quiet):
        for name in listed.stdout.split():
            if name.partition(".")[0] not in _OURS:
                with contextlib.suppress(Exception):  # one that only another may import
                    importlib.import_module(name)
