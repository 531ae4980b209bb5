"""`python -m benchmarks.kept`: what a sweep, a first charge and resume cost beside what is kept.

A store of 100,000 kept renders and 50 open ones, which go on rendering, on moto's S3 and on
this machine's disk: the requests, the seconds, and by how much the process grows.
"""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from time import monotonic, time
from typing import Any

import httpx2

from benchmarks.processes import answers, free_port, serving, told_by

BUCKET, FOLDER = "kept", "clips"
MOST_REQUESTS, MOST_MIB, MOST_SECONDS = 500, 64.0, 20.0

_FILES = [
    "reserved.json",
    "accepted.json",
    "stored.json",
    "video.mp4",
    "thumbnail.webp",
    "spritesheet.jpg",
]
_DAYS, _A_RUN = 100, 10


def names_of(number: int) -> Iterator[str]:
    """Name the files that a kept render leaves in its store, which was paid without a budget."""
    key = sha256(f"{number}".encode()).hexdigest()
    folder = f"a-kite-over-a-grassy-park-{key[:12]}"
    run = sha256(f"{number // _A_RUN}".encode()).hexdigest()[:16]
    yield from (f"{folder}/{name}" for name in _FILES)
    yield f".claims/{key[:32]}.json"
    yield f".paid/day-2026-{number % _DAYS // 28 + 1:02d}-{number % 28 + 1:02d}/{folder}~1~0.800000"
    yield f".paid/run-{run}/{folder}~1~0.800000"


@dataclass
class _Store:
    """Where it is, and how many requests it has seen since they were asked for last."""

    root: str
    options: dict[str, Any]
    asked_url: str | None = None

    def asked(self) -> Counter[str]:
        """The requests by kind; a disk counts none."""
        return Counter(httpx2.get(self.asked_url).json() if self.asked_url else {})


@contextmanager
def _bucket(kept: int) -> Iterator[_Store]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = {
        "endpoint_url": url,
        "key": "benchmark",
        "secret": "benchmark",
        "client_kwargs": {"region_name": "us-east-1"},
    }
    words = (f"{port}", f"{kept}")

    def is_up() -> bool:
        return answers(f"{url}/asked")

    with serving("benchmarks.bucket", *words, ready=is_up, start_seconds=600):
        yield _Store(f"s3://{BUCKET}/{FOLDER}", options, f"{url}/asked")


@contextmanager
def _disk(kept: int) -> Iterator[_Store]:
    with TemporaryDirectory() as folder:
        root = Path(folder) / FOLDER
        for number in range(kept):
            for name in names_of(number):
                path = f"{root}/{name}"
                try:
                    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
                except FileNotFoundError:
                    os.makedirs(os.path.dirname(path))
                    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        (root / ".open").mkdir(exist_ok=True)
        (root / ".open" / "complete.json").write_text(json.dumps({"at": time()}))
        (root / ".paid" / "complete.json").write_text("{}")
        yield _Store(str(root), {})


@contextmanager
def _renderer() -> Iterator[str]:
    """A server all of whose jobs go on rendering."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            job = {"id": self.path.rpartition("/")[2], "object": "video", "status": "in_progress"}
            body = json.dumps(job if "video_" in self.path else {"data": [], "has_more": False})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", f"{len(body)}")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Stay quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def _child(task: dict[str, Any]) -> dict[str, float]:
    took: dict[str, float] = told_by("benchmarks.kept_worker", task)
    return took


def _measure(store: _Store, where: str, opened: int, base_url: str) -> bool:
    task = {"root": store.root, "options": store.options, "base_url": base_url, "open": opened}
    _child({**task, "work": "fill"})
    met = True
    for work in ("sweep", "first charge", "resume"):
        store.asked()
        took = _child({**task, "work": work})
        asked = store.asked()
        mib = took["grown"] / 2**20
        within = (asked.total() <= MOST_REQUESTS, mib <= MOST_MIB, took["seconds"] <= MOST_SECONDS)
        met &= all(within)
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(asked.items()))
        print(
            f"{where:5} {work:13} {asked.total():4d} requests ({told})  "
            f"{took['seconds']:5.1f} s  {mib:5.1f} MiB  {'met' if all(within) else 'NOT MET'}",
            flush=True,
        )
    return met


def main() -> int:
    """Build the stores and measure."""
    parser = argparse.ArgumentParser("python -m benchmarks.kept", description=__doc__)
    parser.add_argument("--kept", type=int, default=100_000)
    parser.add_argument("--open", type=int, default=50)
    parser.add_argument("--store", choices=["s3", "disk"], help="only there")
    given = parser.parse_args()
    met = True
    with _renderer() as base_url:
        for where, made in (("s3", _bucket), ("disk", _disk)):
            if given.store in (None, where):
                began = monotonic()
                with made(given.kept) as store:
                    print(f"{where:5} filled in {monotonic() - began:.0f} s", flush=True)
                    met &= _measure(store, where, given.open, base_url)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
