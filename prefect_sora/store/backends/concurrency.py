"""Concurrency: blocking work in threads of its own kind, and many items a few at a time.

asyncio has a few threads for all that a process does. Drawing pictures, moving videos and slow
lookups would take them all, and the records of what was paid for would have to wait.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from contextvars import copy_context
from enum import Enum
from typing import BinaryIO, TypeVar

from prefect_sora.limits import limits

_T = TypeVar("_T")
_R = TypeVar("_R")


class Lane(Enum):
    """One kind of blocking work, which waits for no other kind."""

    RECORDS = "records"
    """Small files that are written: reservations, claims, acceptances."""
    LOOKS = "looks"
    """Small files that are read, and listings, which are not in the way of a record."""
    BYTES = "bytes"
    """Videos on their way to or from a store."""
    DRAWING = "drawing"
    """Pictures of videos."""

    @property
    def threads(self) -> int:
        """How many threads do this work at a time in one process, by the limits in force."""
        mine = limits()
        match self:
            case Lane.RECORDS:
                return mine.record_threads
            case Lane.LOOKS:
                return mine.look_threads
            case Lane.BYTES:
                return mine.byte_threads
            case Lane.DRAWING:
                return min(mine.drawing_threads, os.cpu_count() or 1)


RECORDS, LOOKS, BYTES, DRAWING = Lane


def start(lane: Lane | None, work: Callable[[], _T]) -> "asyncio.Future[_T]":
    """Begin blocking work in a thread, with the caller's context variables, so with its limits.

    The threads live as long as the process. The process ends only after what they have begun.

    Args:
        lane: Whose threads do the work; None: asyncio's own, for work that may be long.
        work: What blocks.
    """
    context = copy_context()
    pool = None if lane is None else _pool(lane)
    return asyncio.get_running_loop().run_in_executor(pool, lambda: context.run(work))


async def to_its_end(work: Callable[[], _T], lane: Lane | None = None) -> _T:
    """Run blocking work in a thread; when cancelled, wait for the work to end, then raise that.

    A thread cannot be stopped. Cleaning up while it still writes would leave behind what it
    writes next.

    Args:
        work: What blocks.
        lane: Whose threads do the work; None: asyncio's own.
    """
    running = start(lane, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        raise


async def pieces(opening: AbstractContextManager[BinaryIO]) -> AsyncIterator[bytes]:
    """Open a file and read it piece by piece, in threads."""
    with ExitStack() as opened:
        file = await to_its_end(lambda: opened.enter_context(opening), BYTES)
        while piece := await to_its_end(lambda: file.read(limits().piece_bytes), BYTES):
            yield piece


_pools: dict[tuple[Lane, int], ThreadPoolExecutor] = {}
_making = threading.Lock()


def _pool(lane: Lane) -> ThreadPoolExecutor:
    one = lane, lane.threads
    with _making:
        if one not in _pools:
            _pools[one] = ThreadPoolExecutor(lane.threads, f"prefect-sora {lane.value}")
        return _pools[one]


def _forget_after_fork() -> None:
    """A forked process has none of the threads, and maybe a lock that nobody will release."""
    global _pools, _making
    _pools, _making = {}, threading.Lock()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_forget_after_fork)


async def in_bounds(
    work: Callable[[_T], Awaitable[_R]], items: Iterable[_T] | AsyncIterable[_T]
) -> list[_R]:
    """Do something with each item, and hold no more items than are being worked on.

    Returns:
        All results that are not None, in no order.
    """
    came: list[_R] = []
    source = items if isinstance(items, AsyncIterable) else _each(items)
    waiting, turn = aiter(source), asyncio.Lock()

    async def serve() -> None:
        while True:
            async with turn:
                try:
                    item = await anext(waiting)
                except StopAsyncIteration:
                    return
            done = await work(item)
            if done is not None:
                came.append(done)

    workers = [asyncio.ensure_future(serve()) for _ in range(limits().records_at_once)]
    try:
        await asyncio.gather(*workers)
    finally:  # where one has failed, the others end, too
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return came


async def _each(items: Iterable[_T]) -> AsyncIterator[_T]:
    for item in items:
        yield item
