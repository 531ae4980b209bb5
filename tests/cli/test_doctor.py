"""Doctor: each thing that a render needs is looked at, and none is rendered."""

import socket
from pathlib import Path

import pytest

from prefect_sora.cli import exits
from tests.cli.conftest import Cli
from tests.support.renderer import Renderer

CHECKS = ["versions", "provider", "profile", "server", "listing", "store", "prefect"]


def test_where_all_is_well_it_says_so(
    cli: Cli, renderer: Renderer, prefect_api: str, store: str
) -> None:
    ended = cli(
        *("doctor", "--store", store),
        OPENAI_BASE_URL=renderer.base_url,
        PREFECT_API_URL=prefect_api,
    )

    assert ended.code == exits.OK, ended.out
    assert [line.split()[:2] for line in ended.out.splitlines()] == [["✓", c] for c in CHECKS]
    assert f"{prefect_api} answers" in ended.out
    assert renderer.accepted() == 0
    assert not any(Path(store).glob("*"))


@pytest.mark.slow
def test_without_a_prefect_server_it_says_which_it_would_be_and_starts_none(
    cli: Cli, renderer: Renderer, store: str
) -> None:
    ended = cli.typed("doctor", "--store", store, "--json", OPENAI_BASE_URL=renderer.base_url)

    assert ended.code == exits.OK
    prefect = ended.json["checks"][-1]
    assert prefect["ok"]
    assert "not configured; commands run without it" in prefect["found"]
    assert not (cli.folder / "prefect" / "prefect.db").exists()


@pytest.mark.parametrize(
    ("status", "on", "failing"),
    [
        pytest.param("status:404", "models", [], id="no list of models is fine"),
        pytest.param("status:404", "list", [], id="no list of jobs is fine"),
        pytest.param("status:500", "list", ["listing"], id="a list that breaks is not"),
        pytest.param("html", "models", ["server"], id="a website is no video server"),
    ],
)
def test_it_tells_what_a_server_lacks_from_what_is_broken(
    cli: Cli, renderer: Renderer, store: str, status: str, on: str, failing: list[str]
) -> None:
    rules = [{"on": on, "do": status, "times": None}]
    rules += [{"on": "list", "do": status, "times": None}] if status == "html" else []
    renderer.faults(rules)

    ended = cli("doctor", "--store", store, "--json", OPENAI_BASE_URL=renderer.base_url)

    assert [check["check"] for check in ended.json["checks"] if not check["ok"]] == failing
    assert ended.code == (exits.FAILED if failing else exits.OK)


def test_each_trouble_comes_with_what_to_do(cli: Cli, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "file").write_text("no folder")

    ended = cli(
        *("doctor", "--store", str(tmp_path / "file"), "--json"),
        OPENAI_BASE_URL=f"http://127.0.0.1:{port}/v1",
        PREFECT_API_URL=f"http://127.0.0.1:{port}/api",
    )

    failed = {check["check"]: check for check in ended.json["checks"] if not check["ok"]}
    assert ended.code == exits.FAILED
    assert list(failed) == ["server", "store", "prefect"]
    assert all(check["next_step"] for check in failed.values())


def test_without_a_provider_the_rest_is_still_looked_at(cli: Cli, store: str) -> None:
    ended = cli("doctor", "--store", store)

    assert ended.code == exits.FAILED
    assert "✗ provider  No provider is named." in ended.out
    assert "✓ store" in ended.out


def test_where_no_identity_is_found_one_sentence_says_so_and_doctor_who_asks(
    cli: Cli, store: str
) -> None:
    azure = {
        "AZURE_OPENAI_ENDPOINT": "https://clips.openai.azure.com",
        "AZURE_OPENAI_DEPLOYMENT": "my-sora",
        "AZURE_OPENAI_IMAGE_DEPLOYMENT": "p",
        "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",  # of which there are none
    }
    asked = cli("list", "--provider", "azure", "--store", store, **azure)
    assert "No Entra ID token for Azure OpenAI could be had" in asked.err
    assert "EnvironmentCredential" not in asked.err
    told = cli("doctor", "--provider", "azure", "--store", store, "--json", **azure).json
    found = {one["check"]: one["found"] for one in told["checks"]}
    assert found["provider"].endswith(
        "deployment my-sora · for pictures p · with tokens of this machine"
    )
