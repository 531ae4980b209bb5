"""S3 without the cloud: moto's server in a process of its own, and a folder of each kind."""

import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import botocore.session
import fsspec
import httpx2
import pytest
import s3fs
from botocore.loaders import JSONFileLoader

from prefect_sora.store.backends import VideoFolder

SECRET = "swordfish-4711"  # a value no error may show


@dataclass(frozen=True)
class S3:
    """A fresh bucket, and the way to it."""

    endpoint_url: str
    bucket: str
    client: Any
    options: dict[str, Any] = field(repr=False)

    def folder(self, prefix: str = "videos") -> VideoFolder:
        return VideoFolder(f"s3://{self.bucket}/{prefix}", self.options)

    def keys(self) -> list[str]:
        listing = self.client.list_objects_v2(Bucket=self.bucket)
        return [item["Key"] for item in listing.get("Contents", [])]

    def unfinished_uploads(self) -> list[str]:
        listing = self.client.list_multipart_uploads(Bucket=self.bucket)
        return [upload["Key"] for upload in listing.get("Uploads", [])]


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A process of its own: its memory and its warnings are not the tests'."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("s3") / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=output,
            stderr=output,
        )
    try:
        _wait_until_it_answers(endpoint, server, log)
        yield endpoint
    finally:
        server.terminate()
        server.wait()


def _wait_until_it_answers(endpoint: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    waited = threading.Event()
    for _ in range(600):
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(endpoint, timeout=5):  # noqa: S310 - our own server
                return
        except OSError:
            waited.wait(0.05)
    raise RuntimeError(f"The S3 server did not start:\n{log.read_text()}")


@pytest.fixture(scope="session", autouse=True)
def _models_are_read_once() -> Iterator[None]:
    """Each session of botocore's reads its megabytes of JSON anew, and a store is a session."""
    read = cache(JSONFileLoader().load_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: read(path))
        yield


@pytest.fixture
def s3(s3_endpoint: str) -> Iterator[S3]:
    client = botocore.session.get_session().create_client(
        "s3",
        endpoint_url=s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id="tester",
        aws_secret_access_key=SECRET,
    )
    bucket = f"bucket-{uuid4().hex[:12]}"
    client.create_bucket(Bucket=bucket)
    options = {
        "endpoint_url": s3_endpoint,
        "key": "tester",
        "secret": SECRET,
        "client_kwargs": {"region_name": "us-east-1"},
    }
    yield S3(s3_endpoint, bucket, client, options)
    client.close()


@pytest.fixture(params=["disk", "memory", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> VideoFolder:
    """The same folder on each kind of file system."""
    if request.param == "disk":
        return VideoFolder(str(tmp_path / "videos"))
    if request.param == "memory":
        return VideoFolder(f"memory://videos-{uuid4().hex}")
    s3: S3 = request.getfixturevalue("s3")
    return s3.folder()


@dataclass
class Meddler:
    """A proxy before the S3 server that does what networks and lesser servers do.

    Attributes:
        endpoint_url: Where to send requests instead.
        ignore_conditions: Drop `If-None-Match`, like a server that does not know it.
        lose_answers: The methods of the next requests that are passed on, but whose
            answers get lost; clients repeat a lost PUT up to twice by themselves.
        conflicts: Answer so many conditional writes with 409, and pass none of them on.
        seen: The requests, as "PUT /bucket/key".
    """

    endpoint_url: str = ""
    ignore_conditions: bool = False
    lose_answers: list[str] = field(default_factory=list)
    conflicts: int = 0
    seen: list[str] = field(default_factory=list)

    def options(self, s3: S3) -> dict[str, Any]:
        return {**s3.options, "endpoint_url": self.endpoint_url}


@pytest.fixture
def meddler(s3: S3) -> Iterator[Meddler]:
    meddler = Meddler()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            headers = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
            conditional = "If-None-Match" in self.headers
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            meddler.seen.append(f"{self.command} {self.path}")
            if conditional and meddler.conflicts:
                meddler.conflicts -= 1
                self.answer(409, b"<Error><Code>ConditionalRequestConflict</Code></Error>")
                return
            if meddler.ignore_conditions:
                headers = {k: v for k, v in headers.items() if k.lower() != "if-none-match"}
            answer = httpx2.request(
                self.command, s3.endpoint_url + self.path, headers=headers, content=body
            )
            if meddler.lose_answers[:1] == [self.command]:
                del meddler.lose_answers[0]
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.answer(answer.status_code, answer.content, dict(answer.headers))

        do_GET = do_HEAD = do_POST = do_DELETE = do_PUT  # noqa: N815 - http.server's names

        def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                if name.lower() not in {"content-length", "connection", "transfer-encoding"}:
                    self.send_header(name, value)
            length = (headers or {}).get("content-length", "0")
            self.send_header("Content-Length", length if self.command == "HEAD" else f"{len(body)}")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Stay quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        meddler.endpoint_url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield meddler
        server.shutdown()
        thread.join()


def traces(folder: VideoFolder) -> list[str]:
    """Everything a folder holds, hidden files and unfinished uploads too."""
    if folder.root.startswith("s3://"):
        bucket, _, prefix = folder.root.removeprefix("s3://").partition("/")
        fs = s3fs.S3FileSystem(**folder.options, use_listings_cache=False)
        uploads = [f"unfinished: {u['Key']}" for u in fs.list_multipart_uploads(bucket)]
        return [
            p.removeprefix(f"{bucket}/{prefix}/") for p in fs.find(f"{bucket}/{prefix}")
        ] + uploads
    if folder.root.startswith("memory://"):
        path = folder.root.removeprefix("memory:/")
        return [p.removeprefix(f"{path}/") for p in fsspec.filesystem("memory").find(path)]
    return sorted(
        str(p.relative_to(folder.root)) for p in Path(folder.root).rglob("*") if p.is_file()
    )
