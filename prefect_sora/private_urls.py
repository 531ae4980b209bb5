"""Private URLs: the HTTP library's logs stay silent where an address may carry a signature."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_in_private: ContextVar[bool] = ContextVar("prefect_sora_in_private", default=False)


@contextmanager
def in_private() -> Iterator[None]:
    """Keep requests made inside the block out of the logs; others' go on being logged."""
    token = _in_private.set(True)
    try:
        yield
    finally:
        _in_private.reset(token)


def _may_be_logged(_: logging.LogRecord) -> bool:
    return not _in_private.get()


# They log a URL with its query, and the place that a redirect leads to. A filter asks the
# context of the one who logs.
for _name in ("httpx2", *(f"httpcore2.{part}" for part in ("connection", "http11", "proxy"))):
    logging.getLogger(_name).addFilter(_may_be_logged)
