"""Prefect: started where it is wanted, early and quietly; nothing else here imports it at its top.

A command is a run of Prefect where a Prefect API is configured, or --prefect asks for one. On a
fresh machine its temporary server takes most of a first run's time: so it is started first,
and all other imports happen meanwhile.
"""

import logging
import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import TYPE_CHECKING, Final

from prefect_sora.cli import signals

if TYPE_CHECKING:
    from prefect_sora.cli.progress import Display

_LEVEL: Final = "PREFECT_LOGGING_LEVEL"
# Any key of Prefect's logging.yml can be set this way. Only the terminal is quiet:
# the API, and so the UI, still gets every line.
_CONSOLE_LEVEL: Final = "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"
_START_SECONDS: Final = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"

_EPHEMERAL: Final = ("PREFECT_SERVER_EPHEMERAL_ENABLED", "PREFECT_SERVER_ALLOW_EPHEMERAL")

_NEEDED: Final = ("openai", "av", "PIL.Image", "prefect_sora.flows")

_DATABASES: Final = (
    "PREFECT_API_DATABASE_CONNECTION_URL",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
    "PREFECT_API_DATABASE_NAME",
    "PREFECT_SERVER_DATABASE_NAME",
)


def is_configured(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a Prefect API is configured: in the environment, a profile or a settings file.

    Prefect itself is asked, and so imported, only where one of its files speaks of an API.
    """
    if environ.get("PREFECT_API_URL"):
        return True
    if not (
        _speaks(_profiles(environ), "prefect_api_url")
        or _speaks(".env", "prefect_")
        or _speaks("prefect.toml", "url")
        or _speaks("pyproject.toml", "tool.prefect")
    ):
        return False
    from prefect.settings import PREFECT_API_URL

    return bool(PREFECT_API_URL.value())


def is_plain(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether no Prefect API is configured and nothing forbids a temporary server."""
    speaks = any(name.startswith(_EPHEMERAL) for name in environ)
    files = (_profiles(environ), ".env", "prefect.toml", "pyproject.toml")
    return not (speaks or any(_speaks(each, "ephemeral") for each in files)) and not is_configured(
        environ
    )


def _profiles(environ: Mapping[str, str]) -> str | Path:
    return environ.get("PREFECT_PROFILES_PATH") or home(environ) / "profiles.toml"


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """Where Prefect keeps its own files."""
    return Path(environ.get("PREFECT_HOME") or "~/.prefect").expanduser()


def database(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where a temporary server keeps what it knows; None where its settings say something else."""
    if any(environ.get(name) for name in _DATABASES):
        return None
    return home(environ) / "prefect.db"


def holds_nothing(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether no Prefect API is configured, and a temporary server has kept nothing here yet."""
    path = database(environ)
    return path is not None and not path.exists() and not is_configured(environ)


def _speaks(path: str | Path, word: str) -> bool:
    try:
        return word in Path(path).expanduser().read_text("utf-8", "replace").lower()
    except OSError:
        return False


def load(display: "Display", debug: bool) -> ModuleType:
    """Return our flows, with a Prefect API to report to.

    Raises:
        Exception: Whatever Prefect raises where its temporary server does not start.
        InterruptedBySignal: A signal came meanwhile.
    """
    display.phase("starting Prefect")
    with signals.heard():
        return _started(debug, _NEEDED)


def ready(debug: bool = False) -> None:
    """Have a Prefect API to ask for saved blocks; one that nobody has configured is started.

    Raises:
        Exception: As `load` says.
    """
    with signals.heard():
        _started(debug, ("prefect_sora.blocks",))


def _started(debug: bool, needed: tuple[str, ...]) -> ModuleType:
    user_chose = _LEVEL in os.environ
    if not debug:
        # Otherwise Prefect writes a line for each log record that a stopped server does not take.
        logging.raiseExceptions = False
        if not user_chose:
            os.environ.setdefault(_CONSOLE_LEVEL, "CRITICAL")
    # Prefect's 20 s are short for the first start on a slow machine, which migrates a database.
    os.environ.setdefault(_START_SECONDS, "90")
    from prefect.settings import PREFECT_API_URL

    starter = None
    if not PREFECT_API_URL.value():
        # Imported here, so that the process is started before the slow imports below.
        import_module("prefect.server.api.server")
        starter = _Starter(daemon=True)
        starter.start()
    for module in needed:
        import_module(module)
    if starter is not None:
        starter.join()
        if starter.failure is not None:
            raise starter.failure
    if user_chose and not debug:
        for handler in logging.getLogger().handlers:
            handler.addFilter(_without_traceback)
    return import_module(needed[-1])


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
