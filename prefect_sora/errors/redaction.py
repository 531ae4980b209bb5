"""Redaction: a masked secret is never sent, and an address with a signature never logged."""

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from pydantic import SecretStr

from prefect_sora.errors import InvalidRequestError

MASK: Final = "********"

_LONG: Final = 16
_MIXED: Final = 8
_JOINED: Final = 7
"""From so many characters on nothing but a secret reads so: of any kind, with a digit and a letter,
and with a hyphen. What is shorter, such as `none` or `test`, is part of words, ids and paths.
Ours."""

_BEFORE: Final = r"(?:\b(?:bearer|basic)\s+|\bkey(?: provided)?\s?[:=(]\s?[\"']?|\bkey\s)"
"""Where a secret stands that is too short to be known by itself."""

_in_private: ContextVar[bool] = ContextVar("prefect_sora_in_private", default=False)


def without(secrets: Iterable[str], text: str) -> str:
    """Give a text without the secrets; a short one goes only where secrets stand."""
    for secret in secrets:
        for written in _telling(secret):
            if written in text:
                text = text.replace(written, MASK)
        if secret in text:
            stands = rf"({_BEFORE}){re.escape(secret)}(?!\w)"
            text = re.sub(stands, rf"\g<1>{MASK}", text, flags=re.IGNORECASE)
    return text


@lru_cache(maxsize=64)
def _telling(secret: str) -> tuple[str, ...]:
    """How a secret is written, as it is and in a URL; nothing for one that is too short."""
    mixed = re.search(r"\d", secret) and re.search(r"[^\W\d_]", secret)
    joined = len(secret) >= _JOINED and "-" in secret
    if len(secret) >= _LONG or joined or (len(secret) >= _MIXED and mixed):
        return tuple({secret, quote(secret, safe="")})
    return ()


@contextmanager
def in_private() -> Iterator[None]:
    """Keep requests made inside the block out of the logs; all others are still logged."""
    token = _in_private.set(True)
    try:
        yield
    finally:
        _in_private.reset(token)


def _may_be_logged(record: logging.LogRecord) -> bool:
    """Leave out what a server wrote before its body: it may repeat the key."""
    if str(record.msg).startswith("receive_response_headers.complete"):
        return False
    if isinstance(record.args, tuple) and len(record.args) == 5:  # method, URL, version, status
        *kept, status, _ = record.args
        phrases = {each.value: each.phrase for each in HTTPStatus}
        record.args = (*kept, status, phrases.get(status, ""))  # type: ignore[call-overload]  # an int
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
