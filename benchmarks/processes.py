"""Processes: commands on the clock, servers for a while, and homes in which nothing is set."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event
from time import monotonic, perf_counter
from typing import Any

import httpx2

from prefect_sora.servers.local import RendererAddress, RendererOptions, find_running

START_SECONDS = 30.0

_NOT_PASSED_ON = ("PREFECT_", "OPENAI_", "AZURE_OPENAI_", "PYTHONPATH")
_NO_REPORTS = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


class FailedError(Exception):
    """A process did not do what it was started for."""


def environment(home: Path) -> dict[str, str]:
    """The environment of a user who has just arrived: an empty home, no settings, no keys."""
    kept = {name: v for name, v in os.environ.items() if not name.startswith(_NOT_PASSED_ON)}
    return {**kept, **_NO_REPORTS, "HOME": str(home), "PREFECT_HOME": str(home / ".prefect")}


def told_by(module: str, task: Mapping[str, Any]) -> Any:
    """Run a module of ours in a process of its own and read the JSON that it prints.

    Args:
        module: Its dotted name.
        task: What it reads on its standard input, as JSON.

    Raises:
        FailedError: It failed; the message has what it said.
    """
    done = subprocess.run(
        [sys.executable, "-m", module],
        input=json.dumps(task).encode(),
        capture_output=True,
        cwd=Path(__file__).parents[1],
        check=False,
    )
    if done.returncode:
        raise FailedError(done.stderr.decode("utf-8", "replace"))
    return json.loads(done.stdout)


def seconds_of(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> float:
    """Run a command in a folder and say how long it took.

    Raises:
        FailedError: It failed; the message has what it said.
    """
    began = perf_counter()
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, check=False)
    took = perf_counter() - began
    if done.returncode:
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        raise FailedError(f"{' '.join(command)} ended with {done.returncode}:\n{said}")
    return took


@contextmanager
def serving(
    module: str, *words: str, ready: Callable[[], object], start_seconds: float = START_SECONDS
) -> Iterator[None]:
    """Run `python -m module words` as long as the block lasts, from its first answer on.

    Raises:
        FailedError: It did not answer; the message has what it said.
    """
    with TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            until = monotonic() + start_seconds
            while not ready():
                if process.poll() is not None or monotonic() > until:
                    log.seek(0)
                    said = log.read().decode("utf-8", "replace")
                    raise FailedError(f"{module} does not answer:\n{said}")
                Event().wait(0.02)
            yield
        finally:
            process.kill()
            process.wait()


@contextmanager
def local_renderer(folder: Path, options: RendererOptions) -> Iterator[RendererAddress]:
    """Run a local renderer as long as the block lasts."""
    words = ["--folder", str(folder), *options.arguments()]
    with serving("prefect_sora.servers.local", *words, ready=lambda: find_running(folder)):
        address = find_running(folder)
        if address is None:
            raise FailedError("The local renderer is gone.")
        yield address


@contextmanager
def s3_server(bucket: str) -> Iterator[dict[str, Any]]:
    """Run an S3 server with one bucket; what is given are a store's options."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    with serving("moto.server", "-p", str(port), ready=lambda: answers(endpoint)):
        httpx2.put(f"{endpoint}/{bucket}").raise_for_status()
        yield {
            "endpoint_url": endpoint,
            "key": "benchmark",
            "secret": "benchmark",
            "client_kwargs": {"region_name": "us-east-1"},
        }


def answers(url: str) -> bool:
    """Whether anything answers there."""
    with suppress(httpx2.HTTPError):
        httpx2.get(url, timeout=5)
        return True
    return False


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
