"""Serving: HTTP on loopback, to clients that die in the middle of a sentence."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Loopback(ThreadingHTTPServer):
    """A server with a thread for each connection."""

    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", port), handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, unless a client has merely gone."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Quiet(BaseHTTPRequestHandler):
    """HTTP/1.1 with connections that are kept, and no log."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True

    def answer(self, body: bytes) -> None:
        """Answer a request, whatever its method."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Read the body, which a GET may have, too."""
        self.answer(self.rfile.read(int(self.headers.get("content-length") or 0)))

    do_POST = do_GET  # noqa: N815 - http.server's name
    do_DELETE = do_GET  # noqa: N815 - http.server's name

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
