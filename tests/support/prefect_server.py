"""Fixture: one Prefect server in a process of its own, for all tests that run flows.

`prefect_api` is its API's URL; `serving` starts such a server, with settings of choice.
`prefect_home` makes the environment of a process that knows a server or, without one,
starts a temporary server of its own.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from tests.support.renderer import until

START_SECONDS = 90.0

_START = (sys.executable, "-m", "prefect", "server", "start")

_QUIET = {
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
            return httpx2.get(f"{url}/health", timeout=5).is_success
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


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API's URL of a real Prefect server, empty at the session's start."""
    with serving(tmp_path_factory.mktemp("prefect-server")) as url:
        yield url
