"""The local renderer as a service: who asks under which name, how much, and how slowly."""

import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from prefect_sora.errors import InvalidRequestError
from prefect_sora.servers.local import RendererOptions
from prefect_sora.servers.local.requests.fields import BODY_LIMIT_BYTES
from tests.support.renderer import Renderer, StartRenderer

SMALL = {"prompt": "a fox", "size": "64x64", "seconds": "1"}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "localhost.evil.example"])
def test_a_page_that_leads_its_own_name_here_reads_nothing(renderer: Renderer, host: str) -> None:
    with renderer.client() as client:
        for path in ("/videos", "/models", "/../health"):
            answer = client.get(path, headers={"Host": host})
            assert answer.status_code == 421
            assert "does not answer under that name" in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:80", "a.localhost", "[::1]:80", "[::1]"])
def test_names_of_this_machine_are_answered(renderer: Renderer, host: str) -> None:
    with renderer.client() as client:
        assert client.get("/videos", headers={"Host": host}).status_code == 200


def test_a_body_in_chunks_has_the_same_limit(renderer: Renderer) -> None:
    def endless() -> Iterator[bytes]:
        yield b'{"prompt": "'
        for _ in range(BODY_LIMIT_BYTES // 2**20 + 8):
            yield b"a" * 2**20

    with renderer.client() as client:
        for kind in ("application/json", "multipart/form-data; boundary=b"):
            try:
                answer = client.post("/videos", content=endless(), headers={"Content-Type": kind})
            except httpx2.WriteError:  # it closed before all was sent
                continue
            assert answer.status_code in (400, 413)
        assert client.get("/videos").json()["data"] == []


@pytest.mark.slow
@pytest.mark.parametrize("begun", [b"", b"GET /v1/videos HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "])
def test_a_connection_that_asks_nothing_is_closed(renderer: Renderer, begun: bytes) -> None:
    at = urlsplit(renderer.base_url)
    with socket.create_connection((at.hostname, at.port), timeout=20) as half:
        half.sendall(begun)
        assert half.recv(100) == b""


def test_files_of_jobs_are_nobody_elses(start_renderer: StartRenderer, tmp_path: Path) -> None:
    renderer = start_renderer(tmp_path / "home")
    with renderer.client() as client:
        renderer.finished(client.post("/videos", json=SMALL).json()["id"])
    made = {*(tmp_path / "home").rglob("*")} - {renderer.folder / "renderer.log"}  # this test's
    assert any(path.suffix == ".mp4" for path in made)
    assert [path for path in made if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "box.example"])  # noqa: S104 - unused
def test_other_machines_reach_it_with_a_key_alone(host: str) -> None:
    with pytest.raises(InvalidRequestError, match="PREFECT_SORA_LOCAL_KEY"):
        RendererOptions(host=host)
    assert RendererOptions(host=host, api_key="k").host == host
