"""Shield: what may be paid for is carried to its record, whatever ends the one who asked for it."""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from time import monotonic
from typing import Any, Final, TypeVar

from prefect_sora.ledger import Ledger
from prefect_sora.records import Reserved

log = logging.getLogger(__name__)

RECORD_SECONDS: Final = 5.0
"""How long a cancelled caller still waits for a request under way to be recorded. Ours."""

# By the reservation's token; it also keeps the tasks from being collected.
_under_way: dict[str, asyncio.Task[Any]] = {}

_T = TypeVar("_T")


async def to_its_end(mine: Reserved, work: Coroutine[Any, Any, _T]) -> _T:
    """Do the work of a reservation in a task of its own, for which a cancelled caller waits."""
    token = mine.owner.token
    task = asyncio.ensure_future(work)
    _under_way[token] = task
    task.add_done_callback(lambda _: _under_way.pop(token, None))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        until = monotonic() + RECORD_SECONDS
        while not task.done() and (left := until - monotonic()) > 0:
            # Some cancel again and again until they are obeyed.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task}, timeout=left)
        task.add_done_callback(_heard)
        raise


def release(mine: Reserved, ledger: Ledger) -> None:
    """Let go of a reservation as soon as nothing of it is under way."""
    task = _under_way.get(mine.owner.token)
    if task:
        task.add_done_callback(lambda _: ledger.release(mine))
    else:
        ledger.release(mine)


def _heard(task: asyncio.Task[Any]) -> None:
    """Take note of how it ended, which nobody waits for any more."""
    if not task.cancelled() and (error := task.exception()):
        log.warning("A request whose caller was cancelled: %s", error)
