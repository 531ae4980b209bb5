"""Costs: what is estimated, listed and checked before anything is paid, and batches on a budget."""

import csv
import io
import json
import os
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest
import yaml

from prefect_sora.cli import exits
from tests.cli.conftest import Cli
from tests.support.processes import Forked
from tests.support.renderer import Renderer, SpeakDialect
from tests.support.scripted import Scripted

TINY = "prompt,model,size,seconds\n"


def test_models_are_compared_by_what_they_cost(cli: Cli) -> None:
    ended = cli.typed("estimate", "--size", "1080p", "--seconds", "4", "--model", "wan-2.2")
    rows = [line.split() for line in ended.out.splitlines()]
    assert rows[1] == ["sora-2-pro", "1920x1080", "4", "$2.80"]
    assert rows[2][:4] == ["wan-2.2", "1920x1080", "4", "unknown"]
    assert "sora-2 renders 1280x720 or 720x1280" in ended.err
    none = cli("estimate", "--seconds", "5")
    assert (none.code, "No known model renders this" in none.err) == (exits.USAGE, True)


def test_a_batch_is_totalled_by_the_providers_own_prices(cli: Cli) -> None:
    file = cli.folder / "kites.csv"
    file.write_text(TINY + "a,wan,64x64,2\nb,wan,64x64,2\nc,other,64x64,4\nb,wan,64x64,2\n")
    priced = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "PREFECT_SORA_PRICES": '{"wan": 0.25}'}
    ended = cli("estimate", str(file), "--provider", "openai", **priced)
    assert ended.out.splitlines()[1].split()[-2:] == ["$0.50", "$1.00"]
    assert ended.out.splitlines()[-1] == "3 renders: $1.00 and 1 of unknown price"
    alone = cli("estimate", str(file), PREFECT_SORA_PRICES=priced["PREFECT_SORA_PRICES"])
    assert alone.out == ended.out, "without a provider the environment's prices count, too"
    told = cli("batch", str(file), "--dry-run", "--json", "--provider", "openai", **priced).json
    assert (told["known_usd"], told["unknown"], told["total_usd"]) == (1.0, 1, None)
    assert (told["renders"], told["duplicates"], told["broken"]) == (3, 1, [])


BOARD = """
title: The red kite
chain: parallel
model: wan
size: 64x64
seconds: 2
shots:
- {prompt: a red kite, takes: 3, use_take: 2}
- {prompt: it drops, seconds: 4}
- {prompt: it drops, seconds: 4}
- {prompt: it drops, seconds: 4, continuity: last_frame}
- {prompt: it rests, model: other}
"""


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_a_storyboard_is_totalled_with_all_its_takes(cli: Cli, suffix: str) -> None:
    file = cli.folder / f"kite.{suffix}"
    file.write_text(BOARD if suffix == "yaml" else json.dumps(yaml.safe_load(BOARD)))
    priced = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "PREFECT_SORA_PRICES": '{"wan": 0.25}'}
    words = ("estimate", str(file), "--provider", "openai")
    told = cli(*words, "--json", **priced).json
    assert (told["shots"], told["renders"], told["known_usd"]) == (5, 6, 3.5)
    assert (told["unknown"], told["total_usd"]) == (1, None)
    if suffix == "yaml":
        ended = cli(*words, **priced)
        assert ended.out.splitlines()[1].split() == ["wan", "64x64", "2", "3", "$0.50", "$1.50"]
        assert ended.out.splitlines()[-1] == "6 renders: $3.50 and 1 of unknown price"


@pytest.mark.parametrize(
    ("board", "words", "said"),
    [
        (BOARD, ("--model", "sora-2"), 'kite.yaml" says itself what its shots are'),
        (BOARD.replace("model: wan", "model: sora-2"), (), "Shot 1: sora-2 renders"),
        ("title: A film\nshots: []\n", (), "has no shots"),
    ],
)
def test_a_storyboard_that_cannot_be_totalled_says_why(
    cli: Cli, board: str, words: tuple[str, ...], said: str
) -> None:
    file = cli.folder / "kite.yaml"
    file.write_text(board)
    ended = cli("estimate", str(file), *words)
    assert (ended.code, said in ended.err) == (exits.USAGE, True), ended.err


