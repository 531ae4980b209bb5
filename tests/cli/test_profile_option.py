"""--profile: what a server is, said where it is named, so that it is not asked."""

import json
from pathlib import Path

import pytest

from prefect_sora.cli import main
from prefect_sora.errors.next_steps import NextStep
from tests.cli.conftest import TINY, Cli
from tests.support.renderer import StartRenderer

ASK_A_SERVER = ("list", "retrieve", "download", "cancel", "delete", "doctor", "models", "estimate")
RENDER = ("render", "batch", "storyboard", "remix", "edit", "extend", "image", "resume")


@pytest.mark.parametrize("command", [*ASK_A_SERVER, *RENDER])
def test_every_command_that_asks_a_server_takes_it(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main([command, "--help"])
    assert "--profile" in capsys.readouterr().out


def test_a_server_that_is_named_is_not_asked_what_it_is(
    cli: Cli, start_renderer: StartRenderer, store: str
) -> None:
    renderer = start_renderer(dialect="vllm-omni")
    where = ("--provider", renderer.base_url, "--store", store, "--profile", "vllm-omni")
    ended = cli("render", "-p", "a kite", *TINY, *where, "--json")
    assert ended.code == 0, ended.err
    assert renderer.accepted() == 1
    asked = [one["path"] for one in renderer.requests()]
    assert "/v1/models" not in asked


def test_one_of_ones_own_is_read_from_a_file(cli: Cli, tmp_path: Path) -> None:
    own = tmp_path / "farm.yaml"
    own.write_text("base: sglang\nname: our farm\n")
    where = ("--provider", "http://127.0.0.1:9/v1", "--store", str(tmp_path / "s"))
    told = json.loads(cli("doctor", *where, "--profile", str(own), "--json").out)
    found = {one["check"]: one["found"] for one in told["checks"]}
    assert found["profile"].startswith("our farm: ")


@pytest.mark.parametrize(
    ("provider", "profile", "said"),
    [
        ("http://127.0.0.1:9/v1", "vlm-omni", "Did you mean vllm-omni?"),
        ("http://127.0.0.1:9/v1", "nowhere.yaml", "nowhere.yaml cannot be read: No such file"),
        ("http://127.0.0.1:9/v1", "{can_list", "is no JSON"),
        ("http://127.0.0.1:9/v1", '{"can_lists": true}', "did you mean can_list?"),
        ("local", "sglang", "not with local"),
        ("openrouter", "sglang", "not with openrouter"),
        ("azure", "sglang", "not with azure"),
    ],
)
def test_one_that_is_none_or_goes_with_nothing_is_refused(
    cli: Cli, store: str, provider: str, profile: str, said: str
) -> None:
    known = {"OPENROUTER_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com"}
    where = ("--provider", provider, "--profile", profile, "--store", store)
    ended = cli("render", "-p", "a kite", *TINY, *where, **known)
    assert ended.code == 2
    assert said in " ".join(ended.err.split())


def test_the_command_that_an_error_names_has_it_too() -> None:
    step = NextStep("resume", key="0123456789ab").known(
        store="./s", provider="http://127.0.0.1:9/v1", profile="sglang"
    )
    assert str(step.command).endswith("--provider http://127.0.0.1:9/v1 --profile sglang")
    assert json.dumps(step.profile) == '"sglang"'
