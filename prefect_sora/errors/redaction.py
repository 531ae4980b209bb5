"""Redaction: a masked secret is never sent, and an address with a signature never logged."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from pydantic import SecretStr

from prefect_sora.errors import InvalidRequestError

_in_private: ContextVar[bool] = ContextVar("prefect_sora_in_private", default=False)


@contextmanager
def in_private() -> Iterator[None]:
    """Keep requests made inside the block out of the logs; all others are still logged."""
    token = _in_private.set(True)
    try:
        yield
    finally:
        _in_private.reset(token)


def _may_be_logged(_: logging.LogRecord) -> bool:
    return not _in_private.get()


# These loggers write a URL with its query, and the place that a redirect leads to. The filter
# runs in the context of the code that logs.
for _name in ("httpx2", *(f"httpcore2.{part}" for part in ("connection", "http11", "proxy"))):
    logging.getLogger(_name).addFilter(_may_be_logged)


def usable(secret: SecretStr | None, name: str) -> SecretStr | None:
    """Return a secret, unless it is a mask.

    Raises:
        InvalidRequestError: It is a mask.
    """
    if secret is not None and is_mask(secret.get_secret_value()):
        raise masked(name)
    return secret


def is_mask(value: object) -> bool:
    """Whether a value is a row of asterisks: Prefect shows eight, or ten, in place of a secret."""
    return isinstance(value, str) and set(value) == {"*"}


def masked(name: str) -> InvalidRequestError:
    """Make the error for a mask; it says how a secret reaches a deployment."""
    return InvalidRequestError(
        f"{name} is a row of asterisks: Prefect hides secrets in a run's parameters.",
        next_step="Pass a saved block to a deployment by reference, as "
        '{"$ref": {"block_document_slug": "type-slug/name"}}, not the block itself.',
    )
