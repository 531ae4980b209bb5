"""Bounds: work on many items, a few of them at a time."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

from prefect_sora.limits import limits

_T = TypeVar("_T")
_R = TypeVar("_R")


async def in_bounds(
    work: Callable[[_T], Awaitable[_R]], items: Iterable[_T] | AsyncIterable[_T]
) -> list[_R]:
    """Do something with each item, and hold no more of them than are being worked on.

    Returns:
        What came of each but None, in no order.
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
    finally:  # where one has failed the others end, too
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return came


async def _each(items: Iterable[_T]) -> AsyncIterator[_T]:
    for item in items:
        yield item
