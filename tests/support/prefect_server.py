"""Fixture: one Prefect server in a process of its own, for all tests that run flows.

`prefect_api` is its API's URL; `serving` starts such a server, with settings of choice.
`prefect_home` makes the environment of a process that knows a server or, without one,
starts a temporary server of its own.
"""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import pytest
from filelock import FileLock

from tests.support.asking import ask
from tests.support.bytecode import cache_folder
from tests.support.renderer import until

START_SECONDS = 90.0

_START = (sys.executable, "-m", "prefect", "server", "start")

# Prefect's clients read all certificates each time that one is made, and here is no HTTPS.
FEW_CERTIFICATES = Path(__file__).parents[1] / "data" / "certificate.pem"

_QUIET = {
    "PREFECT_API_SSL_CERT_FILE": str(FEW_CERTIFICATES),
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}


def prefect_home(folder: Path, api_url: str | None = None) -> dict[str, str]:
    """The environment of a process with its own Prefect home, in which nothing else is set.

    Args:
        folder: The home; made on demand.
        api_url: The Prefect server to use; None for a temporary one of the process's own.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment |= _QUIET | {"PREFECT_HOME": str(folder)}
    if api_url:
        environment["PREFECT_API_URL"] = api_url
    return environment


@contextmanager
def serving(home: Path, **settings: str) -> Iterator[str]:
    """Run a Prefect server with a home of its own, and give its API's URL.

    Args:
        home: Where its database and its log are.
        settings: Further variables of its environment.
    """
    home.mkdir(parents=True, exist_ok=True)
    copy_database(home)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    log_path = home / "server.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*_START, "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=prefect_home(home) | {"PREFECT_SERVER_UI_API_URL": url} | settings,
            start_new_session=True,  # so that its own children end with it
        )

    def healthy() -> bool:
        if process.poll() is not None:
            pytest.fail(f"the Prefect server ended at once:\n{log_path.read_text('utf-8')}")
        with suppress(httpx2.HTTPError):
            return ask.get(f"{url}/health", timeout=5).is_success
        return False

    try:
        until(healthy, "the Prefect server answers", START_SECONDS)
        yield url
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def copy_database(home: Path) -> None:
    """Give a home a database whose tables are made, which takes Prefect ten CPU seconds."""
    made = cache_folder() / f"prefect-{version('prefect')}.db"
    with FileLock(made.with_suffix(".lock")):
        if not made.exists():
            with TemporaryDirectory() as folder:
                command = (
                    sys.executable,
                    "-m",
                    "prefect",
                    "server",
                    "database",
                    "upgrade",
                    "--yes",
                )
                subprocess.run(
                    command, env=prefect_home(Path(folder)), check=True, stdout=subprocess.DEVNULL
                )
                _copy(Path(folder) / "prefect.db", made.with_suffix(".part"))
            made.with_suffix(".part").rename(made)
    if not (home / "prefect.db").exists():
        _copy(made, home / "prefect.db")


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as made, closing(sqlite3.connect(target)) as copy:
        made.backup(copy)


def _send_what_waits() -> None:
    """Send logs and events while the server answers: at its exit Prefect tries for a minute."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all()
    EventsWorker.drain_all()


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API's URL of a real Prefect server, empty at the session's start."""
    with serving(tmp_path_factory.mktemp("prefect-server")) as url:
        yield url
        _send_what_waits()


@pytest.fixture
def prefect(prefect_api: str, tmp_path: Path) -> Iterator[str]:
    """This process talks to the session's real Prefect server."""
    from prefect.settings import (
        PREFECT_API_SSL_CERT_FILE,
        PREFECT_API_URL,
        PREFECT_HOME,
        temporary_settings,
    )

    ours = {PREFECT_API_URL: prefect_api, PREFECT_HOME: tmp_path / "prefect"}
    with temporary_settings({**ours, PREFECT_API_SSL_CERT_FILE: str(FEW_CERTIFICATES)}):
        yield prefect_api
