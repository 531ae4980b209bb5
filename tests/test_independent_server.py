"""Any server: the flows work with one that shares no line of code with us.

It speaks the bare protocol and nothing more: it demands its key, takes forms as well as
JSON, has no list and no variants, sends neither progress nor expiry, and says `done`.
"""

import io
import json
import threading
from collections.abc import Iterator
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image
from pydantic import SecretStr

from prefect_sora import (
    AuthenticationError,
    OpenAICredentials,
    image_to_video,
    remix_chain,
    text_to_video,
)

pytestmark = pytest.mark.usefixtures("prefect")

ASK: dict[str, Any] = {"model": None, "size": "64x64", "seconds": 1, "poll_interval_seconds": 0.05}


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
    """What it was asked for stands in `jobs`, by id."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.jobs: dict[str, dict[str, Any]] = {}
        self.clip = a_clip("teal")
        self.url = f"http://127.0.0.1:{self.server_port}/some/path/v1"


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
        return self.reply(201, {"id": video_id, "status": "pending"})

    def do_GET(self) -> None:
        parts = self.path.removeprefix("/some/path/v1").strip("/").split("/")
        if len(parts) == 1:
            return self.reply(404, {"message": "no such page"})
        if parts[1] not in self.server.jobs:
            return self.reply(404, {"message": "no such video"})
        if parts[2:] == ["content"]:
            return self.reply(200, self.server.clip)
        return self.reply(200, {"id": parts[1], "status": "done"})

    def form(self, body: bytes) -> dict[str, Any]:
        head = f"content-type: {self.headers['content-type']}\r\n\r\n".encode()
        return {
            str(part.get_param("name", header="content-disposition")): part.get_content()
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


@pytest.fixture
def bare() -> Iterator[BareServer]:
    server = BareServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def provider(bare: BareServer) -> OpenAICredentials:
    return OpenAICredentials(base_url=bare.url, api_key=SecretStr("sk-right"))


async def test_text_becomes_a_video(
    bare: BareServer, provider: OpenAICredentials, tmp_path: Path
) -> None:
    video = await text_to_video("a kite", provider, str(tmp_path), **ASK)
    assert video.size_bytes == len(bare.clip)
    assert (video.cost_usd, video.provider.endswith("/some/path/v1")) == (None, True)
    assert Path(str(video.thumbnail_url).removeprefix("file://")).is_file()
    assert bare.jobs["v1"]["fields"] == {"prompt": "a kite", "size": "64x64", "seconds": "1"}


async def test_a_picture_is_sent_at_the_videos_exact_size(
    bare: BareServer, provider: OpenAICredentials, tmp_path: Path
) -> None:
    Image.new("RGB", (300, 100), "red").save(tmp_path / "red.png")
    await image_to_video("it moves", tmp_path / "red.png", provider, str(tmp_path), **ASK)
    sent = bare.jobs["v1"]["fields"]
    assert (sent["seconds"], sent["prompt"]) == ("1", "it moves")
    assert Image.open(io.BytesIO(sent["input_reference"])).size == (64, 64)


async def test_a_chain_remixes_each_clip_before(
    bare: BareServer, provider: OpenAICredentials, tmp_path: Path
) -> None:
    await remix_chain(
        "a kite", remixes=["snow", "night"], provider=provider, store=str(tmp_path), **ASK
    )
    assert [job["source"] for job in bare.jobs.values()] == [None, "v1", "v2"]
    assert bare.jobs["v3"]["fields"] == {"prompt": "night"}


async def test_a_wrong_key_is_told_and_pays_nothing(bare: BareServer, tmp_path: Path) -> None:
    wrong = OpenAICredentials(base_url=bare.url, api_key=SecretStr("sk-wrong"))
    with pytest.raises(AuthenticationError, match="Check api_key"):
        await text_to_video("a kite", wrong, str(tmp_path), **ASK)
    assert bare.jobs == {}
