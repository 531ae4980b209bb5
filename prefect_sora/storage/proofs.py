"""Proofs: what a process has found out about a store is found out once, whoever asks.

A store that two writers can write the same file to cannot hold records: many that speak
S3's interface ignore the condition of a write, and answer the second writer like the first.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Hashable
from weakref import WeakKeyDictionary

_Key = tuple[int, Hashable]

# By process: a fork may have another network, and another mount.
_proved: set[_Key] = set()
_under_way: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Key, asyncio.Task[None]]] = (
    WeakKeyDictionary()
)


async def once(what: Hashable, prove: Callable[[], Awaitable[None]]) -> None:
    """Prove something, unless it was proved in this process; what fails is tried again.

    All who ask meanwhile wait for the same proof, and a caller that is cancelled stops none
    of the others.

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
    """Take note of how it ended, for its callers may all have been cancelled."""
    if not task.cancelled():
        task.exception()
