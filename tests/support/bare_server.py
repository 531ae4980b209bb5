"""A video server that shares no line of code with us, in a process of its own.

It speaks the bare protocol and nothing more: it demands its key, takes forms as well as
JSON, has no variants, sends neither times nor progress nor expiry, and says `done`. It has
no list, or a bare one. `/jobs` tells what it was asked for.
"""

import argparse
import base64
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import av
import httpx2
from PIL import Image


def a_clip(colour: str) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        picture = Image.new("RGB", (64, 64), colour)
        for _ in range(24):
            frame = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]  # PyAV's
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return out.getvalue()


class BareServer(ThreadingHTTPServer):
    """Keeps what it was asked for, by id; drops the connection of the first creates."""

    daemon_threads = True

    def __init__(self, drops: int, *, lists: bool) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.jobs: dict[str, dict[str, Any]] = {}
        self.clip = a_clip("teal")
        self.drops, self.lists = drops, lists


class Handler(BaseHTTPRequestHandler):
    server: BareServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        parts = self.path.removeprefix("/some/path/v1").strip("/").split("/")
        if self.headers.get("authorization") != "Bearer sk-right":
            return self.reply(401, {"error": "Unauthorized"})
        fields = self.form(body) if "multipart" in self.headers["content-type"] else None
        job = {"fields": fields or json.loads(body), "source": parts[1] if parts[2:] else None}
        video_id = f"v{len(self.server.jobs) + 1}"
        self.server.jobs[video_id] = job
        if self.server.drops > 0:  # accepted, and never said so
            self.server.drops -= 1
            self.close_connection = True
            return None
        return self.reply(201, {"id": video_id, "status": "pending"})

    def do_GET(self) -> None:
        parts = self.path.removeprefix("/some/path/v1").strip("/").split("/")
        if self.path == "/jobs":
            return self.reply(200, self.server.jobs)
        if len(parts) == 1:
            if not self.server.lists:
                return self.reply(404, {"message": "no such page"})
            jobs = [{"id": name, "status": "done"} for name in self.server.jobs]
            return self.reply(200, {"data": jobs})
        if parts[1] not in self.server.jobs:
            return self.reply(404, {"message": "no such video"})
        if parts[2:] == ["content"]:
            return self.reply(200, self.server.clip)
        return self.reply(200, {"id": parts[1], "status": "done"})

    def form(self, body: bytes) -> dict[str, Any]:
        head = f"content-type: {self.headers['content-type']}\r\n\r\n".encode()
        return {
            str(part.get_param("name", header="content-disposition")): _plain(part.get_content())
            for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts()
        }

    def reply(self, status: int, body: Any) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _plain(content: Any) -> str:
    """Text as it is, and bytes as JSON can carry them."""
    return content if isinstance(content, str) else base64.b64encode(content).decode()


class Bare:
    """The server as its clients see it."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.url = f"{root}/some/path/v1"

    @property
    def jobs(self) -> dict[str, dict[str, Any]]:
        """What it has accepted, by id."""
        jobs: dict[str, dict[str, Any]] = httpx2.get(f"{self.root}/jobs").json()
        return jobs


@contextmanager
def bare_server(drops: int = 0, *, lists: bool = False) -> Iterator[Bare]:
    """Run one.

    Args:
        drops: How many creates it accepts without an answer.
        lists: Whether it has a list.
    """
    command = [sys.executable, "-m", "tests.support.bare_server", "--drops", str(drops)]
    with subprocess.Popen(
        [*command, *(["--lists"] if lists else [])], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield Bare(process.stdout.readline().strip())
        process.kill()


def main() -> None:
    """Serve until the process that started us ends us."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--drops", type=int, default=0)
    parser.add_argument("--lists", action="store_true")
    options = parser.parse_args()
    with BareServer(options.drops, lists=options.lists) as server:
        sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
