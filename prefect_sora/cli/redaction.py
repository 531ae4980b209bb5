"""Redaction: no secret that this process was given is ever shown, not even in a traceback."""

import logging
import traceback
from typing import Any, Final

MASK: Final = "********"

_secrets: set[str] = set()


def hide(secret: str | None) -> None:
    """Keep a secret out of everything that is shown or logged from now on."""
    if secret:
        _secrets.add(secret)


def safe(text: str) -> str:
    """The text without the secrets."""
    for secret in _secrets:
        text = text.replace(secret, MASK)
    return text


def guard_logs() -> None:
    """Redact log records when they are made, before any handler sees them.

    Some servers repeat the key that they refuse. Libraries put the answer into
    exceptions, and the tracebacks of these are logged.
    """
    make = logging.getLogRecordFactory()

    def redacted(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        if not _secrets:
            return record
        message = record.getMessage()
        if safe(message) != message:
            record.msg, record.args = safe(message), ()
        if record.exc_info and record.exc_info[0]:
            # Formatters use a text that is already there.
            record.exc_text = safe("".join(traceback.format_exception(*record.exc_info))).rstrip()
        return record

    logging.setLogRecordFactory(redacted)
