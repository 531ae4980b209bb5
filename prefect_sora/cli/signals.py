"""Signals: a signal cancels the work and lets it end well; the command never hangs.

The work runs in a thread of its own, because Prefect sets its own SIGTERM
handler in the main thread, and would raise an exception in the middle of a run.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType
from typing import Any, Final, TypeVar

T = TypeVar("T")

STOPPED: Final = "Stopped."
"""What is said where nobody knows more."""

_begun: list[bool] = []


def nothing_was_sent() -> bool:
    """Whether this process has not begun any work that `run` runs, so that nothing was sent."""
    return not _begun


class InterruptedBySignal(BaseException):
    """A signal stopped the command.

    Like KeyboardInterrupt, it is no Exception: it may come in the middle of a library that
    catches every Exception and goes on.

    Attributes:
        signum: Its number.
    """

    def __init__(self, signum: int, message: str = STOPPED) -> None:
        super().__init__(message)
        self.signum = signum


def on_sigterm() -> None:
    """Let SIGTERM end a command as Ctrl-C does: say so, and stop its temporary server."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise InterruptedBySignal(signum)

    signal.signal(signal.SIGTERM, stop)


@contextmanager
def heard() -> Iterator[None]:
    """Notice every signal, even in code that catches everything, as some libraries' imports do.

    Raises:
        InterruptedBySignal: A signal came: at once, or where that was caught, at the end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python tells signals to the main thread alone
        return
    caught: list[int] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        caught.append(signum)
        raise InterruptedBySignal(signum)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if caught:
        raise InterruptedBySignal(caught[0])


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end, or until a signal.

    Raises:
        InterruptedBySignal: A signal came, and the work has ended or its grace is over.
    """
    from prefect_sora.limits import limits  # what --help need not wait for

    _begun.append(True)
    thread = _Thread(work)
    caught: list[int] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        if caught:  # pressed twice: no more waiting
            raise InterruptedBySignal(signum)
        caught.append(signum)
        thread.cancel()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        thread.start()
        if caught:
            thread.cancel()
        deadline = None
        while thread.is_alive():
            thread.join(0.2)  # with a limit, so that Windows sees a signal, too
            if caught and deadline is None:
                deadline = monotonic() + limits().stop_seconds
            if deadline is not None and monotonic() > deadline:
                break
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if caught and (thread.is_alive() or thread.failure is not None):
        end_soon(caught[0])
        raise InterruptedBySignal(caught[0])
    if thread.failure is not None:
        raise thread.failure
    result: T = thread.result
    return result


def end_soon(signum: int) -> None:
    """End the process after a while, even if a library's threads do not end."""
    from prefect_sora.limits import limits

    watchdog = threading.Timer(limits().exit_seconds, os._exit, [128 + signum])
    watchdog.daemon = True
    watchdog.start()


class _Thread(threading.Thread):
    """One event loop, one task, one outcome."""

    result: Any

    def __init__(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        super().__init__(name="prefect-sora", daemon=True)
        self.failure: BaseException | None = None
        self._work = work
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None

    def run(self) -> None:
        try:
            self.result = asyncio.run(self._main())
        except BaseException as error:
            self.failure = error
        finally:
            self._ready.set()

    async def _main(self) -> Any:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._ready.set()
        return await self._work()

    def cancel(self) -> None:
        if not self.is_alive():
            return
        self._ready.wait()
        if self._loop is not None and self._task is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._task.cancel)
