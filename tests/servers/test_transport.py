"""Transport: what costs money leaves once, in its time, on a connection of its own, or never."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from time import monotonic
from types import SimpleNamespace
from typing import Any

import httpx2
import openai
import pytest
from pydantic import SecretStr

from prefect_sora.errors import (
    InvalidRequestError,
    RejectedError,
    UnavailableError,
    VideoNotFoundError,
)
from prefect_sora.servers.access.tokens import TokenSource
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.send_times import Departure, TooLateError
from prefect_sora.servers.protocol.status_errors import error_of, no_answer
from prefect_sora.servers.server import Server, remote
from prefect_sora.store.ledger import Ledger
from tests.support.limits import Limit
from tests.support.renders import clip, go
from tests.support.scripted import Jobs, Reply, Script, Scripted

NEVER = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "LocalProtocolError"}
NEVER |= {"UnsupportedProtocol", "InvalidURL"}
PERHAPS = {"CloseError", "DecodingError", "NetworkError", "ProtocolError", "ReadError"}
PERHAPS |= {"ReadTimeout", "RemoteProtocolError", "TimeoutException", "TooManyRedirects"}
PERHAPS |= {"WriteError", "WriteTimeout", "RequestError", "SSEError", "TransportError"}

SERVER = remote("http://video.example/v1")


def _all_of(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    yield kind
    for one in kind.__subclasses__():
        yield from _all_of(one)


RAISED = [*_all_of(httpx2.RequestError), httpx2.InvalidURL]


def test_the_table_knows_each_error_that_the_library_raises() -> None:
    assert {kind.__name__ for kind in RAISED} <= NEVER | PERHAPS
    assert {kind.__name__ for kind in RAISED} >= NEVER


@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
def test_each_error_tells_what_it_can_and_the_departure_the_rest(kind: type[Any]) -> None:
    never = kind.__name__ in NEVER
    assert no_answer(SERVER, kind("x")).never_sent is never
    assert no_answer(SERVER, kind("x"), left=True).never_sent is never
    assert no_answer(SERVER, kind("x"), left=False).never_sent
    wrapped = openai.APIConnectionError(request=httpx2.Request("POST", SERVER.base_url))
    wrapped.__cause__ = kind("x")
    told = error_of(SERVER, wrapped, verb="create")
    assert isinstance(told, UnavailableError)
    assert (told.never_sent, told.ended) == (never, False)


@pytest.mark.parametrize("error", [TimeoutError(), ValueError("sk-secret"), OSError("x"), KeyError])
def test_an_error_of_no_kind_that_is_known_is_told_by_the_departure_alone(error: Any) -> None:
    assert no_answer(SERVER, error, left=False).never_sent
    assert not no_answer(SERVER, error, left=True).never_sent
    assert "sk-secret" not in str(no_answer(SERVER, error, left=True))


def step(method: bytes = b"POST") -> dict[str, Any]:
    return {"request": SimpleNamespace(method=method)}


async def test_a_departure_is_the_first_byte_of_the_request_itself() -> None:
    departure = Departure(60)
    for event in ("connection.connect_tcp.complete", "http11.send_request_body.started"):
        await departure(event, {})
    await departure("http11.send_request_headers.started", step(b"CONNECT"))
    assert departure.at is None
    await departure("http11.send_request_headers.started", step())
    assert departure.at is not None
    departure.refused()
    assert departure.at is None


async def test_nothing_leaves_after_its_time() -> None:
    departure = Departure(0)
    with pytest.raises(TooLateError):
        await departure("http11.send_request_headers.started", step())
    assert departure.at is None


@pytest.mark.parametrize("silent", [True, False], ids=["no answer in time", "no answer"])
async def test_where_something_else_traces_http_a_create_without_an_answer_may_have_left(
    scripted: Script, silent: bool
) -> None:
    going = threading.Event()

    def lose(*_: Any) -> Reply:
        going.wait(5 * silent)
        return None

    async def others_trace(event: str, info: Any) -> None:
        """What a library that watches requests puts in the place of ours."""

    async def take(request: httpx2.Request) -> None:
        request.extensions["trace"] = others_trace

    server, client = scripted(lose)
    client._once.event_hooks["request"] = [take]
    with pytest.raises(UnavailableError) as caught:
        await client.submit(clip(), None, "k", Departure(0.3))
    going.set()
    assert not caught.value.never_sent
    assert server.posts() == 1


@pytest.mark.parametrize("clock", ["time", "monotonic"])
async def test_either_clock_ends_its_time(monkeypatch: pytest.MonkeyPatch, clock: str) -> None:
    departure = Departure(60)
    monkeypatch.setattr(f"prefect_sora.servers.protocol.send_times.{clock}", lambda: 1e12)
    assert departure.left_s < 0


async def test_a_clock_that_was_set_back_gives_it_no_more_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    departure = Departure(60)
    monkeypatch.setattr("prefect_sora.servers.protocol.send_times.time", lambda: 0.0)
    assert departure.left_s <= 60


async def test_many_creates_on_few_connections_leave_in_their_time_and_none_is_in_doubt(
    scripted: Script, disk: Ledger, limit: Limit
) -> None:
    limit(creates_at_once=2, leave_seconds=0.4, connect_seconds=0.2)
    jobs, open_now, most = Jobs(lose=0), [0], [0]
    count = threading.Lock()

    def slow(method: str, path: str, body: bytes) -> Reply:
        if method != "POST":
            return jobs(method, path, body)
        with count:
            open_now[0] += 1
            most[0] = max(most[0], open_now[0])
        threading.Event().wait(0.4)  # a server that takes its time
        with count:
            open_now[0] -= 1
            return jobs(method, path, body)

    server, client = scripted(slow)
    made = await asyncio.gather(*(go(client, disk, clip(take=n)) for n in range(1, 7)))
    assert len({job.video_id for job in made}) == 6
    assert (server.posts(), most[0], any(job.adopted for job in made)) == (6, 2, False)
    for job in made:
        state = await disk.state(job.folder)
        assert state.reserved is not None
        # None was stamped while it waited for its turn.
        assert state.attempt == 1
        assert job.submitted_at - state.reserved.at < 0.6 + 0.4 + 1  # `created_at` is whole seconds


@asynccontextmanager
async def listening(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """A server of one's own, by its port; connections end when the block does."""
    talks: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        talks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await talk(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async with await asyncio.start_server(one, "127.0.0.1") as server:
        yield server.sockets[0].getsockname()[1]
        for task in talks:
            task.cancel()  # nothing, where it has ended
        await asyncio.gather(*talks, return_exceptions=True)


async def test_a_create_goes_out_on_no_connection_that_was_used_before() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # It keeps a connection open and closes it, without a word, under the next request.
        for n in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            if n:
                return
            create = head.startswith(b"POST")
            body = b'{"id": "video_1", "status": "queued"}' if create else b'{"data": []}'
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()

    async with listening(once) as port:
        client = VideoClient(remote(f"http://127.0.0.1:{port}/v1"))
        await client.list_page()
        for _ in range(2):
            assert (await client.submit(clip(), None, "k")).id == "video_1"
        await client.close()


REFUSALS = {
    "it refuses": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    "it wants a password": b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
    "nothing is behind it": b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
    "it speaks no HTTP": b"SSH-2.0-OpenSSH_9.9\r\n",
    "it opens the way to no TLS": b"HTTP/1.1 200 OK\r\n\r\nhello, I am no TLS\r\n\r\n",
    "it hangs up": b"",
}


@pytest.mark.parametrize("said", REFUSALS.values(), ids=REFUSALS)
async def test_what_a_proxy_does_not_let_through_was_never_sent(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(said)
        await writer.drain()

    heads: list[bytes] = []
    async with listening(proxy) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        client = VideoClient(remote("https://video.example/v1", api_key=SecretStr("sk-canary")))
        with pytest.raises(UnavailableError, match="cannot be reached") as caught:
            await client.submit(clip(), None, "k")
        await client.close()
    assert caught.value.never_sent
    assert heads
    assert all(head.startswith(b"CONNECT") and b"canary" not in head for head in heads)


async def test_a_proxy_that_says_nothing_is_left_when_the_time_to_leave_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(silent) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        client = VideoClient(remote("https://video.example/v1"))
        began = monotonic()
        with pytest.raises(UnavailableError) as caught:
            await client.submit(clip(), None, "k", Departure(0.3))
        await client.close()
    assert caught.value.never_sent
    assert monotonic() - began < 20, "the answer's own time has not begun"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
async def test_this_machine_is_not_asked_through_a_proxy(
    scripted: Script, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    proxy = Scripted(lambda *_: (502, {}, b"the proxy"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.root)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    server, _ = scripted(Jobs(lose=0))
    port = server.root.rpartition(":")[2]
    client = VideoClient(remote(f"http://{host}:{port}/v1"))
    try:
        if host == "127.0.0.2":  # nothing listens there; what counts is who is not asked
            with pytest.raises(UnavailableError):
                await client.submit(clip(), None, "k")
        else:
            assert (await client.submit(clip(), None, "k")).id
            await client.list_page()
            with pytest.raises(VideoNotFoundError):
                async with client.content("v"):
                    raise AssertionError("unreachable: there is no such video")
    finally:
        await client.close()
        proxy.stop()
    assert proxy.seen == []


@pytest.mark.parametrize(
    ("setting", "said"),
    [("socks5://me:s3cret@127.0.0.1:9", "socksio"), ("ftp://me:s3cret@127.0.0.1:9", "http://host")],
)
async def test_a_proxy_that_cannot_be_used_is_said_and_does_not_bar_this_machine(
    scripted: Script, monkeypatch: pytest.MonkeyPatch, setting: str, said: str
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("all_proxy", setting)
    monkeypatch.setitem(sys.modules, "socksio", None)  # not installed
    with pytest.raises(InvalidRequestError, match=said) as caught:
        VideoClient(remote("https://video.example/v1"))
    assert "s3cret" not in str(caught.value)
    assert "nothing was sent" in str(caught.value)
    _, client = scripted(Jobs(lose=0))
    assert (await client.submit(clip(), None, "k")).id


async def test_a_create_whose_token_comes_too_late_does_not_leave(scripted: Script) -> None:
    class Access:
        token, expires_on = "token-1", 4_000_000_000

    late = threading.Event()

    def fetch() -> Access:
        late.wait(5)
        return Access()

    server, _ = scripted(Jobs(lose=0))
    client = VideoClient(Server(server.base_url, "x", "x", token=TokenSource(lambda: fetch)))
    with pytest.raises(UnavailableError) as caught:
        await client.submit(clip(), None, "k", Departure(0.1))
    late.set()
    await client.close()
    assert caught.value.never_sent
    assert server.posts() == 0


async def test_what_cannot_be_written_down_is_said_before_anything_is_sent(
    scripted: Script,
) -> None:
    server, client = scripted(Jobs(lose=0))
    for extra in ({"seed": float("nan")}, {"note": "\ud800"}):
        with pytest.raises(InvalidRequestError, match="cannot be written down"):
            # A request refuses it itself; this is what slips by.
            await client.submit(clip().model_copy(update={"extra": extra}), None, "k")
    assert server.posts() == 0


async def test_an_answer_without_end_to_a_create_is_cut_off(
    scripted: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = scripted(lambda *_: (200, {}, b" " * 200_000))
    departure = Departure()
    with pytest.raises(UnavailableError, match="no end") as caught:
        await client.post("/videos", {}, verb="create", departure=departure, max_bytes=100_000)
    assert (caught.value.never_sent, departure.at is None) == (False, False)


async def test_a_refusal_whose_words_are_cut_off_is_a_refusal(scripted: Script) -> None:
    _, client = scripted(lambda *_: (400, {"Content-Length": "900"}, b'{"error": {"mess'))
    with pytest.raises(RejectedError, match=r"\(400\)"):
        await client.submit(clip(), None, "k")


async def test_an_unanswered_create_tells_how_long_was_waited(scripted: Script) -> None:
    going = threading.Event()

    def never(*_: Any) -> Reply:
        going.wait(5)
        return None

    _, client = scripted(never)
    departure = Departure(60)
    with pytest.raises(UnavailableError, match=r"within 0\.3 s") as caught:
        await client.post("/videos", {}, verb="create", departure=departure, timeout_seconds=0.3)
    going.set()
    assert not caught.value.never_sent
    assert departure.at is not None
