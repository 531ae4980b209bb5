"""Plain: where no Prefect API is configured, a command goes its way without Prefect."""

import asyncio
import csv
import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from prefect_sora.cli import exits
from prefect_sora.cli.commands.making.files import copy_out
from prefect_sora.cli.options import Shown
from prefect_sora.cli.prefect_start import is_configured
from prefect_sora.cli.screen import Screen
from prefect_sora.errors import StorageError
from prefect_sora.store.backends import VideoFolder
from tests.cli.conftest import TINY, Begin, Cli
from tests.support.prefect_server import copy_database
from tests.support.renderer import Renderer, StartRenderer

POLL = ("--poll-interval", "0.1")


@pytest.fixture
def cli(cli: Cli, renderer: Renderer) -> Cli:
    """Commands that know a video server, and no Prefect server."""
    cli.environment.update(OPENAI_BASE_URL=renderer.base_url)
    return cli


@pytest.fixture
def place(store: str) -> tuple[str, ...]:
    """Words that name the store and want JSON."""
    return ("--store", store, "--json")


def is_without_prefect(cli: Cli) -> bool:
    """Whether no temporary server of Prefect has been here."""
    return not (cli.folder / "prefect" / "prefect.db").exists()


def test_a_clip_is_rendered_without_prefect_and_told_as_in_a_run(
    cli: Cli, renderer: Renderer, store: str
) -> None:
    ended = cli("render", "a red kite", *TINY, "--store", store)

    assert ended.code == exits.OK, ended.err
    (video,) = Path(store).glob("a-red-kite-*/video.mp4")
    assert ended.out.startswith(f"✓ {video}  ")
    steps = ["a red kite", "cost  unknown", "submitting", "accepted by", "keeping"]
    assert [ended.err.index(step) for step in steps] == sorted(map(ended.err.index, steps))
    assert "Prefect" not in ended.err
    assert is_without_prefect(cli)
    assert renderer.accepted() == 1


@pytest.mark.slow
def test_a_run_is_made_where_it_is_asked_for(cli: Cli, store: str) -> None:
    home = cli.folder / "prefect"
    home.mkdir()
    copy_database(home)

    ended = cli("render", "a red kite", *TINY, "--store", store, "--prefect")

    assert ended.code == exits.OK, ended.err
    assert "starting Prefect" in ended.err
    with closing(sqlite3.connect(home / "prefect.db")) as database:
        assert database.execute("SELECT name, state_type FROM flow_run").fetchall() == [
            ("text to video · a red kite", "COMPLETED")
        ]


@pytest.mark.slow
def test_what_is_made_of_a_clip_and_its_first_frame_know_what_they_come_from(
    cli: Cli, renderer: Renderer, place: tuple[str, ...]
) -> None:
    kite = cli("render", "a red kite", *TINY, *place).json
    remix = cli("remix", kite["key"], "now blue", *POLL, *place).json
    longer = cli("extend", remix["video_id"], "it lands", "--seconds", "4", *POLL, *place).json
    drawn = cli(
        *("render", "a boat", "--keyframe", "a boat at night", "--image-model", ""), *TINY, *place
    ).json

    assert remix["parent_key"] == kite["key"]
    assert longer["duration_seconds"] == pytest.approx(5, abs=0.1)
    (picture,) = Path(place[1]).glob("a-boat-at-night-*")
    assert picture.name.endswith(drawn["parent_key"])
    assert renderer.accepted() == 4


def test_pictures_are_drawn(cli: Cli, place: tuple[str, ...]) -> None:
    ended = cli("image", "a lantern", "--model", "", "--size", "64x48", "-n", "2", *place)

    assert ended.code == exits.OK, ended.err
    assert [Path(u.removeprefix("file://")).is_file() for u in ended.json["urls"]] == [True, True]


def test_a_batch_writes_what_became_of_its_rows_and_goes_on_where_it_ended(
    cli: Cli, renderer: Renderer, place: tuple[str, ...]
) -> None:
    renderer.faults([{"on": "create", "do": "status:400", "match": "bad"}])
    file = cli.folder / "kites.csv"
    file.write_text("prompt,model,size,seconds\na,wan,64x64,1\nbad,wan,64x64,1\n")
    first = cli("batch", str(file), *POLL, *place)
    again = cli("batch", str(file), *POLL, *place)

    assert (first.code, first.json["kept"], first.json["failed"]) == (exits.FAILED, 1, 1)
    results = Path(first.json["csv_url"].removeprefix("file://"))
    assert (again.code, again.json["kept"]) == (exits.OK, 2), again.err
    assert again.json["csv_url"] == first.json["csv_url"]
    rows = csv.DictReader(results.read_text().splitlines())
    assert [row["outcome"] for row in rows] == ["kept", "kept"]
    assert renderer.accepted() == 2