def test_models_shows_what_the_server_itself_names(cli: Cli) -> None:
    server = Scripted(
        lambda *_: (
            200,
            {},
            {"data": [{"id": "wan-2.2"}, {"id": "sora-2", "shutdown_date": "2027-01-01"}]},
        )
    )
    named = {"OPENAI_BASE_URL": server.base_url}
    ended = cli("models", "--provider", "openai", **named)
    listed = cli("models", "--provider", "openai", "--json", **named).json
    server.stop()
    assert ended.out.splitlines()[-2].split() == ["wan-2.2", "unknown"]
    assert ended.out.splitlines()[-1].split() == ["sora-2", "$0.10", "2027-01-01"]
    assert [one["id"] for one in listed["server"]] == ["wan-2.2", "sora-2"]
    assert listed["known"][0]["prices_as_of"]["1280x720"] == "2026-11-21"


@pytest.mark.parametrize(
    ("models", "asked", "ok", "found"),
    [
        (["wan-2.2"], "wan-2.2", True, "the server has it for this account"),
        (["wan-2.2", "x"], "wan-2.1", False, "not among the 2 models"),
        ([], "wan-2.2", True, "only a render can tell"),
    ],
)
def test_doctor_checks_access_to_a_model_before_money_is_spent(
    cli: Cli, store: str, models: list[str], asked: str, ok: bool, found: str
) -> None:
    server = Scripted(lambda *_: (200, {}, {"data": [{"id": name} for name in models]}))
    ended = cli(
        *("doctor", "--store", store, "--model", asked, "--json"), OPENAI_BASE_URL=server.base_url
    )
    server.stop()
    (finding,) = [check for check in ended.json["checks"] if check["check"] == "model"]
    assert (finding["ok"], ended.code) == (ok, exits.OK if ok else exits.FAILED)
    assert found in finding["found"]
    assert ok or "such as wan-2.2" in finding["next_step"]


@pytest.mark.slow
def test_a_batch_with_a_bad_prompt_keeps_the_rest_and_is_resumed_without_paying_again(
    cli: Cli, renderer: Renderer, prefect_api: str, store: str
) -> None:
    renderer.faults([{"on": "create", "do": "status:400", "match": "bad"}])
    file = cli.folder / "kites.csv"
    file.write_text(TINY + "a,wan,64x64,1\nbad,wan,64x64,1\n")
    words = ("batch", str(file), "--store", store, "--provider", "openai")
    priced = {
        "OPENAI_BASE_URL": renderer.base_url,
        "PREFECT_API_URL": prefect_api,
        "PREFECT_SORA_PRICES": '{"wan": 0.25}',
    }
    first = cli(*words, "--poll-interval", "0.05", "--max-cost", "0.5", **priced)
    assert first.code == exits.FAILED
    assert "✗ 1 of 2 kept, 1 failed; cost $0.25. Row 2: " in first.err
    assert "kites.csv: 2 rows: 2 renders, $0.50" in first.err
    assert "1 kept, 0 rendering, 0 queued, 1 failed, $0.25 spent" in first.err
    told = Path(first.out.split()[-1]).read_text()
    assert [r["outcome"] for r in csv.DictReader(io.StringIO(told))] == ["kept", "failed"]

    again = cli(*words, "--poll-interval", "0.05", "--max-cost", "0.5", "--json", **priced)
    assert (again.code, again.json["kept"], again.json["cost_usd"]) == (exits.OK, 2, 0.5)
    assert renderer.accepted() == 2

    over = cli(*words, "--anew", "--max-cost", "0.4", "--json", **priced)
    assert (over.code, over.json["error"]["type"]) == (3, "BudgetExceededError")
    assert renderer.accepted() == 2


