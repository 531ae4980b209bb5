"""Hostile answers: whatever a server sends, it ends, stays small, and gives no key away."""

import gzip
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from prefect_sora.errors import (
    InvalidRequestError,
    RenderFailedError,
    SoraError,
    UnavailableError,
)
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.detect import recognise
from prefect_sora.store.ledger import Ledger
from tests.servers.test_drips import Dripping, dripping
from tests.support.limits import Limit
from tests.support.renders import clip, render
from tests.support.scripted import Script

KEY = "sk-marked-0123456789/abcdef"
ESCAPED = "".join(f"\\u{ord(each):04x}" for each in KEY)
JSON = {"Content-Type": "application/json"}
GZIP = {"Content-Encoding": "gzip"}

Call = Callable[[VideoClient], Awaitable[Any]]

__all__ = ["dripping"]


async def retrieve(client: VideoClient) -> Any:
    return await client.retrieve("v1")


async def page(client: VideoClient) -> Any:
    return await client.list_page()


async def create(client: VideoClient) -> Any:
    return await client.submit(clip(), None, "k")


async def content(client: VideoClient) -> Any:
    async with client.content("v1") as body:
        async for _ in body.chunks:
            pass
        return body.content_type


@pytest.mark.parametrize("call", [retrieve, page, create, content])
@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        pytest.param(
            200,
            {},
            {"id": "v1", "status": "failed", "error": {"message": f"no {KEY}"}},
            id="failed",
        ),
        pytest.param(200, {}, {"id": "v1", "status": KEY, "model": KEY}, id="status and model"),
        pytest.param(200, {}, {"id": f"v_{KEY}", "status": "queued"}, id="id"),
        pytest.param(
            400, {"x-request-id": KEY}, {"error": {"message": "no", "code": KEY}}, id="code"
        ),
        pytest.param(429, {}, f'{{"error": {{"message": "{ESCAPED}"}}}}'.encode(), id="escaped"),
        pytest.param(401, {}, {"error": {"message": KEY, "type": KEY}}, id="message and type"),
        pytest.param(500, {}, f"<h1>{KEY}</h1>".encode(), id="page"),
        pytest.param(200, {"Content-Type": KEY, "X-Other": KEY}, b"?", id="headers"),
        pytest.param(200, {}, {"data": [{"id": "v1", "status": KEY}], "last_id": KEY}, id="list"),
    ],
)
async def test_a_key_that_a_server_repeats_gets_no_further(
    scripted: Script,
    caplog: pytest.LogCaptureFixture,
    call: Call,
    status: int,
    headers: Mapping[str, str],
    body: Any,
) -> None:
    caplog.set_level(logging.DEBUG)
    _, client = scripted(lambda *_: (status, headers, body), api_key=SecretStr(KEY))
    try:
        said: Any = await call(client)
    except SoraError as error:
        before = error.__context__
        said = f"{error!r} {vars(error)} {before!r} {vars(before) if before else ''}"
    assert KEY not in f"{said!r}"
    assert KEY not in caplog.text


async def test_a_reason_phrase_that_repeats_the_key_is_shown_without_it(
    dripping: Dripping, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = await dripping(
        lambda _: (f"HTTP/1.1 400 {KEY}\r\nContent-Length: 0\r\n\r\n".encode(), b""),
        api_key=SecretStr(KEY),
    )
    with pytest.raises(SoraError) as caught:
        await client.retrieve("v1")
    assert "could not say how the video stands (400): ********" in str(caught.value)
    assert KEY not in caplog.text


async def test_a_failed_job_s_record_holds_no_key(
    scripted: Script, disk: Ledger, tmp_path: Path
) -> None:
    job = {"id": "v1", "status": "failed", "error": {"message": f"no {KEY}", "code": KEY}}
    _, client = scripted(lambda *_: (200, {}, job), api_key=SecretStr(KEY))
    with pytest.raises(RenderFailedError) as caught:
        await render(clip(), client, disk, "tonight")
    records = [path.read_text() for path in tmp_path.rglob("*.json")]
    assert any("v1" in text for text in records)
    assert KEY not in f"{caught.value!r}{records}"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param({}, b'{"id": "' + b"v" * 20_000_000 + b'"}', id="endless"),
        pytest.param(GZIP, gzip.compress(b" " * 50_000_000), id="packed tightly"),
        pytest.param({"Content-Encoding": "gzip, gzip"}, gzip.compress(b"{}"), id="packed twice"),
        pytest.param({"Content-Encoding": "br"}, b"?", id="packed otherwise"),
        pytest.param(GZIP, gzip.compress(b'{"id": "v1"}')[:-4], id="packed and cut"),
        pytest.param(GZIP, b'{"id": "v1"}', id="not packed at all"),
    ],
)
async def test_an_answer_that_is_too_large_or_packed_otherwise_is_none(
    scripted: Script, headers: Mapping[str, str], body: bytes
) -> None:
    _, client = scripted(lambda *_: (200, {**JSON, **headers}, body))
    for call in (retrieve, page, create):
        with pytest.raises(UnavailableError):
            await call(client)


async def test_a_file_that_is_packed_otherwise_is_not_taken(scripted: Script) -> None:
    _, client = scripted(lambda *_: (200, {"Content-Encoding": "gzip, gzip"}, b"?"))
    with pytest.raises(UnavailableError, match="not asked for"):
        await content(client)


