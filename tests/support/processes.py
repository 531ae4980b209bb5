"""Python processes: each its own, forked off one that has imported what they all import.

Prefect, the codecs and this package take a second or two of CPU to import, and no test is about
that. So each worker of the suite keeps one process that has imported them, and has others forked
off it. Such a process begins with the environment that it is given: Prefect, which reads its
settings when it is imported, reads them at the first import that the program makes itself. What
the program does from there on, its signals and its exit code are its own.

`Forked` is used as `subprocess.Popen` is, and `run` as `subprocess.run`.
"""

import ast
import atexit
import contextlib
import gc
import importlib
import logging
import os
import pkgutil
import runpy
import signal
import sys
import types
from collections.abc import Iterable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from multiprocessing import get_context, reduction
from pathlib import Path
from subprocess import DEVNULL, PIPE, CompletedProcess, TimeoutExpired
from tempfile import TemporaryDirectory
from threading import Thread
from typing import IO, Any, ClassVar

_context = get_context("forkserver")

File = int | IO[Any] | None
"""DEVNULL, PIPE, an open file, or None: the one of the process that it is forked off."""


class _Passed:
    """A file descriptor on its way into a forked process, where it becomes a number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> Any:
        return _taken, (reduction.DupFd(self.number),)


def _taken(passed: Any) -> int:
    return int(passed.detach())


class Forked:
    """A Python process, started by words as the interpreter takes them: -c, -m, or a path.

    Args:
        words: What follows `python`.
        env: Its whole environment; None: ours.
        cwd: Where it works; None: where we do.
        stdin: What it reads.
        stdout: Where it writes; a pipe is read as text.
        stderr: The same for errors.
    """

    def __init__(
        self,
        words: Iterable[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdin: File = DEVNULL,
        stdout: File = None,
        stderr: File = None,
    ) -> None:
        _context.set_forkserver_preload(["tests.support.preloaded"])
        self.args = [str(word) for word in words]
        self.stdin: IO[str] | None = None
        self.stdout: IO[str] | None = None
        self.stderr: IO[str] | None = None
        theirs: list[_Passed | None] = []
        ours: list[int] = []
        for name, given in (("stdin", stdin), ("stdout", stdout), ("stderr", stderr)):
            end = given if isinstance(given, int) or given is None else given.fileno()
            if given == DEVNULL:
                ours.append(end := os.open(os.devnull, os.O_RDWR))
            elif given == PIPE:
                read, write = os.pipe()
                end, kept = (read, write) if name == "stdin" else (write, read)
                ours.append(end)
                mode = "w" if name == "stdin" else "r"
                setattr(self, name, os.fdopen(kept, mode, encoding="utf-8"))
            theirs.append(None if end is None else _Passed(end))
        environment = dict(os.environ if env is None else env)
        folder = str(cwd or os.getcwd())
        self._process = _context.Process(
            target=_begin, args=(self.args, environment, folder, theirs)
        )
        self._process.start()
        for end in ours:
            os.close(end)

    @property
    def pid(self) -> int:
        """Its number; it leads a process group."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended, or None."""
        return self.poll()

    def poll(self) -> int | None:
        """How it ended, or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and give its exit code.

        Raises:
            TimeoutExpired: It runs on.
        """
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise TimeoutExpired(self.args, timeout or 0.0)
        return code

    def communicate(self, said: str | None = None, timeout: float | None = None) -> tuple[str, str]:
        """Say something, and give all that it says until its end, on both pipes."""
        heard = {"stdout": "", "stderr": ""}

        def hear(name: str, pipe: IO[str]) -> None:
            with pipe:
                heard[name] = pipe.read()

        pipes = [(name, pipe) for name in heard if (pipe := getattr(self, name))]
        threads = [Thread(target=hear, args=both, daemon=True) for both in pipes]
        for thread in threads:
            thread.start()
        if self.stdin is not None:
            with contextlib.suppress(BrokenPipeError), self.stdin:
                self.stdin.write(said or "")
        self.wait(timeout)
        for thread in threads:
            thread.join()
        return heard["stdout"], heard["stderr"]

    def send_signal(self, number: int) -> None:
        """Send it a signal; what has ended gets none."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would; nobody hears it any more."""
        self.send_signal(signal.SIGKILL)
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def run(
    words: Iterable[str | os.PathLike[str]],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    timeout: float = 60.0,
) -> CompletedProcess[str]:
    """Run a Python process to its end, and give its exit code and what it wrote."""
    process = Forked(words, env=env, cwd=cwd, stdout=PIPE, stderr=PIPE)
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return CompletedProcess(process.args, process.wait(), out, err)


