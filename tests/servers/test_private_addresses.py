"""Private addresses: what a server or a file names lies on a public host, or is not asked for."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from prefect_sora.errors import ReferenceImageError, UnavailableError
from prefect_sora.requests import files
from prefect_sora.requests.reference import load_source
from prefect_sora.servers.protocol.client import VideoClient
from tests.support.scripted import Script, Scripted

PRIVATE = [
    "http://10.0.0.1/a",
    "http://192.168.1.1:8080/a",
    "http://169.254.169.254/latest/meta-data",
    "http://168.63.129.16/machine",
    "http://100.100.100.200/latest",
    "http://0.0.0.0/a",
    "http://127.0.0.2/a",
    "http://2130706434/a",
    "http://0x7f.2/a",
    "http://[::]/a",
    "http://[fe80::1]/a",
    "http://[fd00:ec2::254]/a",
    "http://[::ffff:10.0.0.1]/a",
    "http://[64:ff9b::a00:1]/a",
    "http://[2002:a00:1::]/a",
    "https://metadata.test/a",
    "http://both.test/a",
]

Names = dict[str, list[str]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """What names resolve to; of several addresses in one text each is a turn of its own."""
    known: Names = {
        "metadata.test": ["169.254.169.254"],
        "both.test": ["1.1.1.1 10.0.0.1"],
    }
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        turns = known.get(host)
        if turns is None:
            return real(host, port, *args, **more)
        now = turns.pop(0) if len(turns) > 1 else turns[0]
        return [found for each in now.split() for found in real(each, port, *args, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


async def body_of(client: VideoClient, url: str | None = None) -> bytes:
    async with client.content("v1", url=url) as content:
        return b"".join([chunk async for chunk in content.chunks])


@pytest.fixture
def neighbour() -> Iterator[Callable[[str], Scripted]]:
    """Start servers on further addresses of this machine."""
    made: list[Scripted] = []

    def start(body: str) -> Scripted:
        made.append(Scripted(lambda *_: (200, {}, body.encode()), "127.0.0.2"))
        return made[-1]

    yield start
    for each in made:
        each.stop()


@pytest.mark.parametrize("url", PRIVATE)
async def test_a_job_s_url_that_leads_into_a_private_network_is_not_asked(
    scripted: Script, names: Names, url: str
) -> None:
    server, client = scripted(lambda *_: (200, {}, b"x"))
    with pytest.raises(UnavailableError, match="in a private network, which was not asked"):
        await body_of(client, url)
    assert server.seen == []


@pytest.mark.parametrize("url", PRIVATE)
async def test_a_redirect_of_content_into_a_private_network_is_not_followed(
    scripted: Script, names: Names, url: str
) -> None:
    server, client = scripted(lambda *_: (302, {"Location": url}, b""))
    with pytest.raises(UnavailableError, match="PREFECT_SORA_PRIVATE_HOSTS"):
        await body_of(client)
    assert len(server.seen) == 1


@pytest.mark.parametrize("url", [*PRIVATE, "http://127.0.0.1:9/a", "http://localhost:9/a"])
async def test_a_reference_in_a_private_network_is_not_asked(names: Names, url: str) -> None:
    with pytest.raises(ReferenceImageError, match="in a private network, which was not asked"):
        await load_source(url)


async def test_a_document_may_be_named_there_and_leads_no_further(
    scripted: Script, names: Names
) -> None:
    server, _ = scripted(lambda *_: (200, {}, b"x"))
    assert await files.load(f"{server.root}/board.yaml", max_bytes=9) == b"x"
    server.answer = lambda *_: (302, {"Location": "http://metadata.test/a"}, b"")
    with pytest.raises(files.UnreadableError, match=r"metadata\.test in a private network"):
        await files.load(f"{server.root}/board.yaml", max_bytes=9)


async def test_the_server_s_own_host_may_keep_files_at_another_port(scripted: Script) -> None:
    files_at, _ = scripted(lambda *_: (200, {}, b"its own"))
    _, client = scripted(lambda *_: (302, {"Location": f"{files_at.root}/a"}, b""))
    assert await body_of(client) == b"its own"
    assert await body_of(client, f"{files_at.root}/a") == b"its own"


@pytest.mark.parametrize("allowed", ["files.test", "127.0.0.2", "10.0.0.0/8, 127.0.0.0/8"])
async def test_what_the_user_has_named_may_be_private(
    scripted: Script,
    names: Names,
    neighbour: Callable[[str], Scripted],
    monkeypatch: pytest.MonkeyPatch,
    allowed: str,
) -> None:
    names["files.test"] = ["127.0.0.2"]
    monkeypatch.setenv("PREFECT_SORA_PRIVATE_HOSTS", allowed)
    there = neighbour("a clip")
    _, client = scripted(lambda *_: (200, {}, b""))
    port = there.root.rpartition(":")[2]
    assert await body_of(client, f"http://files.test:{port}/a") == b"a clip"
    assert there.seen[0].headers["host"] == f"files.test:{port}"


async def test_a_name_that_leads_elsewhere_the_second_time_is_asked_where_it_was_checked(
    scripted: Script,
    names: Names,
    neighbour: Callable[[str], Scripted],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names["rebinds.test"] = ["127.0.0.2", "127.0.0.1"]
    monkeypatch.setenv("PREFECT_SORA_PRIVATE_HOSTS", "127.0.0.2")
    there = neighbour("checked")
    _, client = scripted(lambda *_: (200, {}, b""))
    port = there.root.rpartition(":")[2]
    assert await body_of(client, f"http://rebinds.test:{port}/a") == b"checked"
    with pytest.raises(UnavailableError, match="in a private network"):
        await body_of(client, f"http://rebinds.test:{port}/a")
    assert len(there.seen) == 1


async def test_a_proxy_is_not_asked_for_what_is_private(
    scripted: Script, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, _ = scripted(lambda *_: (200, {}, b"x"))
    monkeypatch.setenv("HTTP_PROXY", proxy.root)
    _, client = scripted(lambda *_: (200, {}, b""))
    with pytest.raises(UnavailableError, match="in a private network"):
        await body_of(client, "http://169.254.169.254/a")
    assert proxy.seen == []
    assert await body_of(client, "http://nobody-resolves-this.test/a") == b"x"
