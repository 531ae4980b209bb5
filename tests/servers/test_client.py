"""Client: what goes over the wire, and where credentials do not go."""

import contextlib
import json
import pickle
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr

from prefect_sora.errors import (
    AuthenticationError,
    InvalidRequestError,
    RejectedError,
    UnavailableError,
    VideoNotFoundError,
)
from prefect_sora.requests.reference import Reference
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.access.addresses import clean_url
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.connections import connect
from prefect_sora.servers.server import remote
from tests.support.limits import Limit

KITE = VideoRequest(prompt="a kite", size="64x64", seconds=4)
KEY = SecretStr("sk-canary")


@dataclass
class Echo:
    """An independent server: answers as told, and remembers what it was asked."""

    url: str = ""
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    drips: bool = False

    def answer(self, path: str, body: Any, status: int = 200, **headers: str) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[path] = (status, {"content-type": "application/json", **named}, raw)


def start() -> tuple[Echo, ThreadingHTTPServer]:
    echo = Echo()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            echo.asked.append((self.command, self.path, headers, self.rfile.read(length)))
            status, given, body = echo.answers.get(
                self.path.partition("?")[0], (404, {"content-type": "application/json"}, b"{}")
            )
            self.send_response(status)
            for name, value in {**given, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if not echo.drips:
                self.wfile.write(body)
                return
            with contextlib.suppress(OSError):  # who asked has gone
                for at in range(len(body)):
                    self.wfile.write(body[at : at + 1])
                    threading.Event().wait(0.02)

        do_POST = do_GET  # noqa: N815 - http.server's name
        do_DELETE = do_GET  # noqa: N815 - http.server's name

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    echo.url = f"http://127.0.0.1:{server.server_port}"
    return echo, server


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo, server = start()
    yield echo
    server.shutdown()
    server.server_close()


async def read(client: VideoClient) -> bytes:
    """Read a video to its end."""
    async with client.content("v") as content:
        return b"".join([chunk async for chunk in content.chunks])


async def ask(client: VideoClient, call: str) -> None:
    """Make one of the client's calls by its name."""
    if call == "content":
        async with client.content("v"):
            return
    calls: dict[str, Any] = {
        "submit": lambda: client.submit(KITE, None, "k"),
        "retrieve": lambda: client.retrieve("v"),
        "delete": lambda: client.delete("v"),
        "list_page": client.list_page,
        "models": client.models,
    }
    await calls[call]()


async def test_a_request_without_a_file_is_json_with_seconds_as_text(echo: Echo) -> None:
    echo.answer("/v1/videos", {"id": "video_1", "status": "queued"})
    video = await connect(remote(f"{echo.url}/v1", api_key=KEY)).submit(
        KITE.model_copy(update={"extra": {"seed": 7, "nothing": None}}), None, "key-1"
    )
    (method, path, headers, body) = echo.asked[0]
    assert (method, path, video.id) == ("POST", "/v1/videos", "video_1")
    assert json.loads(body) == {
        "prompt": "a kite",
        "model": "sora-2",
        "size": "64x64",
        "seconds": "4",
        "seed": 7,
    }
    assert headers["authorization"] == "Bearer sk-canary"
    assert headers["idempotency-key"] == "key-1"
    assert headers["x-litellm-num-retries"] == "0", "a proxy must not repeat it by itself"


async def test_a_reference_goes_as_a_file_and_nested_extras_as_json_text(echo: Echo) -> None:
    echo.answer("/v1/videos", {"id": "video_1"})
    reference = Reference(b"\x89PNG", "image/png", "reference.png", "00")
    request = KITE.model_copy(update={"model": None, "extra": {"extra_params": {"cfg": 5}}})
    await connect(remote(f"{echo.url}/v1")).submit(request, reference, "key-1")
    _, _, headers, body = echo.asked[0]
    assert headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="input_reference"; filename="reference.png"\r\n' in body
    assert b'name="extra_params"\r\n\r\n{"cfg": 5}\r\n' in body
    assert b'name="model"' not in body
    assert "authorization" not in headers


async def test_azure_has_its_own_header_version_and_name_for_the_model(echo: Echo) -> None:
    echo.answer("/openai/v1/videos", {"id": "video_1"})
    server = remote(
        f"{echo.url}/openai/v1",
        api_key=KEY,
        auth="api-key",
        query=(("api-version", "preview"),),
        deployment="my-sora",
    )
    await connect(server).submit(KITE, None, "key-1")
    _, path, headers, body = echo.asked[0]
    assert path == "/openai/v1/videos?api-version=preview"
    assert headers["api-key"] == "sk-canary"
    assert "authorization" not in headers
    assert json.loads(body)["model"] == "my-sora"


async def test_an_account_in_the_environment_is_not_told_to_other_servers(
    echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "canary-from-the-environment")
    echo.answer("/v1/videos/video_1", {"id": "video_1"})
    await connect(remote(f"{echo.url}/v1")).retrieve("video_1")
    assert "canary" not in str(echo.asked)


async def test_the_id_is_one_path_segment_whatever_it_holds(echo: Echo) -> None:
    echo.answer("/v1/videos/video_a%2F..%3D%3D", {"id": "x"})
    await connect(remote(f"{echo.url}/v1")).retrieve("video_a/..==")
    assert echo.asked[0][1] == "/v1/videos/video_a%2F..%3D%3D"


@pytest.mark.parametrize("status", [500, 422])
async def test_a_failed_job_answered_with_an_error_status_is_a_job(echo: Echo, status: int) -> None:
    job = {"id": "v", "object": "video", "status": "failed", "error": {"message": "x", "code": 500}}
    echo.answer("/v1/videos/v", job, status)
    video = await connect(remote(f"{echo.url}/v1")).retrieve("v")
    assert video.status == "failed"
    assert video.failure is not None
    assert video.failure.code == "500"


@pytest.mark.parametrize(
    ("path", "answer", "error"),
    [
        ("retrieve", ({"detail": "no such job"}, 404, {}), VideoNotFoundError),
        ("retrieve", (b"<html>", 200, {"content_type": "text/html"}), UnavailableError),
        ("retrieve", (b"half a json {", 200, {}), UnavailableError),
        ("retrieve", ({"error": "Unauthorized"}, 401, {}), AuthenticationError),
        ("retrieve", ({}, 302, {"location": "http://127.0.0.1:9/login"}), RejectedError),
        ("list", ({"object": "other"}, 200, {}), UnavailableError),
        ("list", (b"<html>", 200, {"content_type": "text/html; charset=utf-8"}), UnavailableError),
        ("list", ({"detail": "Method Not Allowed"}, 405, {}), RejectedError),
    ],
    ids=[
        "unknown",
        "a page",
        "half",
        "a string",
        "a login",
        "no list",
        "a page for a list",
        "no such verb",
    ],
)
async def test_what_is_no_job_is_a_typed_error(
    echo: Echo, path: str, answer: Any, error: type[Exception]
) -> None:
    body, status, headers = answer
    echo.answer("/v1/videos/v" if path == "retrieve" else "/v1/videos", body, status, **headers)
    client = connect(remote(f"{echo.url}/v1", api_key=KEY))
    with pytest.raises(error) as caught:
        await (client.retrieve("v") if path == "retrieve" else client.list_page())
    assert "canary" not in f"{caught.value!r} {caught.value}"
    assert len(echo.asked) == 1, "and nothing is asked twice"


async def test_a_key_that_the_server_repeats_is_not_repeated(echo: Echo) -> None:
    echo.answer("/v1/videos/v", {"error": {"message": "Wrong key: sk-canary."}}, 401)
    with pytest.raises(AuthenticationError, match=r"Wrong key: \*{8}\.") as caught:
        await connect(remote(f"{echo.url}/v1", api_key=KEY)).retrieve("v")
    assert "canary" not in str(caught.value)


PAGE: Any = {"content_type": "text/html"}


async def test_pages_in_place_of_all_answers_are_a_wrong_address_and_nothing_was_paid(
    echo: Echo,
) -> None:
    for path in ("/v1/videos", "/v1/models"):
        echo.answer(path, b"<html>", **PAGE)
    with pytest.raises(RejectedError, match="text/html") as caught:
        await connect(remote(f"{echo.url}/v1")).submit(KITE, None, "k")
    assert (caught.value.paid, caught.value.retryable) == ("no", False)


@pytest.mark.parametrize("status", [302, 303])
@pytest.mark.parametrize("elsewhere", ["/login", "/v1/videos/video_1"])
async def test_a_redirect_of_a_create_is_a_login_only_where_nothing_answers_as_an_api(
    echo: Echo, status: int, elsewhere: str
) -> None:
    echo.answer("/v1/videos", b"", status, **PAGE, location=elsewhere)
    with pytest.raises(UnavailableError) as caught:  # /v1/models answers 404 with JSON
        await connect(remote(f"{echo.url}/v1")).submit(KITE, None, "k")
    assert not caught.value.never_sent
    echo.answer("/v1/models", b"", status, **PAGE, location=elsewhere)
    client = VideoClient(remote(f"{echo.url}/v1"))
    with pytest.raises(RejectedError, match="address leads elsewhere"):
        await client.submit(KITE, None, "k")
    await client.close()


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"path": "/v1/videos", "body": {"data": []}}, id="a list"),
        pytest.param({"path": "/v1/models", "body": {"detail": "Not Found"}}, id="a refusal"),
        pytest.param({"path": "/v1/models", "body": b"<html>", "status": 502}, id="an outage"),
    ],
)
async def test_a_page_in_place_of_a_new_job_alone_leaves_unknown_what_was_paid(
    echo: Echo, other: dict[str, Any]
) -> None:
    client = VideoClient(remote(f"{echo.url}/v1"))
    if other["path"] == "/v1/videos":  # it answered before as an API
        echo.answer(**other)
        await client.list_page()
    else:
        echo.answer(**other, **(PAGE if "status" in other else {}))
    echo.answer("/v1/videos", b"<html>", **PAGE)
    with pytest.raises(UnavailableError, match="text/html") as caught:
        await client.submit(KITE, None, "k")
    assert (caught.value.never_sent, caught.value.ended) == (False, False)
    await client.close()


