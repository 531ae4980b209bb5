"""Clips and costs: what a store holds and has paid, when no server remembers it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from prefect_sora.cli import exits
from prefect_sora.cli.commands.store.choosing import begin_of
from prefect_sora.errors import InvalidRequestError
from prefect_sora.renders.inventory.costs import By, StoreCosts, Sum, summed
from prefect_sora.renders.inventory.entries import StoreAttempt, StoreEntry
from tests.cli.conftest import TINY, Begin, Cli
from tests.support.billing import TOLD, Billing
from tests.support.renderer import Renderer
from tests.support.scripted import Scripted

DAY = 86400.0
NIGHT = 1795219200.0  # 2026-11-21 00:00 UTC


def test_a_stores_clips_are_listed_though_no_server_is_there(
    cli: Cli, renderer: Renderer, store: str, begin: Begin
) -> None:
    kite, boat = begin(renderer, "a red kite"), begin(renderer, "a boat")
    assert cli("resume", kite.key, "--store", store, OPENAI_BASE_URL=renderer.base_url).code == 0
    asked = len(renderer.requests())

    ended = cli("clips", "--store", store)

    assert ended.code == exits.OK, ended.err
    header, *lines = ended.out.splitlines()
    assert header.split()[:4] == ["begun", "kind", "state", "what"]
    assert [boat.key in lines[0], kite.key in lines[1]] == [True, True], "the newest first"
    assert f"{store}/{kite.folder}/video.mp4" in lines[1]
    found = cli("clips", "--store", store, "--json", "--prompt", "KITE", "--since", "1h").json
    (told,) = found["clips"]
    assert (told["key"], told["state"], told["prompt"]) == (kite.key, "kept", "a red kite")
    assert Path(told["url"].removeprefix("file://")).is_file()
    states = {
        word: [one["key"] for one in cli("clips", "--store", store, *words, "--json").json["clips"]]
        for word, words in {
            "open": ("--state", "open"),
            "scope": ("--scope", "another"),
            "kind": ("--kind", "film"),
        }.items()
    }
    assert states == {"open": [boat.key], "scope": [], "kind": []}
    assert len(renderer.requests()) == asked


def test_what_a_store_has_paid_is_summed_up(
    cli: Cli, renderer: Renderer, store: str, begin: Begin
) -> None:
    begin(renderer)
    ended = cli("costs", "--store", store, "--by", "scope", "--json")
    assert ended.json["costs"] == [
        {
            "scope": "last night",
            "paid": 1,
            "estimated_usd": 0.0,
            "actual_usd": 0.0,
            "told": 0,
            "usd": 0.0,
            "perhaps_usd": 0.0,
            "unpriced": 1,
            "in_doubt": 0,
        }
    ]
    table = cli("costs", "--store", store).out.splitlines()
    assert table[0].split()[:3] == ["day", "renders", "estimated"]
    assert table[-1].split()[0] == "all"


def test_a_time_that_is_none_is_refused(cli: Cli) -> None:
    ended = cli("costs", "--since", "yesterday")
    assert ended.code == exits.USAGE
    assert "--since 'yesterday' is no time" in ended.err


@pytest.mark.parametrize(
    ("since", "begin"),
    [
        ("30m", NIGHT - 1800),
        ("24h", NIGHT - DAY),
        ("7D", NIGHT - 7 * DAY),
        ("2w", NIGHT - 14 * DAY),
        ("2026-11-20", NIGHT - DAY),
        ("2026-11-20 12:00", NIGHT - DAY / 2),
    ],
)
def test_a_time_is_an_age_or_a_day(since: str, begin: float) -> None:
    assert begin_of(since, NIGHT) == begin


@pytest.mark.parametrize("since", ["", "7", "d", "-7d", "21.11.2026"])
def test_nothing_else_is_a_time(since: str) -> None:
    with pytest.raises(InvalidRequestError):
        begin_of(since)


def attempt(number: int, at: float, **fields: Any) -> StoreAttempt:
    told = {"attempt": number, "at": at, "state": "kept", "paid": "yes", "cost_usd": 0.4, **fields}
    return StoreAttempt(**told)


def entry(*attempts: StoreAttempt, **fields: Any) -> StoreEntry:
    about = {"kind": "video", "state": "kept", "key": "0" * 12, "folder": "f", "title": "t"}
    return StoreEntry(**{**about, **fields}, attempts=attempts)


KITE = entry(
    attempt(1, NIGHT - 1, state="failed", paid="unknown"),
    attempt(2, NIGHT, state="failed", paid="no", cost_usd=0.0),
    attempt(3, NIGHT + 1),
    model="sora-2",
)
BOAT = entry(
    attempt(1, NIGHT, cost_usd=None),
    attempt(2, NIGHT, state="reserved", paid="unknown", cost_usd=None),
    model="wan",
)


async def summed_up(by: By, *entries: StoreEntry, since: float = 0.0) -> StoreCosts:
    async def found() -> AsyncIterator[StoreEntry]:
        for entry in entries:
            yield entry

    return await summed(found(), by, since)


async def test_every_attempt_counts_on_its_own_day_and_what_is_not_known_is_told_beside() -> None:
    found = await summed_up("day", KITE, BOAT)
    assert found.groups == {
        "2026-11-20": Sum(paid=1, estimated_usd=0.4, usd=0.4, perhaps_usd=0.4),
        "2026-11-21": Sum(paid=2, estimated_usd=0.4, usd=0.4, unpriced=1, in_doubt=1),
    }
    assert found.total == Sum(
        paid=3, estimated_usd=0.8, usd=0.8, perhaps_usd=0.4, unpriced=1, in_doubt=1
    )


async def test_sums_go_by_what_was_asked_and_since_when() -> None:
    assert (await summed_up("model", KITE, BOAT, since=NIGHT)).groups == {
        "sora-2": Sum(paid=1, estimated_usd=0.4, usd=0.4),
        "wan": Sum(paid=1, unpriced=1, in_doubt=1),
    }
    assert [*(await summed_up("month", KITE)).groups] == ["2026-11"]


async def test_what_servers_say_counts_in_place_of_the_estimate_and_both_are_told() -> None:
    told = entry(
        attempt(1, NIGHT, actual_usd=0.5),
        attempt(2, NIGHT, cost_usd=None, actual_usd=0.2),
        attempt(3, NIGHT),
        attempt(4, NIGHT, state="failed", actual_usd=0.1),
        attempt(5, NIGHT, actual_usd=0.0),
        provider="openrouter",
    )
    assert (await summed_up("provider", told)).groups == {
        "openrouter": Sum(paid=5, estimated_usd=1.6, actual_usd=0.8, told=4, usd=1.2)
    }


def test_estimate_and_real_cost_stand_side_by_side_at_the_terminal(cli: Cli, store: str) -> None:
    billing = Billing(0.12)
    server = Scripted(billing)
    environment = {
        "OPENAI_BASE_URL": server.base_url,
        "PREFECT_SORA_PRICES": '{"*": 0.1}',
        "PREFECT_SORA_PROFILE": json.dumps({"base": "generic", **TOLD}),
    }
    words = ("render", "a red kite", *TINY, "--provider", "openai", "--store", store)
    ended = cli(*words, "--scope", "tonight", **environment)
    (job,) = billing.jobs
    shown = cli("retrieve", job["id"], "--provider", "openai", "--store", store, **environment)
    server.stop()
    assert "cost $0.12, as the server says" in shown.out

    assert ended.code == exits.OK, ended.err
    assert "cost $0.10 estimated, $0.12 real" in ended.out
    assert "$0.10 estimated, $0.12 real" in cli("clips", "--store", store).out
    table = [line.split() for line in cli("costs", "--store", store).out.splitlines()]
    assert table[0][1:5] == ["renders", "estimated", "real", "price"]
    assert table[-1] == ["all", "1", "$0.10", "$0.12", "1", "$0.12"]
    header, row = cli("costs", "--store", store, "--by", "scope", "--csv").out.splitlines()
    assert dict(zip(header.split(","), row.split(","), strict=True)) == {
        "scope": "tonight",
        "paid": "1",
        "estimated_usd": "0.1",
        "actual_usd": "0.12",
        "told": "1",
        "usd": "0.12",
        "perhaps_usd": "0.0",
        "unpriced": "0",
        "in_doubt": "0",
    }
    assert cli("costs", "--store", store, "--csv", "--json").code == exits.USAGE
