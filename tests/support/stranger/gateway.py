"""Gateway: what stands in front of the server, and answers for it."""

import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from random import Random
from typing import Final
from urllib.parse import urlsplit

from tests.support.stranger.character import Manner, Manners
from tests.support.stranger.serving import Loopback, Quiet

_NOT_PASSED_ON: Final = {"connection", "keep-alive", "transfer-encoding", "date", "content-length"}
_PATIENCE_SECONDS: Final = 30.0
_PAGES: Final = {
    "text": ("text/plain", b"upstream connect error or disconnect/reset before headers"),
    "page": ("text/html", b"<html><body><h1>Bad gateway</h1><hr>nginx</body></html>"),
    "json": ("application/json", b'{"message":"upstream error","request_id":"gw-1"}'),
    "empty": ("text/plain", b""),
}


@dataclass
class Answer:
    """What the client gets."""

    status: int
    headers: dict[str, str]
    body: bytes


class Gateway(Loopback):
    """A reverse proxy on loopback, with manners of its own."""

    def __init__(self, port: int, upstream: str) -> None:
        super().__init__(port, _Handler)
        self.upstream = urlsplit(upstream).netloc
        self._lock = threading.Lock()
        self.on_their_way = 0
        self.behave(Manners())

    def behave(self, manners: Manners) -> None:
        """Behave so from here on; what was forwarded late meanwhile stays on its way."""
        with self._lock:
            self.manners = manners
            self.left = {n: one.times for n, one in enumerate(manners.does)}
            self.dice = Random(manners.seed)  # noqa: S311 - no secret
            self.met: Counter[str] = Counter()

    def choose(self, on: str) -> Manner | None:
        """What befalls this request."""
        with self._lock:
            for n, one in enumerate(self.manners.does):
                left = self.left[n]
                if one.on not in (on, "any") or left == 0 or self.dice.random() >= one.chance:
                    continue
                if left is not None:
                    self.left[n] = left - 1
                self.met[one.name] += 1
                return one
        return None

    def forward_later(
        self, seconds: float, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> None:
        """Ask the server then, whoever has been answered what meanwhile."""

        def arrive() -> None:
            self.forward(method, path, headers, body)
            with self._lock:
                self.on_their_way -= 1

        with self._lock:
            self.on_their_way += 1
        timer = threading.Timer(seconds, arrive)
        timer.daemon = True
        timer.start()

    def forward(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Answer | None:
        """Ask the server; None where it does not answer."""
        connection = http.client.HTTPConnection(self.upstream, timeout=_PATIENCE_SECONDS)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            said = {name.title(): value for name, value in response.getheaders()}
            return Answer(response.status, said, response.read())
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


class _Handler(Quiet):
    server: Gateway

    def answer(self, body: bytes) -> None:
        if self.path.startswith("/gateway"):
            return self._admin(body)
        manner = self.server.choose(_operation(self.command, self.path))
        headers = {n: v for n, v in self.headers.items() if n.lower() not in _NOT_PASSED_ON}
        asked = (self.command, self.path, headers, body)
        if manner is None:
            return self._pass_on(self.server.forward(*asked))
        if manner.forwards == "late":  # before the client can be told anything
            self.server.forward_later(manner.holds_s + manner.late_s, *asked)
        answer = self.server.forward(*asked) if manner.forwards == "first" else None
        threading.Event().wait(manner.holds_s)
        if manner.status is None:
            self.close_connection = True
        elif manner.status == 0:
            self._pass_on(answer, manner.cut, manner.headers)
        else:
            kind, page = _PAGES[manner.body]
            self._say(manner.status, {"Content-Type": kind, **manner.headers}, page, manner.cut)
        return None

    def _admin(self, body: bytes) -> None:
        if self.command == "POST":
            self.server.behave(Manners.read(body.decode()))
        way = self.server.on_their_way
        said = json.dumps({"met": self.server.met, "on_their_way": way}).encode()
        self._say(200, {"Content-Type": "application/json"}, said)

    def _pass_on(
        self, answer: Answer | None, cut: int | None = None, more: Mapping[str, str] | None = None
    ) -> None:
        if answer is None:  # the server is down, or does not answer
            kind, page = _PAGES["page"]
            return self._say(502, {"Content-Type": kind}, page)
        headers = {n: v for n, v in answer.headers.items() if n.lower() not in _NOT_PASSED_ON}
        if not self.server.manners.dates and "Date" in answer.headers:
            headers["Date"] = answer.headers["Date"]
        return self._say(answer.status, {**headers, **(more or {})}, answer.body, cut)

    def _say(
        self, status: int, headers: Mapping[str, str], body: bytes, cut: int | None = None
    ) -> None:
        manners = self.server.manners
        now = formatdate(time.time() + manners.clock_s, usegmt=True)
        dated = {"Date": now} if manners.dates else {}
        self.send_response_only(status)
        for name, value in {**dated, **headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None and cut < len(body):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True


def _operation(method: str, path: str) -> str:
    parts = urlsplit(path).path.strip("/").split("/")
    if method != "GET":
        return "create" if method == "POST" else "delete"
    if parts[-1] == "content":
        return "content"
    if parts[-1] == "videos":
        return "list"
    return "retrieve" if "videos" in parts else "other"