@pytest.mark.parametrize("auth", ["bearer", "api-key"])
async def test_a_redirected_download_takes_no_credentials_along_and_logs_no_signature(
    echo: Echo, auth: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    other, server = start()
    other.answer("/file.mp4", b"12345", content_type="video/mp4")
    echo.answer("/v1/videos/v/content", {}, 302, location=f"{other.url}/file.mp4?sig=canary")
    client = VideoClient(remote(f"{echo.url}/v1", api_key=KEY, auth=auth))
    async with client.content("v") as content:
        assert b"".join([chunk async for chunk in content.chunks]) == b"12345"
        assert content.expected_bytes == 5
    assert "sk-canary" in str(echo.asked)
    assert "sk-canary" not in str(other.asked)
    assert "canary" not in caplog.text
    await client.close()
    server.shutdown()
    server.server_close()


async def test_a_download_says_which_account_asks(echo: Echo) -> None:
    echo.answer("/v1/videos/v/content", b"12345", content_type="video/mp4")
    await read(connect(remote(f"{echo.url}/v1", api_key=KEY, organization="org-1", project="p-1")))
    headers = echo.asked[0][2]
    assert (headers["openai-organization"], headers["openai-project"]) == ("org-1", "p-1")


async def test_a_redirect_is_read_from_the_address_that_gave_it(echo: Echo) -> None:
    echo.answer("/v1/videos/v/content", {}, 302, location="file.mp4?sig=%7e")
    echo.answer("/v1/videos/v/file.mp4", b"12345", content_type="video/mp4")
    assert await read(connect(remote(f"{echo.url}/v1"))) == b"12345"
    assert echo.asked[-1][1].endswith("/file.mp4?sig=%7e"), "a signature, letter by letter"


@pytest.mark.parametrize(
    "location", ["http://[canary", "http://host:99999/canary", "ftp://host/canary"]
)
async def test_a_redirect_to_no_address_may_be_mended(echo: Echo, location: str) -> None:
    echo.answer("/v1/videos/v/content", {}, 302, location=location)
    with pytest.raises(UnavailableError, match="names no address") as caught:
        await read(connect(remote(f"{echo.url}/v1")))
    assert "canary" not in "".join(traceback.format_exception(caught.value))


async def test_a_body_that_drips_is_given_up(echo: Echo, limit: Limit) -> None:
    limit(chunk_seconds=0.2)
    echo.answer("/v1/videos/v/content", bytes(1000), content_type="video/mp4")
    echo.drips = True
    with pytest.raises(UnavailableError, match=r"less than 64 KiB of the file in 0\.2 s"):
        await read(connect(remote(f"{echo.url}/v1")))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "not an http"),
        ("ftp://host/v1", "not an http"),
        ("localhost:8000/v1", "not an http"),
        ("http://host:99999/v1", "not an http"),
        ("https://user:sk-canary@host/v1", "carries credentials"),
    ],
)
def test_a_base_url_that_cannot_be_one_is_refused(url: str, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said) as caught:
        remote(url)
    assert "canary" not in str(caught.value)


