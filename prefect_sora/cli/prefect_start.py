"""Prefect: kept quiet and started early; nothing else here imports it at its top.

On a fresh machine Prefect's temporary server takes most of a first render's time. It
is started first, and all other imports happen meanwhile.
"""

import logging
import os
from importlib import import_module
from threading import Thread
from types import ModuleType
from typing import Final

from prefect_sora.cli import signals
from prefect_sora.cli.progress import Display

_LEVEL: Final = "PREFECT_LOGGING_LEVEL"
# Any key of Prefect's logging.yml can be set this way. Only the terminal is quiet:
# the API, and so the UI, still gets every line.
_CONSOLE_LEVEL: Final = "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"
_START_SECONDS: Final = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"

_NEEDED: Final = ("openai", "av", "PIL.Image", "prefect_sora.flows")


def load(display: Display, debug: bool) -> ModuleType:
    """Return our flows, with a Prefect API to report to.

    Raises:
        Exception: Whatever Prefect raises where its temporary server does not start.
        InterruptedBySignal: A signal came meanwhile.
    """
    with signals.heard():
        return _loaded(display, debug)


def _loaded(display: Display, debug: bool) -> ModuleType:
    user_chose = _LEVEL in os.environ
    if not debug:
        # Otherwise Prefect writes a line for each log record that a stopped server does not take.
        logging.raiseExceptions = False
        if not user_chose:
            os.environ.setdefault(_CONSOLE_LEVEL, "CRITICAL")
    # Prefect's 20 s are short for the first start on a slow machine, which migrates a database.
    os.environ.setdefault(_START_SECONDS, "90")
    display.phase("starting Prefect")
    from prefect.settings import PREFECT_API_URL

    starter = None
    if not PREFECT_API_URL.value():
        # Imported here, so that the process is started before the slow imports below.
        import_module("prefect.server.api.server")
        starter = _Starter(daemon=True)
        starter.start()
    for module in _NEEDED:
        import_module(module)
    if starter is not None:
        starter.join()
        if starter.failure is not None:
            raise starter.failure
    if user_chose and not debug:
        for handler in logging.getLogger().handlers:
            handler.addFilter(_without_traceback)
    return import_module("prefect_sora.flows")


class _Starter(Thread):
    """Has Prefect start its temporary server, the way it does itself when a flow begins."""

    failure: Exception | None = None

    def run(self) -> None:
        from prefect import get_client

        try:
            get_client(sync_client=True)
        except Exception as error:
            self.failure = error


def _without_traceback(record: logging.LogRecord) -> bool:
    """Drop log records with a traceback: this package's own paragraph tells the failure."""
    return record.exc_info is None
