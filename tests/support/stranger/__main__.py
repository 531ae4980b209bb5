"""`python -m tests.support.stranger server|gateway …`: one of the two, until it is ended."""

import argparse
import sys
from pathlib import Path

from tests.support.stranger.character import Character
from tests.support.stranger.gateway import Gateway
from tests.support.stranger.server import Stranger
from tests.support.stranger.serving import Loopback


def main() -> None:
    """Serve, and say where on the first line."""
    parser = argparse.ArgumentParser("python -m tests.support.stranger", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    which = parser.add_subparsers(dest="which", required=True)
    server = which.add_parser("server")
    server.add_argument("--folder", type=Path, required=True, help="its jobs, which outlive it")
    server.add_argument("--character", default="{}", help="as JSON")
    gateway = which.add_parser("gateway")
    gateway.add_argument("--to", required=True, metavar="URL", help="the server behind it")
    given = parser.parse_args()
    made: Loopback
    if given.which == "server":
        made = Stranger(given.port, given.folder, Character.read(given.character))
    else:
        made = Gateway(given.port, given.to)
    with made:
        sys.stdout.write(f"http://127.0.0.1:{made.server_port}\n")
        sys.stdout.flush()
        made.serve_forever()


if __name__ == "__main__":
    main()
