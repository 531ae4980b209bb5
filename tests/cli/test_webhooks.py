"""Webhooks: the receiver in the foreground, as the page says it."""

import re
import shlex
import signal
import socket
from pathlib import Path

import pytest

from prefect_sora.cli import exits
from tests.cli.conftest import TINY, Cli

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()


def free_port() -> str:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


@pytest.mark.slow
def test_what_the_page_says_brings_a_render_home_for_who_asks_once_an_hour(
    cli: Cli, store: str
) -> None:
    port = free_port()
    block = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)[0]
    assert block.count(":8750") == 2
    lines = [
        shlex.split(one, comments=True) for one in block.replace(":8750", f":{port}").split("\n")
    ]
    said = [words for words in lines if words]
    variables = dict(w.split("=", 1) for words in said if words[0] == "export" for w in words[1:])
    local, webhooks = (words[1:] for words in said if words[0] == "prefect-sora")
    assert (local[0], webhooks[:2]) == ("local", ["webhooks", "./renders"])

    renderer = cli.start(*local, "--poll-after-ms", "0", "--min-render-seconds", "1", **variables)
    renderer.until_it_says("Ctrl-C stops it.")
    receiver = cli.start("webhooks", store, *webhooks[2:], "--port", port, **variables)
    receiver.until_it_says("Ctrl-C stops it.")
    words = ("render", "a kite", "--provider", "local", *TINY[:-2], "--poll-interval", "3600")
    made = cli(*words, "--store", store, "--timeout", "3600", **variables)
    assert made.code == exits.OK, made.err

    receiver.send(signal.SIGINT)
    ended = receiver.end(20)
    assert ended.code == exits.OK, ended.err
    assert ended.out.startswith(f"Webhooks are received at http://127.0.0.1:{port}/webhooks\n")
    assert "video.mp4" in ended.out
    secret = variables["PREFECT_SORA_WEBHOOK_SECRET"]
    assert secret not in ended.out + ended.err + made.out + made.err
    renderer.send(signal.SIGINT)
    assert renderer.end(20).code == exits.OK


def test_a_receiver_without_a_secret_does_not_start(cli: Cli, store: str) -> None:
    refused = cli("webhooks", store, "--provider", "openai", OPENAI_API_KEY="sk-canary")
    assert refused.code == exits.USAGE
    assert "PREFECT_SORA_WEBHOOK_SECRET" in refused.err


def test_a_server_that_sends_none_is_not_waited_for(cli: Cli, store: str) -> None:
    variables = {"TOGETHER_API_KEY": "sk-canary", "PREFECT_SORA_WEBHOOK_SECRET": "a-word"}
    refused = cli("webhooks", store, "--provider", "together", **variables)
    assert refused.code == exits.USAGE
    assert "sends no webhooks" in refused.err


def test_a_port_that_is_taken_is_told(cli: Cli, store: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        variables = {"OPENAI_API_KEY": "sk-canary", "OPENAI_WEBHOOK_SECRET": "whsec_c2VjcmV0"}
        refused = cli("webhooks", store, "--provider", "openai", "--port", port, **variables)
    assert refused.code == 7
    assert f"Cannot listen on 127.0.0.1:{port}" in refused.err


@pytest.mark.parametrize("words", [("--dialect", "sglang"), ("--webhook-secret", "whsec_a")])
def test_a_renderer_that_could_not_tell_is_refused(cli: Cli, words: tuple[str, str]) -> None:
    refused = cli("local", "--webhook", "http://127.0.0.1:9/webhooks", *words)
    assert refused.code == exits.USAGE
    assert "whsec_a" not in refused.err.replace("whsec_and", "")
