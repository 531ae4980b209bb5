"""Clips and costs: what a store holds and has paid, when no server remembers it."""

from pathlib import Path
from typing import Any

import pytest

from prefect_sora.cli import exits
from prefect_sora.cli.commands.store.choosing import begin_of
from prefect_sora.cli.commands.store.costs import Sum, summed
from prefect_sora.errors import InvalidRequestError
from prefect_sora.renders.inventory.entries import StoreAttempt, StoreEntry
from tests.cli.conftest import Begin, Cli
from tests.support.renderer import Renderer
from tests.support.s3 import S3

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
            "usd": 0.0,
            "perhaps_usd": 0.0,
            "unpriced": 1,
            "in_doubt": 0,
        }
    ]
    table = cli("costs", "--store", store).out.splitlines()
    assert table[0].split()[:3] == ["day", "renders", "paid"]
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


def test_every_attempt_counts_on_its_own_day_and_what_is_not_known_is_told_beside() -> None:
    groups, total = summed([KITE, BOAT], "day")
    assert groups == {
        "2026-11-20": Sum(paid=1, usd=0.4, perhaps_usd=0.4),
        "2026-11-21": Sum(paid=2, usd=0.4, unpriced=1, in_doubt=1),
    }
    assert total == Sum(paid=3, usd=0.8, perhaps_usd=0.4, unpriced=1, in_doubt=1)


def test_sums_go_by_what_was_asked_and_since_when() -> None:
    assert summed([KITE, BOAT], "model", NIGHT)[0] == {
        "sora-2": Sum(paid=1, usd=0.4),
        "wan": Sum(paid=1, unpriced=1, in_doubt=1),
    }
    assert [*summed([KITE], "month")[0]] == ["2026-11"]


def test_a_film_in_a_bucket_gets_its_type_from_mend(cli: Cli, s3: S3) -> None:
    name = "films/a-film-0123456789ab/film.mp4"
    s3.client.put_object(Bucket=s3.bucket, Key=f"clips/{name}", Body=b"x")
    store = f"s3://{s3.bucket}/clips"
    keys = {
        "AWS_ENDPOINT_URL": s3.endpoint_url,
        "AWS_ACCESS_KEY_ID": s3.options["key"],
        "AWS_SECRET_ACCESS_KEY": s3.options["secret"],
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    assert cli("mend", "--store", store, "--json", **keys).json["mended"] == [name]
    assert cli("mend", "--store", store, **keys).out == f"Nothing to mend in {store}.\n"
    head = s3.client.head_object(Bucket=s3.bucket, Key=f"clips/{name}")
    assert head["ContentType"] == "video/mp4"