@pytest.mark.parametrize(
    "words", [("batch", "kites.csv"), ("render", "a", *TINY)], ids=["batch", "render"]
)
def test_what_fails_for_the_moment_is_tried_again(
    cli: Cli, renderer: Renderer, place: tuple[str, ...], words: tuple[str, ...]
) -> None:
    renderer.faults([{"on": "content", "do": "status:500", "times": 3}])
    file = cli.folder / "kites.csv"
    file.write_text("prompt,model,size,seconds\na,wan,64x64,1\n")
    soon: dict[str, Any] = {"download_attempts": 1, "step_pauses_seconds": [0.1, 0.1, 0.1]}
    words = (words[0], str(file), *POLL) if words[0] == "batch" else words
    ended = cli(*words, *place, PREFECT_SORA_LIMITS=json.dumps(soon))

    assert ended.code == exits.OK, ended.err
    assert "Trying again" in ended.err
    assert renderer.accepted() == 1


def test_a_storyboard_becomes_a_film(cli: Cli, place: tuple[str, ...]) -> None:
    board = {"title": "A kite", "size": "64x64", "seconds": 1, "model": "tiny"}
    shots = [{"prompt": "a kite"}, {"prompt": "it lands", "continuity": "last_frame"}]
    file = cli.folder / "board.json"
    file.write_text(json.dumps({**board, "shots": shots}))
    film = cli("storyboard", str(file), *POLL, *place, "-o", "film.mp4")

    assert film.code == exits.OK, film.err
    assert (film.json["shots"], film.json["frames"]) == (2, 48)
    assert (cli.folder / "run-0" / "film.mp4").stat().st_size == film.json["size_bytes"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_says_what_goes_on_and_how_to_continue(
    cli: Cli, renderer: Renderer, store: str, number: signal.Signals
) -> None:
    renderer.faults([{"on": "create", "do": "stall"}])
    running = cli.start("render", "a red kite", *TINY, "--store", store)
    running.until_it_says("rendering")
    running.send(number)
    ended = running.end(20)

    (folder,) = (path.name for path in Path(store).glob("a-red-kite-*"))
    command = f"prefect-sora resume {folder[-12:]} --store {store} --provider {renderer.base_url}"
    assert ended.code == 128 + number
    assert command in ended.err
    assert "Traceback" not in ended.err


def test_an_unfinished_render_of_another_command_stops_it(
    cli: Cli, renderer: Renderer, store: str, begin: Begin
) -> None:
    job = begin(renderer)
    words = ("render", "a red kite", *TINY, "--store", store)

    assert cli(*words).code == exits.UNDECIDED
    shared = cli(*words, "--scope", "last night", "--json")
    assert shared.json["video_id"] == job.video_id
    assert renderer.accepted() == 1


def test_the_fallback_renders_where_the_provider_has_certainly_not(
    cli: Cli, renderer: Renderer, start_renderer: StartRenderer, place: tuple[str, ...]
) -> None:
    other = start_renderer()
    renderer.faults([{"on": "create", "do": "status:401", "times": 9}])
    words = ("render", "a red kite", *TINY, "--fallback", other.base_url)
    ended = cli(*words, *place)
    twice = cli(*words, "--fallback", other.base_url, *place)

    assert ended.code == exits.OK, ended.err
    assert (renderer.accepted(), other.accepted()) == (0, 1)
    assert twice.code == exits.USAGE
    assert "twice" in twice.json["error"]["message"]


@pytest.mark.parametrize(
    ("file", "text", "configured"),
    [
        ("profiles.toml", "", False),
        (
            "profiles.toml",
            'active = "ours"\n[profiles.ours]\nPREFECT_API_URL = "http://127.0.0.1:9/api"\n',
            True,
        ),
        (
            "profiles.toml",
            'active = "ephemeral"\n[profiles.ephemeral]\n[profiles.ours]\n'
            'PREFECT_API_URL = "http://127.0.0.1:9/api"\n',
            False,
        ),
    ],
    ids=["no profile", "the active profile", "another profile"],
)
def test_an_api_of_a_profile_counts_where_the_profile_is_active(
    cli: Cli, store: str, file: str, text: str, configured: bool
) -> None:
    home = cli.folder / "prefect"
    home.mkdir(exist_ok=True)
    (home / file).write_text(text)

    ended = cli("render", "a red kite", *TINY, "--store", store)

    # Nobody answers at that address: as a run it cannot even begin.
    assert ("starting Prefect" in ended.err) is configured
    assert (ended.code != exits.OK) is configured


def test_an_api_of_the_environment_counts() -> None:
    assert is_configured({"PREFECT_API_URL": "http://127.0.0.1:4200/api"})
    assert not is_configured({"PREFECT_HOME": "/nowhere"})


def test_a_copy_that_cannot_be_written_leaves_the_clip_kept_and_says_so(store: str) -> None:
    """It could be written before the render, or else nothing had been paid: so the disk is full."""
    folder = VideoFolder(store)
    asyncio.run(folder.put("a-kite/video.mp4", b"film"))
    with pytest.raises(StorageError) as caught:
        copy_out("a-kite/video.mp4", folder, Path("/proc/kite.mp4"), Screen(Shown()))
    told = caught.value.told("terminal")
    assert exits.exit_code(caught.value) == 8
    assert f"It is kept, as {store}/a-kite/video.mp4; only the copy was not written." in told
    assert "/proc/kite.mp4: it does not exist" in told
    assert "counts as paid" in told
