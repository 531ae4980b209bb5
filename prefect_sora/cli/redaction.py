"""Redaction: no secret that this process was given is ever shown, not even in a traceback."""

import logging
import re
import traceback
from typing import Any, Final

from prefect_sora.errors.shown import visible

MASK: Final = "********"

_LONG: Final = 16
_MIXED: Final = 8
"""From so many characters on nothing but a secret reads so: of any kind, and with a digit and a
letter. What is shorter, such as `none` or `test`, is part of words and paths. Ours."""

_BEFORE: Final = r"(?:\b(?:bearer|basic)\s+|\bkey(?: provided)?\s?[:=(]\s?[\"']?|\bkey\s)"
"""Where a secret stands that is too short to be known by itself."""

_secrets: set[str] = set()


def hide(secret: str | None) -> None:
    """Keep a secret out of everything that is shown or logged from now on."""
    if secret:
        _secrets.add(secret)


def safe(text: str) -> str:
    """The text without the secrets; a short one goes only where secrets stand."""
    for secret in _secrets:
        if _is_telling(secret):
            text = text.replace(secret, MASK)
        elif secret in text:
            stands = rf"({_BEFORE}){re.escape(secret)}(?!\w)"
            text = re.sub(stands, rf"\g<1>{MASK}", text, flags=re.IGNORECASE)
    return text


def _is_telling(secret: str) -> bool:
    mixed = re.search(r"\d", secret) and re.search(r"[^\W\d_]", secret)
    return len(secret) >= _LONG or bool(len(secret) >= _MIXED and mixed)


def guard_logs() -> None:
    """Redact log records when they are made, before any handler sees them.

    Some servers repeat the key that they refuse. Libraries put the answer into
    exceptions, and the tracebacks of these are logged. What a terminal would obey is replaced.
    """
    make = logging.getLogRecordFactory()

    def redacted(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        message = record.getMessage()
        if (said := visible(safe(message))) != message:
            record.msg, record.args = said, ()
        if record.exc_info and record.exc_info[0]:
            # Formatters use a text that is already there.
            told = "".join(traceback.format_exception(*record.exc_info))
            record.exc_text = visible(safe(told)).rstrip()
        return record

    logging.setLogRecordFactory(redacted)