def test_broken_rows_are_told_before_anything_is_started(cli: Cli, store: str) -> None:
    file = cli.folder / "kites.jsonl"
    file.write_text(json.dumps({"prompt": "a", "seconds": "x"}) + "\n" + '{"prompt": "b"}\n')
    ended = cli("batch", str(file), "--store", store, "--provider", "local", "--json")
    assert ended.code == exits.USAGE
    assert "1 of 2 rows cannot be rendered: row 1: column seconds" in ended.json["error"]["message"]
    assert not Path(store).exists()


CLIP = ("render", "a kite", "--model", "wan", "--seconds", "8")


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (CLIP, "20.00"),
        ((*CLIP, "--keyframe", "a hill", "--image-model", "wan"), "22.50"),
        (("image", "a kite", "--model", "wan", "-n", "4"), "10.00"),
        ((*CLIP, "--ask-above", "30"), None),
        ((*CLIP, "--max-cost", "30"), None),
    ],
    ids=["a clip", "with its first frame", "pictures", "a higher threshold", "allowed beforehand"],
)
def test_on_a_terminal_a_person_is_asked_before_much_is_paid(
    cli: Cli, store: str, words: tuple[str, ...], asked: str | None
) -> None:
    server = Scripted(lambda *_: (400, {}, {"error": {"message": "no kites today"}}))
    ours, theirs = os.openpty()
    order = (*words, "--store", store)
    known = {"OPENAI_BASE_URL": server.base_url, "PREFECT_SORA_PROFILE": "generic"}
    process = Forked(
        ["-m", "prefect_sora.cli", *order],
        stdin=theirs,
        stdout=DEVNULL,
        stderr=PIPE,
        env={**cli.environment, **known, "PREFECT_SORA_PRICES": '{"wan": 2.5}'},
    )
    os.close(theirs)
    os.write(ours, b"n\n" if asked else b"")
    _, said = process.communicate(timeout=60)
    os.close(ours)
    server.stop()
    assert (f"This costs ${asked}. Go on? [y/N]" in said) is bool(asked), said
    assert server.posts() == (0 if asked else 1)
    assert (process.returncode == exits.USAGE) is bool(asked)
    assert ("To skip the question: --max-cost" in said) is bool(asked)


def test_in_a_script_nobody_is_asked(cli: Cli, store: str) -> None:
    server = Scripted(lambda *_: (400, {}, {"error": {"message": "no kites today"}}))
    known = {"OPENAI_BASE_URL": server.base_url, "PREFECT_SORA_PROFILE": "generic"}
    cli(*CLIP, "--store", store, **known, PREFECT_SORA_PRICES='{"wan": 2.5}')
    server.stop()
    assert server.posts() == 1


def test_the_live_catalogue_is_told_and_estimated_by(cli: Cli, speak: SpeakDialect) -> None:
    url = speak("openrouter").base_url
    live = {"PREFECT_SORA_PROFILE": "openrouter"}
    listed = cli("models", "--provider", url, "--json", **live).json["server"]
    assert [one["id"] for one in listed] == ["local/kite", "local/kite-lite"]
    told = cli("models", "local/kite-lite", "--provider", url, **live).out.splitlines()
    assert "  seconds   2 4" in told
    assert "  picture   none" in told
    assert "  pricing   cents_per_second_output 5" in told
    assert told[-1].split()[:4] == ["640x360", "$0.05", "$0.10", "$0.20"]
    meant = cli("models", "kite-lite", "--provider", url, **live)
    assert (meant.code, "Did you mean local/kite-lite?" in meant.err) == (exits.USAGE, True)
    rows = cli("estimate", "--provider", url, "--seconds", "3", **live)
    assert [row.split()[:4] for row in rows.out.splitlines()[1:]] == [
        ["local/kite", "1280x720", "3", "$0.15"]
    ]
    assert "local/kite-lite renders 2 or 4 seconds, not 3" in rows.err
