"""Recognise: what a server is, by at most three harmless questions; or a clear word why not."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from prefect_sora import OpenAICredentials
from prefect_sora.errors import (
    AuthenticationError,
    InvalidRequestError,
    RejectedError,
    SoraError,
    UnavailableError,
)
from prefect_sora.servers.profiles import AUTO, GENERIC, PROFILES, read_profile
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.connections import connect
from prefect_sora.servers.protocol.detect import profile_of, recognise, recognised
from prefect_sora.servers.request_checks import check
from prefect_sora.servers.server import remote
from tests.support.renderer import Renderer, StartRenderer
from tests.support.renders import clip
from tests.support.scripted import Script

SECRET = SecretStr("secret-key")
JSON = {"content-type": "application/json"}
LANGUAGE = {"object": "list", "data": [{"id": "qwen", "owned_by": "sglang"}]}
NOT_FOUND = {"detail": "Not Found"}


NO_METHOD = {"detail": "Method Not Allowed"}
PAGE = (404, {"content-type": "text/html"}, b"Cannot GET /v1/models")


@pytest.mark.parametrize(
    ("models", "jobs"),
    [
        ((404, JSON, NOT_FOUND), (404, JSON, NOT_FOUND)),
        ((404, JSON, NOT_FOUND), (405, JSON, NO_METHOD)),
        (PAGE, PAGE),
        ((403, JSON, {}), (404, JSON, {"error": {"message": "no such page"}})),
        ((501, JSON, {}), (501, JSON, {})),
    ],
    ids=["without either", "creates alone", "pages", "a key for creates alone", "not implemented"],
)
async def test_a_server_that_tells_nothing_is_generic_and_told_how_to_be_named(
    scripted: Script, caplog: pytest.LogCaptureFixture, models: Any, jobs: Any
) -> None:
    server, _ = scripted(lambda method, path, body: models if "/models" in path else jobs)
    for _ in range(2):
        block = OpenAICredentials(base_url=server.base_url)
        assert (await block.get_server()).profile == GENERIC
    assert server.posts() == 0
    told = [one.getMessage() for one in caplog.records if server.base_url in one.getMessage()]
    assert len(told) == 1
    assert all(word in told[0] for word in ("generic", "--profile", "PREFECT_SORA_PROFILE"))


async def test_a_server_of_creates_that_answer_at_the_end_is_recognised_and_refused(
    scripted: Script,
) -> None:
    owned = {"object": "list", "data": [{"id": "wan", "object": "object", "owned_by": "nvidia"}]}

    def answer(method: str, path: str, body: bytes) -> Any:
        return (200, JSON, owned) if "/models" in path else (405, {"allow": "POST"}, b"")

    server, client = scripted(answer, AUTO)
    found = await recognised(client.server)
    assert found.profile.sync_create
    with pytest.raises(InvalidRequestError, match="no jobs") as caught:
        check(clip(), found)
    assert (caught.value.paid, server.posts()) == ("no", 0)


async def test_an_address_that_lacks_its_end_is_told_with_it(scripted: Script) -> None:
    def answer(method: str, path: str, body: bytes) -> Any:
        return (200, JSON, {"data": []}) if path == "/v1/models" else (404, JSON, NOT_FOUND)

    server, _ = scripted(answer)
    client = VideoClient(remote(server.root, profile=AUTO))
    with pytest.raises(RejectedError, match=f"{server.root}/v1 answers") as caught:
        await recognise(client)
    await client.close()
    assert f"Write {server.root}/v1." in str(caught.value)
    assert server.posts() == 0


@pytest.mark.parametrize(
    "dialect",
    ["sglang", "vllm-omni", "fastvideo", "tensorrt-llm", "litellm", "new-api", "azure", "openai"],
)
async def test_each_server_is_known_by_its_answers_and_nothing_is_made(
    start_renderer: StartRenderer, dialect: str
) -> None:
    renderer = start_renderer(dialect=dialect, api_key="secret-key")
    path = "/openai/v1" if dialect == "azure" else "/v1"
    client = VideoClient(remote(f"{renderer.root}{path}", api_key=SECRET, profile=AUTO))
    found = await recognise(client)
    await client.close()
    expected = {"litellm": "litellm-proxy", "openai": "local"}.get(dialect, dialect)
    assert found.profile == PROFILES[expected]
    assert len(renderer.requests()) <= 3
    assert renderer.accepted() == 0


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://mine.openai.azure.com/openai/v1", "azure"),
    ],
)
async def test_a_service_is_known_by_its_address_and_asked_nothing(url: str, name: str) -> None:
    client = VideoClient(remote(url, profile=AUTO))
    assert (await recognise(client)).profile.name == name
    await client.close()


async def test_what_is_known_of_nobody_is_generic(scripted: Script) -> None:
    empty = {"object": "list", "data": []}
    _, client = scripted(lambda *_: (200, JSON, empty), AUTO)
    assert (await recognise(client)).profile == GENERIC


@pytest.mark.parametrize(
    ("models", "jobs", "error", "said"),
    [
        ((401, JSON, {"error": "Unauthorized"}), None, AuthenticationError, "401"),
        (
            (400, JSON, {"error": {"message": "No connected db.", "type": "no_db_connection"}}),
            None,
            AuthenticationError,
            "No connected db",
        ),
        ((503, JSON, {}), None, UnavailableError, "503"),
        (
            (200, {"content-type": "text/html"}, b"<html>Sign in</html>"),
            None,
            RejectedError,
            "answers with a page",
        ),
        ((302, {"location": "/login"}, b""), None, RejectedError, "answers with a page"),
        ((200, JSON, LANGUAGE), (404, JSON, NOT_FOUND), RejectedError, "serves no videos"),
        ((403, JSON, {}), (403, JSON, {}), AuthenticationError, "403"),
        (None, None, UnavailableError, "broke the connection"),
    ],
    ids=[
        "a key that does not work",
        "a wrong key at LiteLLM",
        "an outage",
        "a login page",
        "a way to a login page",
        "a server of language models",
        "a key that may do nothing",
        "it hangs up",
    ],
)
async def test_what_is_no_video_server_is_told(
    scripted: Script, models: Any, jobs: Any, error: type[SoraError], said: str
) -> None:
    def answer(method: str, path: str, body: bytes) -> Any:
        assert method == "GET"
        return models if "/models" in path else jobs

    _, client = scripted(answer, AUTO)
    with pytest.raises(error, match=said):
        await recognise(client)


async def test_a_block_asks_once_in_a_process(start_renderer: StartRenderer) -> None:
    renderer = start_renderer(dialect="fastvideo")
    for _ in range(3):
        block = OpenAICredentials(base_url=renderer.base_url)
        assert (await block.get_server()).profile.name == "fastvideo"
    assert len(renderer.requests()) <= 3


async def test_a_named_profile_is_taken_at_its_word(renderer: Renderer) -> None:
    block = OpenAICredentials(base_url=renderer.base_url, profile="sglang")
    assert (await block.get_server()).profile == PROFILES["sglang"]
    assert renderer.requests() == []


@pytest.mark.parametrize("as_file", [False, True], ids=["in the block", "in a file"])
async def test_a_profile_of_ones_own_says_what_differs(tmp_path: Path, as_file: bool) -> None:
    own: Any = {"base": "sglang", "name": "our farm", "can_list": False}
    if as_file:
        (tmp_path / "farm.yaml").write_text("base: sglang\nname: our farm\ncan_list: false\n")
        own = str(tmp_path / "farm.yaml")
    block = OpenAICredentials(base_url="http://127.0.0.1:9/v1", profile=own)
    profile = (await block.get_server()).profile
    sglang = PROFILES["sglang"]
    assert profile == sglang.model_copy(update={"name": "our farm", "can_list": False})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("sg-lang", "no profile 'sg-lang': there are openai"),
        ({"can_lists": True}, r"can_lists is an unknown field: did you mean can_list\?"),
        ({"can_list": "maybe"}, "can_list must be true or false, not 'maybe'"),
        ({"submit_grace_s": -1}, "submit_grace_s must be 0 or more, not -1"),
        ({"derives": ["remake"]}, "derives"),
        ({"base": "nobody"}, "no profile 'nobody'"),
        ("nowhere.yaml", "does not exist"),
    ],
    ids=[
        "a wrong name",
        "an unknown field",
        "no truth",
        "too few",
        "an unknown verb",
        "an unknown base",
        "no file",
    ],
)
async def test_a_profile_that_is_none_is_refused_with_what_there_is(given: Any, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        await profile_of(given)


def test_every_profile_can_be_written_down_and_read_again() -> None:
    for profile in PROFILES.values():
        fields = profile.model_dump(mode="json")
        assert read_profile({"base": "generic", **fields}) == profile


@pytest.mark.parametrize(
    ("base_url", "key", "warns"),
    [
        ("http://gpu-box:30010/v1", SECRET, True),
        ("http://gpu-box:30010/v1", None, False),
        ("http://127.0.0.1:30010/v1", SECRET, False),
        ("http://localhost:30010/v1", SECRET, False),
        ("https://gpu-box/v1", SECRET, False),
    ],
    ids=["to another machine", "without a key", "on this machine", "by its name", "encrypted"],
)
async def test_a_key_that_travels_unencrypted_is_warned_of(
    caplog: pytest.LogCaptureFixture, base_url: str, key: SecretStr | None, warns: bool
) -> None:
    client = connect(remote(base_url, api_key=key))
    await client.close()
    assert ("travels unencrypted" in caplog.text) == warns


async def test_a_servers_own_words_for_a_status_are_read_as_its_profile_says(
    scripted: Script,
) -> None:
    own = read_profile({"base": "generic", "statuses": {"Baked": "completed", "Burnt": "failed"}})
    job = {"id": "video_1", "status": "Baked"}

    def answer(method: str, path: str, body: bytes) -> Any:
        return 200, JSON, {"data": [{**job, "status": "Burnt"}]} if "?" in path else job

    _, client = scripted(answer, own)
    assert (await client.retrieve("video_1")).status == "completed"
    assert [video.status for video in (await client.list_page()).videos] == ["failed"]

    _, strange = scripted(answer)
    assert (await strange.retrieve("video_1")).status == "unknown"
