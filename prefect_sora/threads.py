"""Threads: blocking work waits for its own kind only, so that a paid id's record waits for nothing.

asyncio has a few threads for all that a process does. Pictures that are drawn, videos on their
way and slow lookups would take them all, and what was paid for would wait to be written down.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Final, TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True)
class Lane:
    """One kind of blocking work, and how many threads do it at a time in one process."""

    name: str
    threads: int


RECORDS: Final = Lane("records", 16)
"""Small files that are written: reservations, claims, acceptances. Each waits for the disk or
the network and needs no processor, so there are more threads than processors. Ours."""

LOOKS: Final = Lane("looks", 16)
"""Small files that are read, and listings. A sweep or a first charge asks for thousands at once;
they are not in the way of a record. Ours."""

BYTES: Final = Lane("bytes", 16)
"""Videos on their way to or from a store: those of two servers, see `DOWNLOADS_AT_ONCE`. Ours."""

DRAWING: Final = Lane("drawing", max(1, min(4, os.cpu_count() or 1)))
"""Pictures of videos. Each takes a whole processor and about 30 MiB: no more than there are
processors, and four at most. Ours."""

LANES: Final = (RECORDS, LOOKS, BYTES, DRAWING)


def start(lane: Lane, work: Callable[[], _T]) -> "asyncio.Future[_T]":
    """Begin blocking work in a thread of its lane, with the caller's context variables.

    The threads live as long as the process, whose end waits for what they have begun.
    """
    context = copy_context()
    return asyncio.get_running_loop().run_in_executor(_pool(lane), lambda: context.run(work))


async def to_its_end(work: Callable[[], _T], lane: Lane | None = None) -> _T:
    """Run blocking work in a thread; when cancelled, wait for it before saying so.

    A thread cannot be stopped, and cleaning up beside one that still writes would
    leave behind what it writes next.

    Args:
        work: What blocks.
        lane: Whose threads do it; None: asyncio's own, which are for work that may be long.
    """
    if lane is None:
        running = asyncio.get_running_loop().run_in_executor(None, work)
    else:
        running = start(lane, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        raise


_pools: dict[Lane, ThreadPoolExecutor] = {}
_making = threading.Lock()


def _pool(lane: Lane) -> ThreadPoolExecutor:
    with _making:
        if lane not in _pools:
            _pools[lane] = ThreadPoolExecutor(lane.threads, f"prefect-sora {lane.name}")
        return _pools[lane]


def _forget_after_fork() -> None:
    """A forked process has none of the threads, and maybe a lock that nobody will release."""
    global _pools, _making
    _pools, _making = {}, threading.Lock()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_forget_after_fork)
