"""The chaos command: a small storm is withstood, and the verdict sees each broken promise."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.chaos.__main__ import main
from benchmarks.chaos.orders import TWINS_EVERY
from tests.support.renderer import StartRenderer

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow
RENDERS = TWINS_EVERY  # the last is a twin of the one before it


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a small storm leaves: its folder, with its report."""
    folder = tmp_path_factory.mktemp("storm")
    words = ["--renders", f"{RENDERS}", "--minutes", "0.5", "--workers", "2", "--at-once", "4"]
    words += ["--worker-lives", "1.5", "--renderer-lives", "3", "--folder", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.chaos", *words, "--json", str(folder / "report.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def aftermath(storm: Path, tmp_path: Path) -> Path:
    """A copy of what the storm has left, to meddle with."""
    return shutil.copytree(storm, tmp_path / "aftermath")


def test_a_small_storm_kills_and_hinders_and_leaves_every_render_paid_once_and_kept(
    storm: Path,
) -> None:
    report: dict[str, Any] = json.loads((storm / "report.json").read_text())

    assert report["held"]
    assert report["verdict"]["asked"] == report["verdict"]["kept"] == RENDERS
    assert report["tally"]["workers_killed"] + report["tally"]["renderer_killed"] > 0
    assert report["tally"]["workers_died"] == report["tally"]["renderer_died"] == 0
    assert report["tally"]["runs"] > RENDERS
    assert sum(report["faults"].values()) > 0
    assert report["tally"]["peak_bytes"] > 2**20


def test_what_a_storm_has_left_can_be_judged_again(
    aftermath: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--judge", str(aftermath)]) == 0

    assert counts(capsys.readouterr().out) == {
        "lost": 0,
        "double-paid": 0,
        "orphaned": 0,
        "kept": RENDERS,
    }


def test_a_render_that_was_paid_for_twice_fails_the_verdict(
    aftermath: Path, start_renderer: StartRenderer, capsys: pytest.CaptureFixture[str]
) -> None:
    renderer = start_renderer(aftermath / "renderer")
    again = renderer.create("3 kites over the sea")["id"]
    renderer.kill()

    assert main(["--judge", str(aftermath)]) == 1

    printed = capsys.readouterr().out
    assert counts(printed) == {"lost": 0, "double-paid": 1, "orphaned": 1, "kept": RENDERS}
    assert f"orphaned: {again}" in printed


def test_a_second_job_fails_the_verdict_even_if_a_record_names_it(
    aftermath: Path, start_renderer: StartRenderer, capsys: pytest.CaptureFixture[str]
) -> None:
    renderer = start_renderer(aftermath / "renderer")
    again = renderer.create("3 kites over the sea")["id"]
    renderer.kill()
    accepted = next((aftermath / "store").glob("3-kites*/accepted*.json"))
    record = json.loads(accepted.read_text())
    record["attempt"], record["job"]["video_id"] = 9, again
    accepted.with_name("accepted-9.json").write_text(json.dumps(record))

    assert main(["--judge", str(aftermath)]) == 1

    assert counts(capsys.readouterr().out) == {
        "lost": 0,
        "double-paid": 1,
        "orphaned": 0,
        "kept": RENDERS,
    }


@pytest.mark.parametrize("loss", ["no record", "no file", "another file"])
def test_a_render_that_is_not_there_as_recorded_fails_the_verdict(
    aftermath: Path, capsys: pytest.CaptureFixture[str], loss: str
) -> None:
    video = next((aftermath / "store").glob("3-kites*/video.mp4"))
    if loss == "no record":
        next(video.parent.glob("stored*.json")).unlink()
    elif loss == "no file":
        video.unlink()
    else:
        shutil.copy(next((aftermath / "store").glob("4-kites*/video.mp4")), video)

    assert main(["--judge", str(aftermath)]) == 1

    assert counts(capsys.readouterr().out) == {
        "lost": 1,
        "double-paid": 0,
        "orphaned": 0,
        "kept": RENDERS - 1,
    }


def test_a_small_storm_on_a_stranger_is_judged_by_what_it_says_was_paid(tmp_path: Path) -> None:
    words = ["--stranger", '{"models": "dated"}', "--renders", "5", "--minutes", "0.05"]
    words += ["--workers", "1", "--worker-lives", "2", "--renderer-lives", "2"]
    words += ["--folder", str(tmp_path), "--json", str(tmp_path / "report.json")]
    assert main(words) == 0

    report: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
    assert report["verdict"]["asked"] == report["verdict"]["kept"] == 5
    truth = (tmp_path / "renderer" / "jobs.jsonl").read_text().splitlines()
    assert len(truth) == 5

    # What it was paid for behind our back is seen, too.
    again = json.loads(truth[0]) | {"id": "job.9~again"}
    with (tmp_path / "renderer" / "jobs.jsonl").open("a") as log:
        log.write(json.dumps(again) + "\n")
    assert main(["--judge", str(tmp_path)]) == 1


def counts(printed: str) -> dict[str, int]:
    """The verdict as it was printed."""
    return {line.split()[0]: int(line.split()[1]) for line in printed.splitlines()[:4]}
