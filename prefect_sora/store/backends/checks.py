"""Checks: what a store can do is tried once in a process, however many ask.

A store where two writers can create the same file cannot hold records. Many servers with S3's
interface ignore the condition of a write, and tell the second writer, too, that it succeeded.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Hashable
from weakref import WeakKeyDictionary

_Key = tuple[int, Hashable]

# By process: a forked process may have another network, and another mount.
_proved: set[_Key] = set()
_under_way: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Key, asyncio.Task[None]]] = (
    WeakKeyDictionary()
)


async def once(what: Hashable, prove: Callable[[], Awaitable[None]]) -> None:
    """Run a proof, unless it has succeeded in this process before.

    Callers that ask meanwhile wait for the same proof; cancelling one of them stops none of the
    others. A proof that failed is run again for the next caller.

    Raises:
        Exception: Whatever the proof raised.
    """
    key = (os.getpid(), what)
    if key in _proved:
        return
    here = _under_way.setdefault(asyncio.get_running_loop(), {})
    task = here.get(key)
    if task is None:

        async def proof() -> None:
            try:
                await prove()
                _proved.add(key)
            finally:
                here.pop(key, None)

        task = here[key] = asyncio.create_task(proof())
        task.add_done_callback(_heard)
    await asyncio.shield(task)


def _heard(task: asyncio.Task[None]) -> None:
    """Read the task's error, or asyncio would log it where all callers were cancelled."""
    if not task.cancelled():
        task.exception()
