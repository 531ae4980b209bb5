"""Redaction: no secret that this process was given is ever shown, not even in a traceback."""

import logging
import traceback
from typing import Any

from prefect_sora.errors.redaction import without
from prefect_sora.errors.shown import visible

_secrets: set[str] = set()


def hide(secret: str | None) -> None:
    """Keep a secret out of everything that is shown or logged from now on."""
    if secret:
        _secrets.add(secret)


def safe(text: str) -> str:
    """The text without the secrets; a short one goes only where secrets stand."""
    return without(_secrets, text)


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
