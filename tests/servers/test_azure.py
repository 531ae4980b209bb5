"""Azure: a key or a token of Entra ID, each in its header, and none anywhere else."""

import asyncio
import base64
import io
import json
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time
from typing import Any

import pytest
from PIL import Image
from pydantic import SecretStr

from prefect_sora import AzureOpenAICredentials
from prefect_sora.errors import (
    AuthenticationError,
    InvalidRequestError,
    RejectedError,
    RetiredModelError,
)
from prefect_sora.renders.finish.watcher import watcher_of
from prefect_sora.renders.images.prepare import identify as identify_picture
from prefect_sora.renders.images.submit import draw
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.renders.submit.prepare import identify
from prefect_sora.renders.submit.submit import submit
from prefect_sora.requests.image import ImageRequest
from prefect_sora.servers.access.tokens import ENTRA_SCOPE, TokenSource, entra_tokens
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.video_object import Video
from prefect_sora.servers.server import azure_server
from prefect_sora.store.ledger import Ledger
from tests.support.renderer import StartRenderer
from tests.support.renders import clip, render
from tests.support.scripted import Scripted

KEY = "azure-key-0123456789"


class Identity:
    """A managed identity's endpoint, as App Service gives it to azure-identity.

    `IDENTITY_ENDPOINT` and its header: Microsoft Learn, "How to use managed identities for
    App Service" (2026).
    """

    def __init__(self) -> None:
        self.lives_seconds = 3600.0
        self.given: list[str] = []
        self.scopes: set[str] = set()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                endpoint.scopes.add(self.path.partition("resource=")[2].partition("&")[0])
                endpoint.given.append(f"token-{len(endpoint.given) + 1}")
                body = json.dumps(
                    {
                        "access_token": endpoint.given[-1],
                        "expires_on": str(int(time() + endpoint.lives_seconds)),
                        "resource": "https://cognitiveservices.azure.com",
                        "token_type": "Bearer",
                    }
                ).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> Iterator[Identity]:
    """A machine with a managed identity; azure-identity itself asks it."""
    made = Identity()
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{made.http.server_port}/token")
    monkeypatch.setenv("IDENTITY_HEADER", "header")
    entra_tokens.cache_clear()
    yield made
    entra_tokens.cache_clear()
    made.http.shutdown()
    made.http.server_close()


class Guarded:
    """A deployment that takes one bearer token at a time, and keeps one job."""

    def __init__(self) -> None:
        self.takes = "token-1"
        self.status = "queued"
        self.pictures: list[dict[str, str]] = []

    def server(self) -> Scripted:
        """Start it."""
        made = Scripted(lambda *_: (200, {}, {}))

        def answer(method: str, path: str, body: bytes) -> Any:
            asked = made.seen[-1].headers
            if asked.get("authorization") != f"Bearer {self.takes}" or "api-key" in asked:
                refused = {"error": {"code": "Unauthorized", "message": "Access denied"}}
                return 401, {}, refused
            if "/images/" in path:
                return 200, {}, {"data": self.pictures}
            job = {"id": "video_1", "status": self.status, "created_at": int(time())}
            return 200, {}, {**job, "prompt": "a kite"} if method == "GET" else job

        made.answer = answer
        return made


def tiny_picture() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (64, 48), "orange").save(data, "PNG")
    return data.getvalue()


@pytest.fixture
async def guarded() -> AsyncIterator[tuple[Guarded, Scripted]]:
    made = Guarded()
    server = made.server()
    yield made, server
    server.stop()


@pytest.mark.slow
async def test_a_key_goes_in_its_own_header_and_the_deployment_in_the_models_place(
    start_renderer: StartRenderer, disk: Ledger
) -> None:
    renderer = start_renderer(dialect="azure", api_key=KEY)
    block = AzureOpenAICredentials(
        endpoint=f"{renderer.root}/openai/v1?api-version=preview",
        deployment="sora-2",
        api_key=SecretStr(KEY),
    )
    client = VideoClient(await block.get_server())
    video = await render(
        clip(size="1280x720", seconds=4, model="sora-2"), client, disk, "t",
        poll_interval_seconds=0.05,
    )  # fmt: skip
    await client.close()
    assert (video.width, video.height) == (1280, 720)


