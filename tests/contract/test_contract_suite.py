"""The contract tells what does not hold, what it costs, and asks before it spends."""

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prefect_sora.cli import exits
from prefect_sora.renders.contract import Fault, Finding, check, clips, smallest
from prefect_sora.servers.profiles import GENERIC, LITELLM_PROXY, SGLANG, Profile
from prefect_sora.servers.server import Server, remote
from prefect_sora.store.ledger import Ledger
from tests.cli.conftest import Cli
from tests.cli.conftest import cli as cli
from tests.cli.conftest import store as store
from tests.contract.provoking import provoking
from tests.support.renderer import Renderer, until
from tests.support.renders import clip

PRICES = '{"*": 0.01}'
WORDS = ("doctor", "--contract", "--provider", "openai", "--size", "64x64", "--seconds", "1")

Tried = Callable[..., Awaitable[dict[str, Finding]]]


@pytest.fixture
def tried(server: Server, disk: Ledger) -> Tried:
    """Try the contract on the local renderer; findings by name."""

    async def trying(**changes: Any) -> dict[str, Finding]:
        provoke = changes.pop("provoke", None)
        found = await check(
            replace(server, **changes), disk, clip(), provoke=provoke, poll_interval_seconds=0.05
        )
        return {one.behaviour: one for one in found}

    return trying


async def test_what_needs_a_test_server_is_not_tried_on_others(
    tried: Tried, renderer: Renderer
) -> None:
    found = await tried()

    untried = {name for name, one in found.items() if one.outcome == "not tried"}
    assert untried == {"failing job", "moderation", "orphan recovery"}
    assert renderer.accepted() == 6


async def test_where_no_clip_is_accepted_the_rest_is_not_tried(
    tried: Tried, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "status:400", "times": None}])

    found = await tried()

    outcomes = {name: one.outcome for name, one in found.items()}
    assert outcomes.pop("create from text") == "failed"
    assert "(400)" in found["create from text"].said
    assert outcomes.pop("unknown id") == "held"
    assert {*outcomes.values()} == {"not tried"}
    assert len(renderer.requests("create")) == 1


async def test_a_server_that_breaks_its_word_is_told(tried: Tried, renderer: Renderer) -> None:
    renderer.faults(
        [
            {"on": "list", "do": "garbage"},
            {"on": "delete", "do": "status:500"},
            {"on": "remix", "do": "status:405"},
        ]
    )

    found = await tried()

    assert {name for name, one in found.items() if one.outcome == "failed"} == {"list", "delete"}
    assert found["remix"].outcome == "refused"
    assert found["remix"].said.startswith("by the server itself")


@pytest.mark.slow
async def test_a_failure_is_not_taken_for_moderation_nor_the_other_way_round(
    tried: Tried, renderer: Renderer
) -> None:
    right = provoking(renderer)

    async def swapped(fault: Fault) -> None:
        await right({"fail": "moderate", "moderate": "fail", "lose": "lose"}[fault])  # type: ignore[arg-type]  # of three words

    found = await tried(provoke=swapped)

    assert found["failing job"].said.startswith("taken for moderation")
    assert found["moderation"].said.startswith("taken for a failure")
    assert found["failing job"].outcome == found["moderation"].outcome == "failed"


@pytest.mark.parametrize(
    ("model", "profile", "least", "count"),
    [
        ("sora-2-pro", GENERIC, ("1280x720", 4), 6),
        ("somebodys-model", LITELLM_PROXY, ("1280x720", 4), 6),
        ("Wan2.2", SGLANG, ("256x256", 1), 3),
    ],
)
def test_the_cheapest_clip_is_what_the_model_has_at_least(
    model: str, profile: Profile, least: tuple[str, int], count: int
) -> None:
    server = remote("http://127.0.0.1:1/v1", profile=profile)

    assert smallest(server, model) == least
    assert len(clips(server, clip())) == count


def test_without_anybody_to_agree_nothing_is_sent(cli: Cli, renderer: Renderer, store: str) -> None:
    ended = cli(
        *WORDS, "--store", store, OPENAI_BASE_URL=renderer.base_url, PREFECT_SORA_PRICES=PRICES
    )

    assert ended.code == exits.USAGE
    assert "estimated cost: $0.09" in ended.err
    assert "--yes agrees" in ended.err
    assert renderer.requests("create") == []


@pytest.mark.slow
def test_its_table_says_what_failed_and_so_does_the_exit_code(
    cli: Cli, renderer: Renderer, store: str
) -> None:
    renderer.faults([{"on": "delete", "do": "status:500"}])

    ended = cli(
        *(*WORDS, "--yes", "--json", "--store", store),
        OPENAI_BASE_URL=renderer.base_url,
        PREFECT_SORA_PRICES=PRICES,
    )

    assert ended.code == exits.FAILED, ended.err
    told = {one["behaviour"]: one for one in ended.json["behaviours"]}
    assert [name for name, one in told.items() if one["outcome"] == "failed"] == ["delete"]
    assert (ended.json["profile"], ended.json["estimated_usd"]) == ("local", 0.09)
    assert sum(one["cost_usd"] for one in told.values()) == pytest.approx(0.09)
    assert len([*Path(store).glob("*/video.mp4")]) == renderer.accepted() == 6


@pytest.mark.slow
def test_on_a_terminal_it_asks_and_no_is_the_answer_unless_yes_is_said(
    cli: Cli, renderer: Renderer, tmp_path: Path
) -> None:
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect_sora.cli", *WORDS, "--store", str(tmp_path / "renders")],
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.DEVNULL,
        env={**cli.environment, "OPENAI_BASE_URL": renderer.base_url},
    )
    os.close(theirs)
    said = b""

    def asked() -> bool:
        nonlocal said
        said += os.read(ours, 4096)
        return b"Go on? [y/N]" in said

    try:
        until(asked, "it asks", 30)
        os.write(ours, b"\n")
        assert process.wait(30) == exits.USAGE
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"estimated cost: unknown" in b" ".join(said.split())
    assert renderer.requests("create") == []


def test_its_options_go_with_it_alone(cli: Cli, store: str) -> None:
    ended = cli("doctor", "--yes", "--store", store)

    assert ended.code == exits.USAGE
    assert "--contract" in ended.err