def test_a_base_url_is_the_same_with_and_without_its_slash() -> None:
    assert remote("http://Host:80/v1/").identity == remote("http://host:80/v1").identity
    assert clean_url("https://h/openai/v1/?api-version=preview") == (
        "https://h/openai/v1",
        (("api-version", "preview"),),
    )


def test_a_key_loses_the_blanks_that_copying_it_brought() -> None:
    key = remote("http://host/v1", api_key=SecretStr(" sk-canary\n")).api_key
    assert key is not None
    assert key.get_secret_value() == "sk-canary"
    assert remote("http://host/v1", api_key=SecretStr(" \n")).api_key is None


@pytest.mark.parametrize(
    "key", ["sk-canary\nsecond", "sk-canary-\u043a", "sk-canary\x00", "sk\u2019"]
)
def test_a_key_that_no_header_carries_is_refused_before_anything_is_sent(
    key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with pytest.raises(InvalidRequestError, match="api_key") as caught:
        remote("http://host/v1", api_key=SecretStr(key))
    assert caught.value.paid == "no"
    assert b"canary" not in pickle.dumps(caught.value)
    assert "canary" not in "".join(traceback.format_exception(caught.value)) + caplog.text
    with pytest.raises(InvalidRequestError, match="organization"):
        remote("http://host/v1", organization=key)


async def test_what_is_no_http_was_never_sent_and_is_not_quoted(echo: Echo) -> None:
    unsendable = "\n".join(["can" + "ary", "second"])  # for a traceback shows this line
    with pytest.raises(UnavailableError, match="LocalProtocolError") as caught:
        await connect(remote(f"{echo.url}/v1", api_key=KEY)).submit(KITE, None, unsendable)
    assert caught.value.never_sent
    assert echo.asked == []
    assert b"canary" not in pickle.dumps(caught.value)
    assert "canary" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("call", ["retrieve", "list_page", "submit", "content", "delete"])
async def test_a_key_in_the_query_is_sent_and_shown_nowhere(
    echo: Echo, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    caplog.set_level("DEBUG")
    refusal = {"error": {"message": "Wrong key: gw-canary."}}
    for path in ("", "/v", "/v/content"):
        echo.answer(f"/v1/videos{path}", refusal, 401)
    server = remote(f"{echo.url}/v1?key=gw-canary")
    with pytest.raises(AuthenticationError) as caught:
        await ask(connect(server), call)
    assert "key=gw-canary" in echo.asked[0][1]
    assert "canary" not in "".join(traceback.format_exception(caught.value))
    assert "canary" not in f"{server!r} {caplog.text}"


async def test_one_client_serves_one_server() -> None:
    first = connect(remote("http://127.0.0.1:9/v1", api_key=KEY))
    assert connect(remote("http://127.0.0.1:9/v1/", api_key=KEY)) is first
    assert connect(remote("http://127.0.0.1:9/v1", api_key=SecretStr("other"))) is not first


@pytest.mark.parametrize("call", ["retrieve", "list_page", "models", "submit", "content", "delete"])
async def test_no_call_leaves_a_repeated_key_in_a_traceback(echo: Echo, call: str) -> None:
    for path in ("", "/v", "/v/content"):
        echo.answer(f"/v1/videos{path}", {"error": {"message": "Wrong key: sk-canary."}}, 401)
    echo.answer("/v1/models", {"error": {"message": "Wrong key: sk-canary."}}, 401)
    client = connect(remote(f"{echo.url}/v1", api_key=KEY))

    with pytest.raises(AuthenticationError) as caught:
        await ask(client, call)
    assert "canary" not in "".join(traceback.format_exception(caught.value))
