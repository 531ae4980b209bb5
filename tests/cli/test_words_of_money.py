"""Words of money: what goes on, what is kept already, and what is paid, told as it is."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefect_sora.cli import exits
from prefect_sora.errors import SoraError
from tests.cli.conftest import Tell, Told
from tests.support.renderer import Renderer
from tests.support.scripted import Jobs, Scripted

TINY = ("--size", "64x64", "--seconds", "1", "--poll-interval", "0.1")
PRICED = {"PREFECT_SORA_PRICES": '{"m": 0.1}', "PREFECT_SORA_PROFILE": "openai"}


@pytest.fixture
def table(tmp_path: Path) -> str:
    """A table of two rows."""
    (tmp_path / "two.csv").write_text("prompt,model\na kite,m\na fox,m\n")
    return "two.csv"


@pytest.fixture
def late() -> Iterator[Scripted]:
    """A server that takes requests, and finishes none."""
    server = Scripted(Jobs(lose=0, echo={"status": "in_progress"}))
    yield server
    server.stop()


def flat(told: Told) -> str:
    return " ".join(told.said.split())


def test_a_batch_whose_renders_go_on_is_no_failure_and_counts_as_paid(
    tell: Tell, table: str, late: Scripted
) -> None:
    words = ("batch", table, "--timeout", "0.3", *TINY)
    told = tell(*words, OPENAI_BASE_URL=late.base_url, **PRICED)

    assert told.code == 6, "a timeout: it is still rendering"
    assert "✗ 0 of 2 kept, 2 are still rendering and count as paid, $0.20." in flat(told)
    assert "Run the same command again: what is kept or still renders is not paid again." in flat(
        told
    )
    assert "--scope" not in told.said, "all runs of one file share their renders"
    assert "may be charged" not in told.said
    anew = flat(tell(*words, "--anew", OPENAI_BASE_URL=late.base_url, **PRICED))
    assert "with --scope " in anew, "which another run would not share"


def test_a_batch_that_is_kept_says_that_nothing_is_paid_now_whatever_may_be_spent(
    tell: Tell, table: str, renderer: Renderer
) -> None:
    words = ("batch", table, *TINY)
    there = {"OPENAI_BASE_URL": renderer.base_url, **PRICED}
    assert "✓ 2 of 2 kept; cost $0.20" in tell(*words, **there).said
    again = tell(*words, "--max-cost", "0.1", **there)

    assert again.code == exits.OK
    assert "2 kept (2 already), 0 rendering, 0 queued, 0 failed, $0.00 spent" in again.said
    said = "✓ 2 of 2 were kept already; nothing was sent, nothing paid now ($0.20 earlier)"
    assert said in again.said
    document = json.loads(tell(*words, "--json", "--quiet", **there).said)
    assert (document["already"], document["earlier_usd"]) == (2, 0.2)
    new = tell(*words, "--max-cost", "0.1", "--scope", "other", **there)
    assert (new.code, renderer.accepted()) == (3, 2)
    assert "The 2 renders would cost $0.20, and --max-cost allows $0.10." in flat(new)


def test_a_repeat_in_a_scope_is_told_to_be_kept_already_and_sends_nothing(
    tell: Tell, renderer: Renderer
) -> None:
    words = ("render", "a kite", "--model", "m", "--scope", "z", *TINY)
    there = {"OPENAI_BASE_URL": renderer.base_url, **PRICED}
    assert "submitting" in tell(*words, **there).said
    again = tell(*words, **there)

    assert "submitting" not in again.said
    assert "cost  nothing now: it is kept already" in again.said
    assert "kept already; nothing was sent or paid now ($0.10 on 2" in again.said
    assert "--anew" not in again.said
    anew = flat(tell(*words, "--anew", **there))
    assert "! --anew passes over unfinished renders only, and this one is kept." in anew
    assert "another one: --take 2." in anew
    assert renderer.accepted() == 1


def test_a_model_that_is_most_likely_misspelt_is_warned_of(tell: Tell, late: Scripted) -> None:
    there = {"OPENAI_BASE_URL": late.base_url, "PREFECT_SORA_PROFILE": "generic"}
    words = ("render", "a kite", "--timeout", "0.2", *TINY, "--model")
    told = flat(tell(*words, "sora2", **there))
    assert "! sora2 is no known model. Did you mean sora-2? Its price is not known." in told
    assert "no known model" not in tell(*words, "wan-2.2", **there).said


@pytest.mark.parametrize(("command", "a"), [("render", "second"), ("image", "picture")])
def test_a_budget_without_a_price_is_refused_before_anything_begins(
    tell: Tell, command: str, a: str
) -> None:
    told = tell(
        *(command, "a kite", "--model", "mine", "--max-cost", "1", "--size", "64x64"),
        OPENAI_BASE_URL="http://127.0.0.1:9/v1",
        PREFECT_SORA_PROFILE="generic",
    )
    assert told.code == exits.USAGE
    assert "is not known, so --max-cost cannot hold. Nothing was paid." in flat(told)
    assert f"give the model's price in PREFECT_SORA_PRICES, as USD a {a}" in (flat(told))
    assert "submitting" not in told.said


@pytest.mark.parametrize("word", ["kite.mp4", "renders/kite/video.mp4", "make it green"])
def test_what_is_no_video_is_said_before_a_server_is_asked(tell: Tell, word: str) -> None:
    told = tell("remix", word, "make it green", OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    assert told.code == exits.USAGE
    assert f"{word!r} is neither a render's key nor a video's id. Nothing was paid." in flat(told)


def test_a_batch_whose_bad_rows_were_left_out_on_purpose_is_kept_in_both_places(
    tell: Tell, tmp_path: Path, renderer: Renderer
) -> None:
    (tmp_path / "some.csv").write_text("prompt,model,take\na kite,m,1\na fox,m,x\n")
    told = tell(
        *("batch", "some.csv", "--skip-bad-rows", *TINY),
        OPENAI_BASE_URL=renderer.base_url,
        **PRICED,
    )
    assert (told.code, "1 of 2 kept, 1 left out" in told.said) == (exits.OK, True)
    (batch,) = json.loads(tell("clips", "--kind", "batch", "--json").said)["clips"]
    assert batch["state"] == "kept"
    assert "1 of 2 kept, 1 left out" in tell("clips").said


def test_what_a_local_render_would_cost_is_nothing_also_where_it_fails() -> None:
    error = SoraError("Off.", paid="unknown")
    error.free = True
    assert error.told("terminal") == "Off. It is free (local)."
