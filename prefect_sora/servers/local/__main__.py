"""`python -m prefect_sora.servers.local --folder DIR`: serve until a signal ends it."""

import argparse
import os
import sys
from collections.abc import Sequence

from prefect_sora.servers.local import (
    KEY_VARIABLE,
    WEBHOOK_SECRET_VARIABLE,
    RendererAddress,
    RendererOptions,
    serve,
)
from prefect_sora.servers.local.launch.options import DIALECTS


def parse(words: Sequence[str] | None = None) -> tuple[str, RendererOptions]:
    """Read the folder and the options from a command line and the environment."""
    parser = argparse.ArgumentParser("python -m prefect_sora.servers.local", description=__doc__)
    parser.add_argument("--folder", required=True, help="where jobs and videos are kept")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen")
    parser.add_argument("--port", type=int, default=0, help="0: the folder's last one, or any")
    parser.add_argument("--speed", type=float, help="simulated pace: 10 s per second, divided")
    parser.add_argument("--min-render-seconds", type=float, default=0.0, help="least time of a job")
    parser.add_argument("--parallel", type=int, default=2, help="jobs rendered at once")
    parser.add_argument("--ttl", type=float, help="seconds a video is kept; its dialect's way")
    parser.add_argument("--idle-exit", type=float, help="seconds without work until it ends")
    parser.add_argument("--poll-after-ms", type=int, default=200, help="advice to pollers; 0: none")
    parser.add_argument("--idempotency", action="store_true", help="honour Idempotency-Key")
    parser.add_argument("--control", action="store_true", help="for tests: /faults, /requests")
    parser.add_argument("--faults", help="scripted faults: JSON, or a file of it")
    parser.add_argument(
        "--dialect", choices=DIALECTS, default="openai", help="which server it is like"
    )
    parser.add_argument("--models", help="names of the models it serves, with commas")
    parser.add_argument("--cloud", action="store_true", help="videos lie at URLs of their own")
    parser.add_argument("--webhook", help="a URL to tell of each job's end")
    parser.add_argument(
        "--webhook-secret", help=f"what signs that; better: ${WEBHOOK_SECRET_VARIABLE}"
    )
    parser.add_argument("--api-key", help=f"demand this key; better: ${KEY_VARIABLE}")
    given = vars(parser.parse_args(words))
    given["api_key"] = given["api_key"] or os.environ.get(KEY_VARIABLE) or None
    secret = given["webhook_secret"] or os.environ.get(WEBHOOK_SECRET_VARIABLE)
    given["webhook_secret"] = secret or None
    folder: str = given.pop("folder")
    return folder, RendererOptions(**given)


def announce(address: RendererAddress, already: bool) -> None:
    """Say on standard output where the renderer answers."""
    verb = "already runs" if already else "answers"
    sys.stdout.write(f"The local renderer {verb} at {address.base_url} (pid {address.pid})\n")
    sys.stdout.flush()


def main() -> None:
    """Serve as the command line says."""
    folder, options = parse()
    serve(folder, options, announce=announce)


if __name__ == "__main__":
    main()