def _begin(
    words: list[str], environment: dict[str, str], folder: str, files: Sequence[int | None]
) -> None:
    os.setsid()
    for number, file in enumerate(files):
        if file is not None:
            os.dup2(file, number)
            os.close(file)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    _Late.hide()
    try:
        _become(words)
    finally:
        # What ends with the interpreter ends with the process, such as Prefect's own server.
        atexit._run_exitfuncs()


def _become(words: list[str]) -> None:
    """Do as the interpreter does with these words."""
    first, *rest = words
    if first == "-m":
        sys.argv = rest
        sys.path.insert(0, os.getcwd())
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path.insert(0, os.getcwd())
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), vars(main))  # noqa: S102 - it is the program
    else:
        sys.argv = words
        sys.path.insert(0, str(Path(first).parent))
        runpy.run_path(first, run_name="__main__")


class _Late(MetaPathFinder, Loader):
    """Gives a program Prefect, and what of ours imports it, when it asks for the first of them."""

    names: ClassVar[set[str]] = set()
    """What is hidden from a program until then."""

    @classmethod
    def hide(cls) -> None:
        """Take them out of what is imported already."""
        late = cls()
        late.modules = {name: sys.modules.pop(name) for name in cls.names}
        late.specs = {name: module.__spec__ for name, module in late.modules.items()}
        late.leaves = []
        for name in cls.names:
            parent, _, leaf = name.rpartition(".")
            above = sys.modules.get(parent)
            if above is not None and isinstance(vars(above).get(leaf), types.ModuleType):
                late.leaves.append((above, leaf))
                delattr(above, leaf)
        sys.meta_path.insert(0, late)

    modules: dict[str, types.ModuleType]
    specs: dict[str, ModuleSpec | None]
    leaves: list[tuple[types.ModuleType, str]]

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name in self.modules else None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        sys.meta_path.remove(self)
        sys.modules.update(self.modules)
        for above, leaf in self.leaves:
            setattr(above, leaf, sys.modules[f"{above.__name__}.{leaf}"])
        _read_settings()
        return self.modules[spec.name]

    def exec_module(self, module: types.ModuleType) -> None:
        module.__spec__ = self.specs[module.__name__]


def _read_settings() -> None:
    """Do what the import of Prefect does with the environment."""
    from prefect.context import refresh_global_settings_context
    from prefect.logging import configuration

    refresh_global_settings_context()
    configuration.PROCESS_LOGGING_CONFIG.clear()
    logging.getLogger().handlers.clear()
    configuration.setup_logging()


_LATER = (
    "openai",
    "anyio._backends._asyncio",
    "av.subtitles.stream",
    "encodings.idna",
    "prefect.engine",
    "prefect.flow_engine",
    "prefect.task_engine",
    "rich._emoji_codes",
    "s3fs",
)
"""What programs import only when they come to it, and then take a second of CPU for."""


def preload() -> None:
    """Import what programs import, and note what of it comes with Prefect."""
    from PIL import Image

    import prefect_sora

    with TemporaryDirectory() as home:
        os.environ["PREFECT_HOME"] = home
        names = [one.name for one in pkgutil.walk_packages(prefect_sora.__path__, "prefect_sora.")]
        for name in [*names, *_LATER]:
            if not name.endswith("__main__"):
                importlib.import_module(name)
    Image.init()  # imports a module for each format
    late = {name for name in sys.modules if name.partition(".")[0] == "prefect"}
    ours = {name: _imports(sys.modules[name]) for name in names if name in sys.modules}
    while found := {name for name, imports in ours.items() if imports & late} - late:
        late |= found
    _Late.names = late
    # What is imported is nobody's garbage: to look at it would copy its memory into each process.
    gc.collect()
    gc.freeze()


def _imports(module: types.ModuleType) -> set[str]:
    """What a module imports when it is imported itself."""
    found: set[str] = set()
    for node in ast.parse(Path(str(module.__file__)).read_bytes()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found
