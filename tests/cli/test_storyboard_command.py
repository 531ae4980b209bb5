"""Storyboard: a file becomes a film, and the same command goes on with it."""

import json
import signal
from pathlib import Path

import pytest

from prefect_sora.cli import exits
from prefect_sora.requests import storyboard as storyboards
from tests.cli.conftest import Cli
from tests.support.renderer import Renderer, StartRenderer

BOARD = """
title: The red kite
chain: last_frame
model:
size: 64x64
seconds: 1
shots:
- prompt: a red kite
- title: The fall
  prompt: {subject: a red kite, action: drops, camera_movement: tilt down}
"""
QUICK = ("--poll-interval", "0.1")


@pytest.fixture
def cli(cli: Cli, renderer: Renderer, prefect_api: str) -> Cli:
    """Commands that know a video server and a Prefect server."""
    cli.environment.update(OPENAI_BASE_URL=renderer.base_url, PREFECT_API_URL=prefect_api)
    return cli


@pytest.fixture
def board(tmp_path: Path) -> str:
    path = tmp_path / "kite.yaml"
    path.write_text(BOARD)
    return str(path)


@pytest.mark.slow
def test_a_file_becomes_a_film_and_the_same_command_pays_for_nothing_again(
    cli: Cli, renderer: Renderer, board: str, store: str
) -> None:
    ended = cli.typed("storyboard", board, *QUICK, "--store", store)

    assert ended.code == exits.OK, ended.err
    (film,) = Path(store).glob("films/the-red-kite-*/film.mp4")
    assert ended.out.startswith(f"✓ {film}  ")
    assert "2 shots, joined as they are · 64x64 · 2.00 s · cost unknown" in ended.out
    assert f"{film.parent}/cut_list.json" in ended.out
    steps = ["The red kite", "2 shots · 2 renders · 64x64 · 2 s", "accepted by", "joining 2 shots"]
    assert [ended.err.index(step) for step in steps] == sorted(map(ended.err.index, steps))

    again = cli("storyboard", board, *QUICK, "--store", store, "--json")

    assert (
        again.json["sha256"]
        == json.loads((film.parent / "cut_list.json").read_text())["film"]["sha256"]
    )
    assert renderer.accepted() == 2
    assert len(renderer.requests("create")) == 2


@pytest.mark.slow
def test_a_changed_shot_alone_is_paid_for_anew(
    cli: Cli, renderer: Renderer, board: str, store: str
) -> None:
    assert cli("storyboard", board, *QUICK, "--store", store).code == exits.OK
    Path(board).write_text(BOARD.replace("drops", "climbs"))
    assert cli("storyboard", board, *QUICK, "--store", store).code == exits.OK
    assert renderer.accepted() == 3
    assert len(list(Path(store).glob("films/*/film.mp4"))) == 2


@pytest.mark.slow
def test_killed_in_its_middle_the_same_command_goes_on(
    cli: Cli, start_renderer: StartRenderer, board: str, store: str
) -> None:
    slow = start_renderer(min_render_seconds=2)
    cli.environment["OPENAI_BASE_URL"] = slow.base_url
    running = cli.start("storyboard", board, *QUICK, "--store", store)
    running.until_it_says("rendering")
    running.send(signal.SIGKILL)
    assert running.end().code == -signal.SIGKILL

    ended = cli("storyboard", board, *QUICK, "--store", store)

    assert ended.code == exits.OK, ended.err
    assert slow.accepted() == 2


def test_stopped_it_says_what_goes_on_and_how_to_continue(
    cli: Cli, renderer: Renderer, board: str, store: str
) -> None:
    renderer.faults([{"on": "create", "do": "stall"}])
    running = cli.start("storyboard", board, *QUICK, "--store", store)
    running.until_it_says("rendering")
    running.send(signal.SIGINT)
    ended = running.end(20)

    assert ended.code == 130
    assert "goes on rendering" in ended.err
    assert "The same command goes on with the film, and pays for nothing twice." in ended.err


def test_the_schema_is_printed_and_nothing_else(cli: Cli) -> None:
    ended = cli("storyboard", "--schema")
    assert ended.json == storyboards.schema()
    assert ended.err == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "No storyboard is given"),
        (("nowhere.yaml",), 'The storyboard file "nowhere.yaml" does not exist'),
        (("BOARD", "--max-concurrent", "0"), "--max-concurrent is 1 or more"),
    ],
)
def test_bad_usage_sends_nothing(
    cli: Cli, renderer: Renderer, board: str, store: str, words: tuple[str, ...], said: str
) -> None:
    words = tuple(board if word == "BOARD" else word for word in words)
    ended = cli("storyboard", *words, "--store", store)
    assert ended.code == exits.USAGE
    assert said in ended.err
    assert renderer.requests() == []
