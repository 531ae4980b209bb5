"""Limits: every second, count and size that may be tuned, in one frozen value.

`limits()` gives those that hold where it is called:

- `with limited(download_attempts=1):` changes some for a block. What is begun in it, as a task
  or in a thread of this package, keeps them to its own end, even after the block.
- `PREFECT_SORA_LIMITS='{"download_attempts": 1}'` changes some for a process and for those that
  it starts, in all of their threads.
- What many calls share (a client's connections, queues and watcher, an open file system) keeps
  those that held where it was made.

Not here: what a protocol or a file format says; what differs from server to server, which is in
its `Profile`; what a user says of one render; how drawn pictures look; when Prefect retries.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from prefect_sora.errors import InvalidRequestError
from prefect_sora.limits.values import Limits as Limits

VARIABLE: Final = "PREFECT_SORA_LIMITS"

_given: ContextVar[Limits | None] = ContextVar("prefect_sora_limits", default=None)


def limits() -> Limits:
    """Return the limits that hold here: those of a block, else those of the process.

    Raises:
        InvalidRequestError: `PREFECT_SORA_LIMITS` holds none; nothing was sent.
    """
    return _given.get() or _of_process(os.environ.get(VARIABLE, ""))


@contextmanager
def limited(**changes: Any) -> Iterator[Limits]:
    """Change some of the limits for a block, by their names.

    Raises:
        TypeError: There is no limit of such a name.
        ValueError: As `Limits`.
    """
    before = _given.set(replace(limits(), **changes))
    try:
        yield limits()
    finally:
        _given.reset(before)


@lru_cache(maxsize=8)
def _of_process(text: str) -> Limits:
    if not text:
        return Limits()
    from pydantic import TypeAdapter, ValidationError  # where nothing is set, it is not waited for

    try:
        return TypeAdapter(Limits).validate_json(text, strict=True)
    except ValidationError as error:
        wrong = error.errors()[0]
        said = " ".join([*map(str, wrong["loc"]), wrong["msg"].rstrip(".")])
    raise InvalidRequestError(
        f"{VARIABLE} holds no limits: {said}.",
        paid="no",
        next_step="Give a JSON object of names and numbers, such as "
        '{"download_attempts": 3}, or unset it.',
    )