async def test_an_answer_that_was_packed_as_asked_for_is_read(scripted: Script) -> None:
    job = gzip.compress(json.dumps({"id": "v1", "status": "queued"}).encode())
    server, client = scripted(lambda *_: (200, {**JSON, **GZIP}, job))
    assert (await retrieve(client)).status == "queued"
    assert (await create(client)).id == "v1"
    assert {one.headers["accept-encoding"] for one in server.seen} == {"gzip"}


async def test_a_list_may_be_longer_than_an_answer_and_has_an_end_too(
    scripted: Script, limit: Limit
) -> None:
    limit(answer_max_bytes=1_000, list_max_bytes=100_000, list_max_jobs=50)
    jobs = [{"id": f"v{n}", "status": "queued"} for n in range(100)]
    server, client = scripted(lambda *_: (200, {}, {"data": jobs}))
    read = await client.list_page()
    assert (len(read.videos), read.is_whole) == (50, False)
    server.answer = lambda *_: (200, {}, {"data": jobs * 100})
    with pytest.raises(UnavailableError, match="no end"):
        await client.list_page()


@pytest.mark.parametrize("call", [retrieve, page, recognise], ids=lambda call: call.__name__)
@pytest.mark.parametrize(
    ("at_once", "slowly"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nX: ", bytes(9_999), id="headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", bytes(9_999), id="body"),
        pytest.param(b"HTTP/1.1 500 No\r\nContent-Length: 9999\r\n\r\n", bytes(9_999), id="error"),
    ],
)
async def test_whatever_trickles_has_an_end(
    dripping: Dripping, limit: Limit, call: Call, at_once: bytes, slowly: bytes
) -> None:
    limit(answer_seconds=0.3)
    client = await dripping(lambda _: (at_once, slowly.replace(b"\0", b"a")))
    with pytest.raises(UnavailableError, match=r"did not end within 0\.3 s"):
        await call(client)


@pytest.mark.parametrize("call", [retrieve, page, create])
@pytest.mark.parametrize("status", [200, 400, 429, 503])
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param({}, b'{"id": "v1", "status": %b}' % (b"[" * 10**5 + b"]" * 10**5), id="deep"),
        pytest.param({}, b'{"error": {"message": %b}}' % (b"[" * 900 + b"]" * 900), id="less deep"),
        pytest.param({}, b'{"id": "v1", "prompt": "kite \\ud83d", "error": "\\ud83d"}', id="half"),
        pytest.param({}, b'{"id": "v1", "progress": %b}' % (b"9" * 5000), id="long number"),
        pytest.param({}, b'{"id": "v1", "progress": NaN, "created_at": -Infinity}', id="no number"),
        pytest.param({"retry-after-ms": "\xb2"}, b"{}", id="superscript"),
        pytest.param({"retry-after-ms": "9" * 5000, "openai-poll-after-ms": "9" * 5000}, b"{}"),
        pytest.param({"Date": "Mon, 01 Jan 10000000000000000000 00:00:00 GMT"}, b'{"data": []}'),
        pytest.param({}, b'{"id": "%b", "data": [{}]}' % (b"v" * 200_000), id="long id"),
        pytest.param({}, b"\xff\xfe\x00", id="bytes"),
    ],
)
async def test_one_strange_answer_ends_in_a_job_or_a_typed_error(
    scripted: Script, call: Call, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    server, client = scripted(lambda *_: (status, {**JSON, **headers}, body))
    try:
        said = await call(client)
    except SoraError as error:
        said = error
    f"{said}".encode()  # it can be written down
    assert server.posts() == (1 if call is create else 0)


@pytest.mark.parametrize("said", ["model " * 600_000, "the model was " * 280_000, "{" * 4_000_000])
async def test_a_message_of_megabytes_is_cut_before_it_is_searched(
    scripted: Script, said: str
) -> None:
    body = {"error": {"message": said, "code": said}}
    _, client = scripted(lambda *_: (400, {}, json.dumps(body).encode()))
    with pytest.raises(SoraError) as caught:
        await create(client)
    assert len(str(caught.value)) < 1_000
    failed = {"id": "v1", "status": "failed", "error": {"message": said[:3_000_000]}}
    _, client = scripted(lambda *_: (200, {}, failed))
    video = await client.retrieve("v1")
    assert video.failure is not None
    assert len(video.failure.message) == 4_000


async def test_no_cookie_is_kept(scripted: Script) -> None:
    answer = {"id": "v1", "status": "queued", "data": []}
    server, client = scripted(lambda *_: (200, {"Set-Cookie": "a=b; Path=/"}, answer))
    for call in (create, retrieve, page, create, retrieve):
        await call(client)
    assert not any("cookie" in one.headers for one in server.seen)
    assert not [*client.http.cookies.jar]


@pytest.mark.parametrize("made_up", [".", "..", "", "v" * 2_000])
async def test_an_id_that_leads_to_another_path_is_not_asked_for(
    scripted: Script, made_up: str
) -> None:
    server, client = scripted(lambda *_: (200, {}, {}))
    for call in (client.retrieve, client.delete, client.character):
        with pytest.raises(InvalidRequestError, match="no id of a server"):
            await call(made_up)
    assert server.seen == []


async def test_an_id_with_a_slash_is_one_segment_of_the_path(scripted: Script) -> None:
    server, client = scripted(lambda *_: (200, {}, {"id": "a/../b?c#d", "status": "queued"}))
    await client.retrieve("a/../b?c#d")
    assert server.seen[0].path == "/v1/videos/a%2F..%2Fb%3Fc%23d"
