"""Guarded: strange input is worked on in a child process, with bounds of memory and time.

A video can hold a decoder for minutes, or take all memory, and no thread can be stopped. The
child is started anew, never forked from this process, has none of its secrets in its environment,
and serves one call after another until nobody has called for a while. It reads the one file that
it is given through this process. A child that goes beyond a bound is ended, and the next call
has a new one.
"""

import atexit
import contextlib
import importlib
import io
import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from typing import IO, Any, BinaryIO, Final

from prefect_sora.limits import Limits, limited, limits

_HEAD: Final = struct.Struct(">cQ")
_KEPT: Final = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "LANG")
"""What of the environment a child is given."""


class GuardedError(Exception):
    """The work was not done: it raised an error, or went beyond a bound."""


def call(
    work: str, *given: Any, file: BinaryIO | None = None, within_seconds: float, memory_bytes: int
) -> list[bytes]:
    """Do work in a child; it blocks, so call it in a thread.

    Args:
        work: `module:function`. It takes the file, where there is one, then what is given, and
            returns bytes, or several, one after another.
        given: Plain JSON.
        file: What it reads and seeks in; only what it asks for is read.
        within_seconds: After so long it is ended.
        memory_bytes: What it may take besides what its code takes, where the system can tell.

    Raises:
        GuardedError: It has failed, and why.
    """
    mine, usual = asdict(limits()), asdict(Limits())
    asked = {"work": work, "given": given, "memory": memory_bytes, "seconds": within_seconds}
    asked["limits"] = {name: value for name, value in mine.items() if value != usual[name]}
    if file is not None:
        asked["size"] = file.seek(0, os.SEEK_END)
    try:
        child = _idle_child() or _Child()
    except OSError as error:
        raise GuardedError(f"no process can be started for it ({error})") from None
    late = threading.Timer(within_seconds, child.end, [f"it took longer than {within_seconds:g} s"])
    late.daemon = True
    late.start()
    try:
        made = child.ask(asked, file)
    except BaseException as error:
        child.end(f"its process ended ({type(error).__name__})")
        if isinstance(error, (OSError, EOFError, ValueError)) and child.ended:
            raise GuardedError(child.ended) from None
        raise
    finally:
        late.cancel()
    with _lock:
        _idle.append(child)
    if isinstance(made, str):
        raise GuardedError(made)
    return made


class _Child:
    """A process that does one call at a time."""

    def __init__(self) -> None:
        here = {name: os.environ[name] for name in _KEPT if name in os.environ}
        here["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        self.ended = ""
        self._process = subprocess.Popen(  # noqa: S603 - this very Python, with nothing of a user's
            [sys.executable, "-P", "-m", __name__],
            env=here,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C at the terminal is for us
        )
        assert self._process.stdin and self._process.stdout  # noqa: S101, PT018 - for the checker
        self._to, self._from = self._process.stdin, self._process.stdout

    @property
    def is_there(self) -> bool:
        """Whether it can be asked again: it goes by itself when it has nothing to do."""
        return self._process.poll() is None

    def ask(self, asked: dict[str, Any], file: BinaryIO | None) -> list[bytes] | str:
        """Return what it makes, or what it says went wrong."""
        _send(self._to, b"C", json.dumps(asked).encode())
        made: list[bytes] = []
        while True:
            kind, data = _receive(self._from)
            if kind == b"R" and file is not None:
                at, most = json.loads(data)
                file.seek(at)
                _send(self._to, b"D", file.read(min(most, limits().piece_bytes)))
            elif kind == b"V":
                made.append(data)
            elif kind == b"E":
                return data.decode(errors="replace")
            elif kind == b".":
                return made
            else:
                raise ValueError(kind)

    def end(self, why: str) -> None:
        """End it at once, and wait for that."""
        self.ended = self.ended or why
        self._process.kill()
        self._process.wait()
        for pipe in (self._to, self._from):
            with contextlib.suppress(OSError):
                pipe.close()


_idle: list[_Child] = []
_lock = threading.Lock()


def _idle_child() -> _Child | None:
    while True:
        with _lock:
            child = _idle.pop() if _idle else None
        if child is None or child.is_there:
            return child
        child.end("")


@atexit.register
def _end_all() -> None:
    while child := _idle_child():
        child.end("")


def _forget_after_fork() -> None:
    """A forked process shares its parent's pipes, and may not speak in them."""
    global _idle, _lock
    _idle, _lock = [], threading.Lock()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_forget_after_fork)


def _send(pipe: IO[bytes], kind: bytes, data: bytes = b"") -> None:
    pipe.write(_HEAD.pack(kind, len(data)) + data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> tuple[bytes, bytes]:
    head = pipe.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise EOFError
    kind, size = _HEAD.unpack(head)
    if size > limits().guarded_answer_bytes:
        raise ValueError(size)
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return kind, data


class _Asked(io.RawIOBase):
    """The file of a call, in the child: it asks for each piece that is read."""

    def __init__(self, size: int, source: BinaryIO, target: BinaryIO) -> None:
        self._size, self._at, self._from, self._to = size, 0, source, target

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        _send(self._to, b"R", json.dumps([self._at, len(buffer)]).encode())
        _, data = _receive(self._from)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _serve() -> None:
    """Answer calls until there are no more for a while: the child's own life."""
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    while _is_asked_again(source):
        try:
            kind, data = _receive(source)
        except EOFError:
            return
        asked = json.loads(data) if kind == b"C" else {}
        try:
            told = {n: tuple(v) if isinstance(v, list) else v for n, v in asked["limits"].items()}
            with limited(**told):
                for made in _done(asked, source, target):
                    _send(target, b"V", made)
        except MemoryError:
            _send(target, b"E", b"it takes too much memory")
        except Exception as error:
            _send(target, b"E", f"{getattr(error, 'message', error)}".encode(errors="replace"))
        else:
            _send(target, b".")


def _done(asked: dict[str, Any], source: BinaryIO, target: BinaryIO) -> Iterator[bytes]:
    module, _, function = asked["work"].partition(":")
    work = getattr(importlib.import_module(module), function)
    _hold_to(asked["memory"], asked["seconds"])
    if "size" in asked:
        file = io.BufferedReader(_Asked(asked["size"], source, target), limits().piece_bytes)
        made = work(file, *asked["given"])
    else:
        made = work(*asked["given"])
    yield from [made] if isinstance(made, bytes) else made


def _hold_to(memory_bytes: int, seconds: float) -> None:
    """Bound this process; where its parent is killed, its seconds end it."""
    try:
        import resource
    except ImportError:  # Windows, where the parent's clock alone bounds it
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    with contextlib.suppress(OSError, ValueError):  # macOS tells no such size, and holds to none
        with open("/proc/self/statm") as file:
            taken = int(file.read().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (taken + memory_bytes, hard))


def _is_asked_again(source: BinaryIO) -> bool:
    if os.name != "posix":  # elsewhere a pipe cannot be waited for; it ends with its parent
        return True
    import select

    return bool(select.select([source], [], [], limits().guarded_idle_seconds)[0])


if __name__ == "__main__":
    _serve()
