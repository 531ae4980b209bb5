"""On demand: find the renderer of a folder, or start one that outlives its caller."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Thread
from time import monotonic

from prefect_sora.errors import UnavailableError
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.servers.local.launch.address import RendererAddress, find_running
from prefect_sora.servers.local.launch.options import (
    KEY_VARIABLE,
    ON_DEMAND,
    WEBHOOK_SECRET_VARIABLE,
    RendererOptions,
)

_LOG = "renderer.log"
_LOG_LIMIT_BYTES = 1_000_000


def ensure_running(
    folder: str | os.PathLike[str],
    options: RendererOptions = ON_DEMAND,
    *,
    timeout_seconds: float = 20.0,
) -> RendererAddress:
    """Return the renderer of `folder`, started if none answers.

    Any number of processes may call it at once: one renderer results. It is a process of its
    own, and runs on when the caller ends. From async code: `await asyncio.to_thread(...)`.

    Args:
        folder: Where its state is kept; made if missing.
        options: Used only if it has to be started.
        timeout_seconds: How long to wait for its first answer.

    Raises:
        UnavailableError: It did not answer in time, or ended at once; the message has the end
            of its log.
    """
    home = Path(folder).expanduser().absolute()
    running = find_running(home)
    if running is not None:
        return running

    from filelock import FileLock, Timeout

    until = monotonic() + timeout_seconds
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(home / "start.lock", timeout=timeout_seconds):
            return find_running(home) or _start(home, options, until)
    except Timeout:
        raise _unavailable(home, "another process is still starting it") from None
    except OSError as error:
        raise UnavailableError(
            f"The local renderer cannot keep its jobs in {home}: {error.strerror or error}.",
            never_sent=True,
            next_step="Name another folder with PREFECT_SORA_LOCAL_FOLDER.",
        ) from error


def _start(home: Path, options: RendererOptions, until: float) -> RendererAddress:
    log = home / _LOG
    if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".log.1"))
    environment = {**os.environ}
    if options.api_key:
        environment[KEY_VARIABLE] = options.api_key
    if options.webhook_secret:
        environment[WEBHOOK_SECRET_VARIABLE] = options.webhook_secret
    command = [sys.executable, "-m", "prefect_sora.servers.local", "--folder", str(home)]
    log.touch(mode=0o600)
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
            [*command, *options.arguments()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a Ctrl-C of ours is not its own
            env=environment,
        )
    while monotonic() < until:
        running = find_running(home)
        if running is not None:
            _leave_running(process)
            return running
        try:
            code = process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        # One started by hand may have taken the folder between our look and our start.
        running = find_running(home)
        if running is not None:
            return running
        raise _unavailable(home, f"it ended with exit code {code}")
    process.kill()
    process.wait()
    raise _unavailable(home, "it did not answer in time")


def _leave_running(process: subprocess.Popen[bytes]) -> None:
    """Let the child outlive us, yet leave no zombie should it end before we do."""
    Thread(target=process.wait, name="local-renderer-reaper", daemon=True).start()


def _unavailable(home: Path, reason: str) -> UnavailableError:
    log = home / _LOG
    try:
        tail = "\n".join(log.read_text("utf-8", "replace").splitlines()[-12:])
    except OSError:
        tail = ""
    said = f" Its log ends with:\n{tail}\n" if tail else ""
    return UnavailableError(
        f"The local renderer of {home} is not running: {reason}.{said}",
        never_sent=True,
        next_step=(f"See {log}.", NextStep("renderer", folder=str(home))),
    )