@pytest.mark.parametrize(
    ("endpoint", "base_url", "query"),
    [
        ("https://r.openai.azure.com", "https://r.openai.azure.com/openai/v1", ()),
        ("https://r.openai.azure.com/", "https://r.openai.azure.com/openai/v1", ()),
        ("https://r.openai.azure.com/openai/v1/", "https://r.openai.azure.com/openai/v1", ()),
        (
            "https://r.openai.azure.com/openai/v1?api-version=preview",
            "https://r.openai.azure.com/openai/v1",
            (("api-version", "preview"),),
        ),
        (
            "https://gateway.example/team/openai?api-version=2026-01-01",
            "https://gateway.example/team/openai/v1",
            (("api-version", "2026-01-01"),),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "http" in value else "",
)
def test_every_form_of_an_endpoint_is_taken(endpoint: str, base_url: str, query: Any) -> None:
    server = azure_server(endpoint)
    assert (server.base_url, server.query) == (base_url, query)


async def test_a_token_of_this_machines_identity_is_sent_as_a_bearer(
    identity: Identity, guarded: tuple[Guarded, Scripted]
) -> None:
    _, server = guarded
    block = AzureOpenAICredentials(endpoint=server.root, deployment="d", entra_id=True)
    client = VideoClient(await block.get_server())
    assert (await client.retrieve("video_1")).status == "queued"
    await client.retrieve("video_1")
    await client.close()
    assert identity.given == ["token-1"]
    assert identity.scopes == {"https://cognitiveservices.azure.com"}
    assert ENTRA_SCOPE == "https://cognitiveservices.azure.com/.default"


async def test_a_token_that_is_refused_in_the_middle_of_a_wait_is_fetched_anew(
    identity: Identity, guarded: tuple[Guarded, Scripted]
) -> None:
    deployment, server = guarded
    block = AzureOpenAICredentials(endpoint=server.root, deployment="d", entra_id=True)
    client = VideoClient(await block.get_server())

    def revoked_and_done(video: Video) -> None:
        deployment.takes, deployment.status = "token-2", "completed"

    video = await watcher_of(client).wait(
        "video_1", poll_interval_seconds=0.05, on_progress=revoked_and_done
    )
    await client.close()
    assert (video.status, identity.given) == ("completed", ["token-1", "token-2"])


@pytest.mark.parametrize("what", ["a video", "a picture"])
async def test_a_token_that_is_refused_when_it_pays_is_fetched_anew(
    identity: Identity, guarded: tuple[Guarded, Scripted], disk: Ledger, what: str
) -> None:
    deployment, server = guarded
    deployment.takes = "token-2"
    block = AzureOpenAICredentials(
        endpoint=server.root, deployment="d", image_deployment="d", entra_id=True
    )
    client = VideoClient(await block.get_server())
    if what == "a video":
        prepared = await identify(clip(), client, "tonight")
        await submit(prepared, client, disk, RenderOptions("tonight"))
    else:
        coded = base64.b64encode(tiny_picture()).decode()
        deployment.pictures = [{"b64_json": coded}]
        request = ImageRequest.of(prompt="a paper lantern", model=None, size="64x48")
        picture = await identify_picture(request, client.server, "tonight")
        await draw(picture, client, disk, RenderOptions("tonight"))
    await client.close()
    sent = [one.headers["authorization"] for one in server.asked("POST")]
    assert sent == ["Bearer token-1", "Bearer token-2"]
    assert identity.given == ["token-1", "token-2"]


async def test_a_token_is_fetched_anew_before_it_ends_and_once_for_all_who_ask() -> None:
    class Access:
        def __init__(self, number: int, lives: float) -> None:
            self.token, self.expires_on = f"token-{number}", int(time() + lives)

    given: list[Access] = []

    def fetch() -> Access:
        given.append(Access(len(given) + 1, 60 if not given else 3600))
        return given[-1]

    tokens = TokenSource(lambda: fetch)
    assert {await tokens.get()} == {"token-1"}  # good for a minute: too short for a request
    assert set(await asyncio.gather(*(tokens.get() for _ in range(50)))) == {"token-2"}
    assert len(given) == 2


async def test_where_no_identity_is_found_it_is_said_without_what_was_tried() -> None:
    def fetch() -> Any:
        raise RuntimeError("secret-of-the-chain")

    with pytest.raises(AuthenticationError, match="No Entra ID token") as caught:
        await TokenSource(lambda: fetch).get()
    assert "secret-of-the-chain" not in repr(caught.value)
    assert "az login" in str(caught.value)


async def test_a_token_stands_in_no_error(
    identity: Identity, guarded: tuple[Guarded, Scripted]
) -> None:
    _, server = guarded
    said = {"error": {"message": "no such token-1 here"}}
    server.answer = lambda *_: (400, {}, said)
    block = AzureOpenAICredentials(endpoint=server.root, deployment="d", entra_id=True)
    client = VideoClient(await block.get_server())
    with pytest.raises(RejectedError) as caught:
        await client.retrieve("video_1")
    await client.close()
    assert "token-1" not in str(caught.value)


async def test_a_key_and_a_token_are_not_both_given() -> None:
    block = AzureOpenAICredentials(
        endpoint="https://r.openai.azure.com", api_key=SecretStr(KEY), entra_id=True
    )
    with pytest.raises(InvalidRequestError, match="Both"):
        await block.get_server()


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (
            404,
            {
                "message": "The API deployment 'd' for this resource does not exist.",
                "type": "video_generation_user_error",
            },
            RejectedError,
        ),
        (404, {"code": "DeploymentNotFound", "message": "Not here."}, RejectedError),
        (410, {"code": "ModelDeprecated", "message": "It is gone."}, RetiredModelError),
    ],
    ids=["a wrong deployment", "the same in older words", "a retired model"],
)
async def test_a_wrong_deployment_is_told_from_a_retired_model(
    guarded: tuple[Guarded, Scripted], status: int, error: dict[str, str], kind: type[Exception]
) -> None:
    _, server = guarded
    server.answer = lambda *_: (status, {}, {"error": error})
    client = VideoClient(azure_server(server.root, deployment="d", api_key=SecretStr(KEY)))
    with pytest.raises(kind, match=error["message"]) as caught:
        await client.submit(clip(), None, "key")
    await client.close()
    assert "deployment" in str(caught.value) or kind is RetiredModelError
