"""Fixtures: a video server that answers what a test's function says, over real HTTP.

`scripted` makes one with a client of it. `Jobs` is such a function: a plausible server
that keeps its jobs, and loses the answer to the first create.
"""

import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time
from typing import Any, Final, NamedTuple, Protocol

import pytest

from prefect_sora.servers.profiles import Profile
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import remote

QUICK: Final = Profile(name="quick", submit_grace_s=0.3, longest_create_s=0.3, lost_after_s=0.3)
"""A generic server whose list shows a job soon, and whose 404 is soon believed."""

Reply = tuple[int, Mapping[str, str], Any] | None
"""Status, headers, and bytes or what becomes JSON; None hangs up without an answer."""

Answer = Callable[[str, str, bytes], Reply]
"""From method, path with query, and body. It runs in a thread for each connection."""


class Asked(NamedTuple):
    """One request as it arrived; the headers' names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Scripted:
    """A threaded HTTP server that answers what a function says."""

    def __init__(self, answer: Answer, host: str = "127.0.0.1") -> None:
        self.answer = answer  # may be exchanged at any time
        self.seen: list[Asked] = []
        self._http = ThreadingHTTPServer((host, 0), _handler(self))
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        self.root = f"http://{host}:{self._http.server_port}"
        self.base_url = f"{self.root}/v1"

    def asked(self, method: str, path: str = "") -> list[Asked]:
        """The requests of a method whose path holds `path`, the oldest first."""
        return [one for one in self.seen if one.method == method and path in one.path]

    def posts(self) -> int:
        """How many creates and remixes arrived."""
        return len(self.asked("POST"))

    def stop(self) -> None:
        """End it and free its port."""
        self._http.shutdown()
        self._http.server_close()


def _handler(server: Scripted) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            server.seen.append(Asked(self.command, self.path, headers, body))
            reply = server.answer(self.command, self.path, body)
            if reply is None:
                self.close_connection = True
                return
            status, given, content = reply
            named = {"Date": formatdate(usegmt=True), **given}
            if not isinstance(content, bytes):
                named = {"Content-Type": "application/json", **named}
                content = json.dumps(content).encode()
            self.send_response_only(status)
            # A longer length than there are bytes, in a script's own header, is an answer cut off.
            for name, value in {"Content-Length": f"{len(content)}", **named}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = self.close_connection or "Content-Length" in named

        do_POST = do_GET  # noqa: N815 - http.server's name
        do_DELETE = do_GET  # noqa: N815 - http.server's name

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


class Jobs:
    """A plausible server: it keeps its jobs, newest first, and repeats what was asked for.

    Args:
        lose: How many creates are accepted with the answer lost.
        echo: Fields that a job shows in place of those asked for.
        clock: Seconds by which its clock is ahead, in `created_at` and the Date header.
    """

    def __init__(
        self, lose: int = 1, echo: Mapping[str, Any] | None = None, clock: float = 0.0
    ) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.lose = lose
        self.echo = dict(echo or {})
        self.clock = clock

    def __call__(self, method: str, path: str, body: bytes) -> Reply:
        """Answer a create sent as JSON, a list, or a question about one job."""
        now = time() + self.clock
        headers = {"Date": formatdate(now, usegmt=True)}
        if method == "POST":
            job = {
                "id": f"video_{os.urandom(6).hex()}",
                "object": "video",
                "status": "queued",
                "created_at": int(now),
                **json.loads(body),
                **self.echo,
            }
            self.jobs.insert(0, job)
            if self.lose > 0:
                self.lose -= 1
                return None
            return 200, headers, job
        if path.startswith("/v1/videos?"):
            return 200, headers, {"object": "list", "data": self.jobs, "has_more": False}
        for job in self.jobs:
            if job["id"] in path:
                return 200, headers, job
        return 404, headers, {"error": {"message": "no such job"}}


class Script(Protocol):
    """What the `scripted` fixture gives."""

    def __call__(
        self, answer: Answer, profile: Profile = QUICK, **account: Any
    ) -> tuple[Scripted, VideoClient]:
        """Start a server and make a client of it, with `remote`'s further arguments."""


@pytest.fixture
async def scripted() -> AsyncIterator[Script]:
    """Start servers that answer what a function says, each with a client of its own."""
    made: list[tuple[Scripted, VideoClient]] = []

    def script(
        answer: Answer, profile: Profile = QUICK, **account: Any
    ) -> tuple[Scripted, VideoClient]:
        server = Scripted(answer)
        client = VideoClient(remote(server.base_url, profile=profile, **account))
        made.append((server, client))
        return server, client

    yield script
    for server, client in made:
        await client.close()
        server.stop()
