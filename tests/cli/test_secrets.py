"""Secrets: a key is shown nowhere, whatever a server does with it."""

import json
import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from threading import Thread

import httpx2
import pytest

from prefect_sora.cli import exits, redaction
from prefect_sora.cli.run import chosen
from tests.cli.conftest import TINY, Cli
from tests.support.renderer import Renderer

CANARY = "sk-secret-canary"


class Echo(BaseHTTPRequestHandler):
    """Refuses each request and repeats the key that came with it."""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        said = f"Incorrect API key provided: {self.headers.get('authorization')}"
        body = json.dumps({"error": {"message": said, "code": "invalid_api_key"}}).encode()
        self.send_response(401)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815 - the names that http.server looks for

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[str]:
    """A server that gives keys away."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_refused_key_appears_in_no_output_and_in_no_log_of_prefect(
    cli: Cli, echo: str, prefect_api: str, store: str
) -> None:
    ended = cli(
        *("render", "a canary in a cage", *TINY, "--store", store, "--debug"),
        OPENAI_BASE_URL=echo,
        OPENAI_API_KEY=CANARY,
        PREFECT_API_URL=prefect_api,
        PREFECT_SORA_PROFILE="openai",
    )

    assert ended.code == 3
    assert "refused the key (401)" in ended.err
    assert "Traceback" in ended.err
    assert CANARY not in ended.out + ended.err
    newest = {"limit": 200, "sort": "TIMESTAMP_DESC"}
    logs = httpx2.post(f"{prefect_api}/logs/filter", json=newest).text
    assert "Incorrect API key provided" in logs
    assert CANARY not in logs


def test_the_key_stands_in_no_record(cli: Cli, echo: str, prefect_api: str, store: str) -> None:
    ended = cli(
        *("render", "a canary in a cage", *TINY, "--store", store),
        OPENAI_BASE_URL=echo,
        OPENAI_API_KEY=CANARY,
        PREFECT_API_URL=prefect_api,
        PREFECT_SORA_PROFILE="openai",
    )

    assert ended.code == 3
    records = [path.read_text() for path in Path(store).rglob("*.json")]
    assert any('"account"' in text for text in records)
    assert not any(CANARY in text for text in records)


@pytest.mark.parametrize("words", [["doctor"], ["doctor", "--json"]])
def test_the_doctor_names_the_trouble_and_not_the_key(
    cli: Cli, echo: str, store: str, words: list[str]
) -> None:
    ended = cli(*words, "--store", store, OPENAI_BASE_URL=echo, OPENAI_API_KEY=CANARY)

    assert ended.code == exits.FAILED
    assert "refused the key (401)" in ended.out
    assert CANARY not in ended.out + ended.err


def test_a_key_from_the_environment_is_hidden_from_then_on() -> None:
    chosen("openai", environ={"OPENAI_API_KEY": "sk-from-the-environment"})

    assert redaction.safe("key sk-from-the-environment!") == "key ********!"


@pytest.mark.parametrize("key", ["test", "none", "anything"])
def test_a_short_key_is_cut_out_of_no_word_and_no_path(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redaction, "_secrets", set())
    redaction.hide(key)

    said = f"/data/key{key}/wind-{key}/video.mp4 holds {key} of it; OPENAI_API_KEY={key}"
    assert redaction.safe(said) == said
    for before in ("Bearer ", "Incorrect API key provided: ", "key=", "(key "):
        assert redaction.safe(f"{before}{key}.") == f"{before}********."


@pytest.mark.parametrize("key", ["sk-abc-1", "abcd1234", "a-long-word-of-letters"])
def test_a_key_that_is_nothing_else_is_hidden_wherever_it_stands(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redaction, "_secrets", set())
    redaction.hide(key)

    assert redaction.safe(f"x{key}y") == "x********y"


def test_the_path_of_a_result_is_printed_as_it_is(
    cli: Cli, renderer: Renderer, tmp_path: Path
) -> None:
    key = "wind-test-of-keys-1"
    store = str(tmp_path / f"key-{key}")
    environment = {"OPENAI_BASE_URL": renderer.base_url, "OPENAI_API_KEY": key}
    words = ("render", "a kite", *TINY, "--store", store)

    told = cli(*words, **environment).out.splitlines()[0]
    path = cli(*words, "--quiet", **environment).out.strip()
    document = cli(*words, "--json", **environment).json

    assert store in told
    assert Path(path).is_file()
    assert Path(document["url"].removeprefix("file://")).is_file()


def test_without_debug_the_same_failure_is_one_paragraph(
    cli: Cli, echo: str, prefect_api: str, store: str
) -> None:
    ended = cli(
        *("render", "a canary", *TINY, "--store", store, "--json"),
        OPENAI_BASE_URL=echo,
        OPENAI_API_KEY=CANARY,
        PREFECT_API_URL=prefect_api,
    )

    assert ended.code == ended.json["error"]["exit_code"] == 3
    assert ended.json["error"]["type"] == "AuthenticationError"
    assert CANARY not in ended.out + ended.err
    assert "Traceback" not in ended.err
    assert "Encountered exception" not in ended.err
    assert ended.err.count("refused the key (401)") == 1


def test_a_logged_traceback_is_redacted_down_to_the_first_cause() -> None:
    factory = logging.getLogRecordFactory()
    shown = StringIO()
    log = logging.Logger("test")
    log.addHandler(logging.StreamHandler(shown))
    redaction.hide(CANARY)
    redaction.guard_logs()
    refused = RuntimeError("refused")
    refused.__cause__ = ValueError(f"the server said {CANARY}")
    try:
        log.error("with %s", CANARY, exc_info=refused)
    finally:
        logging.setLogRecordFactory(factory)

    assert shown.getvalue().startswith("with ********\n")
    assert "ValueError: the server said ********" in shown.getvalue()
    assert CANARY not in shown.getvalue()
