"""Process: serve one folder, from taking its lock to the last answer."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.metadata import version
from os import PathLike, getpid
from pathlib import Path
from threading import Thread
from time import monotonic
from uuid import uuid4

import uvicorn
from filelock import FileLock, Timeout

from prefect_sora.errors import StorageError, UnavailableError
from prefect_sora.servers.local.dialects import dialect_of
from prefect_sora.servers.local.http.application import Renderer
from prefect_sora.servers.local.http.door import ImpatientProtocol
from prefect_sora.servers.local.launch.address import (
    RendererAddress,
    ServerRecord,
    find_running,
    folder_mark,
)
from prefect_sora.servers.local.launch.options import RendererOptions
from prefect_sora.servers.local.state.jobs import Jobs

log = logging.getLogger(__name__)

_FOREIGN_START_SECONDS = 10.0
_SHUTDOWN_SECONDS = 1


@contextmanager
def _nobody_elses() -> Iterator[None]:
    """Make files that no other user of this machine reads: prompts and pictures."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


@_nobody_elses()
def serve(
    folder: str | PathLike[str],
    options: RendererOptions,
    announce: Callable[[RendererAddress, bool], None] | None = None,
) -> RendererAddress:
    """Serve the folder until a signal or idleness ends it, unless another process does.

    Raises:
        UnavailableError: Another process holds the folder and does not answer.
        StorageError: The folder cannot be made.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    home = Path(folder).expanduser().absolute()
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{home} cannot be made a folder of the local renderer: {error.strerror or error}.",
            next_step="Name another folder.",
        ) from None
    lock = FileLock(home / "server.lock")
    until = monotonic() + _FOREIGN_START_SECONDS
    while True:
        try:
            with lock.acquire(timeout=0.1):
                return _serve(home, options, announce)
        except Timeout:
            running = find_running(home)
            if running is not None:
                if announce:
                    announce(running, True)
                return running
        if monotonic() > until:
            raise UnavailableError(
                f"Another process holds {home} and does not answer.", never_sent=True
            )


def _serve(
    home: Path,
    options: RendererOptions,
    announce: Callable[[RendererAddress, bool], None] | None,
) -> RendererAddress:
    last = ServerRecord.read(home)
    dialect = dialect_of(options)
    listener = _listen(options.host, options.port, last.port if last else 0)
    with listener:
        host, port = listener.getsockname()[:2]
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound
        shown = f"[{shown}]" if ":" in shown else shown
        record = ServerRecord(
            pid=getpid(),
            port=port,
            base_url=f"http://{shown}:{port}{dialect.prefixes[0]}",
            identity=last.identity if last else str(uuid4()),
            version=version("prefect-sora"),
        )
        jobs = Jobs(home, options.ttl_seconds)
        jobs.load(keep=dialect.durable)
        about = {
            "identity": record.identity,
            "folder": folder_mark(home),
            "version": record.version,
            "dialect": options.dialect,
        }
        renderer = Renderer(jobs, options, about, dialect)
        record.write(home)
        if announce:
            announce(record.address, False)
        asyncio.run(_run(renderer, options, listener))
    return record.address


def _listen(host: str, port: int, last_port: int) -> socket.socket:
    # The last port is tried first, so that addresses which others have noted stay true.
    for candidate in dict.fromkeys((port or last_port, port)):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            if sys.platform != "win32":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, candidate))
            listener.listen(512)
        except OSError as error:
            listener.close()
            refused = error
        else:
            return listener
    raise UnavailableError(f"Cannot listen on {host}:{port}: {refused}", never_sent=True)


class _Server(uvicorn.Server):
    """Uvicorn that ends with exit code 0 after a signal."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM; uvicorn would raise them again in the end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        self.should_exit = True


async def _run(renderer: Renderer, options: RendererOptions, listener: socket.socket) -> None:
    config = uvicorn.Config(
        renderer.app(),
        http=ImpatientProtocol,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        backlog=512,
    )
    server = _Server(config)
    # The codecs take longer to load than the first request takes to arrive.
    Thread(target=_load_codecs, daemon=True).start()
    watch = asyncio.create_task(_end_when_idle(server, renderer, options.idle_exit))
    try:
        await server.serve(sockets=[listener])
    finally:
        watch.cancel()


def _load_codecs() -> None:
    with suppress(ImportError):  # the first job will say it better
        import_module("prefect_sora.servers.local.drawing.video")


async def _end_when_idle(server: _Server, renderer: Renderer, after: float | None) -> None:
    while after is not None and not server.should_exit:
        await asyncio.sleep(min(1.0, max(0.05, after / 5)))
        if renderer.idle_seconds >= after:
            server.should_exit = True
