"""Render: a prompt becomes a file, and whatever stops it on its way is gone on with."""

import json
import signal
from pathlib import Path

import pytest

from prefect_sora.cli import exits
from tests.cli.conftest import TINY, Begin, Cli
from tests.support.asking import ask
from tests.support.renderer import Renderer, StartRenderer


@pytest.fixture
def cli(cli: Cli, renderer: Renderer, prefect_api: str) -> Cli:
    """Commands that know a video server and a Prefect server."""
    cli.environment.update(OPENAI_BASE_URL=renderer.base_url, PREFECT_API_URL=prefect_api)
    return cli


def test_a_prompt_ends_as_a_file_and_each_step_is_told_in_plain_lines(
    cli: Cli, renderer: Renderer, store: str
) -> None:
    ended = cli.typed("render", "a red kite", *TINY, "--store", store)

    assert ended.code == exits.OK, ended.err
    (video,) = Path(store).glob("a-red-kite-*/video.mp4")
    assert ended.out.startswith(f"✓ {video}  ")
    assert "64x64 · 1.00 s" in ended.out
    steps = ["a red kite", "cost  unknown", "submitting", "accepted by", "keeping"]
    assert [ended.err.index(step) for step in steps] == sorted(map(ended.err.index, steps))
    assert "\x1b" not in ended.out + ended.err
    assert "INFO" not in ended.err
    assert renderer.accepted() == 1


@pytest.mark.slow
def test_with_json_standard_output_is_the_stored_video_and_of_a_remix_the_remix(
    cli: Cli, renderer: Renderer, store: str
) -> None:
    first = cli("render", "a red kite", *TINY, "--store", store, "--json", "--quiet")
    video = first.json
    remix = cli(
        *("render", "the same kite, in blue", "--remix", video["video_id"]),
        *("--poll-interval", "0.1", "--store", store, "--json"),
    )

    assert (first.code, first.err, remix.code) == (exits.OK, "", exits.OK)
    assert Path(video["url"].removeprefix("file://")).stat().st_size == video["size_bytes"]
    assert video["cost_usd"] is None
    assert remix.json["title"] == "the same kite, in blue"
    assert remix.json["video_id"] != video["video_id"]
    assert [request["status"] for request in renderer.requests("remix")] == [200]


def test_a_shot_is_rendered_from_a_file_with_a_template_of_ones_own(
    cli: Cli, renderer: Renderer, store: str, tmp_path: Path
) -> None:
    shot, template = tmp_path / "shot.yaml", tmp_path / "own.j2"
    shot.write_text("subject: a red kite\ncamera_movement: static\n")
    template.write_text("{{ subject }} at night, {{ camera_movement }}")

    ended = cli(
        *("render", "--shot", str(shot), "--template", str(template), *TINY),
        *("--store", store, "--json"),
    )

    assert ended.code == exits.OK, ended.err
    (record,) = Path(store).glob("a-red-kite-at-night-*/reserved.json")
    asked = json.loads(record.read_text())["request"]["prompt"]
    assert asked == "a red kite at night, the camera stands still on a tripod"
    assert renderer.accepted() == 1


@pytest.mark.parametrize("words", [(), ("a red kite", "--shot", "shot.yaml")])
def test_a_prompt_and_a_shot_are_one_or_the_other(
    cli: Cli, renderer: Renderer, words: tuple[str, ...]
) -> None:
    ended = cli("render", *words, *TINY)

    assert ended.code == exits.USAGE
    assert "PROMPT and --shot FILE are both" in ended.err
    assert renderer.requests() == []


def test_a_video_that_ends_without_success_is_a_paragraph_and_an_exit_code(
    cli: Cli, renderer: Renderer, store: str
) -> None:
    renderer.faults([{"on": "create", "do": "moderate"}])

    ended = cli("render", "something forbidden", *TINY, "--store", store)

    assert ended.code == 4
    assert ended.out == ""
    last = ended.err.strip().splitlines()[-1]
    assert last.startswith("✗ Refused by moderation (moderation_blocked): Your request was blocked")
    assert "docs/guardrails.md" in last
    assert "Traceback" not in ended.err
    assert "Encountered exception" not in ended.err


def test_killed_while_it_waits_it_is_brought_home_without_paying_again(
    cli: Cli, start_renderer: StartRenderer, store: str
) -> None:
    slow = start_renderer(min_render_seconds=3)
    words = ("render", "a red kite", *TINY, "--store", store)
    cli.environment["OPENAI_BASE_URL"] = slow.base_url
    running = cli.start(*words)
    running.until_it_says("rendering")
    running.send(signal.SIGKILL)
    assert running.end().code == -signal.SIGKILL

    again = cli(*words)
    home = cli("resume", "--store", store)

    assert again.code == exits.UNDECIDED
    assert "an unfinished render of the same request" in again.err
    assert "prefect-sora resume" in again.err
    assert "--anew" in again.err
    assert home.code == exits.OK, home.err
    assert len(list(Path(store).glob("a-red-kite-*/video.mp4"))) == 1
    assert slow.accepted() == 1


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_stopped_it_says_what_goes_on_and_how_to_continue(
    cli: Cli,
    renderer: Renderer,
    prefect_api: str,
    store: str,
    number: signal.Signals,
    code: int,
) -> None:
    renderer.faults([{"on": "create", "do": "stall"}])
    running = cli.start("render", "a red kite", *TINY, "--store", store, "--json")
    running.until_it_says("rendering")
    running.send(number)
    ended = running.end(20)

    (job,) = ask.get(f"{renderer.base_url}/videos").json()["data"]
    (folder,) = (path.name for path in Path(store).glob("a-red-kite-*"))
    key = folder.rpartition("-")[2]
    assert ended.code == ended.json["error"]["exit_code"] == code
    assert f"Video {job['id']} (render {key}) goes on rendering" in ended.err
    assert f"prefect-sora resume {key} --store {store} --provider {renderer.base_url}" in ended.err
    assert "Traceback" not in ended.err
    assert renderer.requests("delete") == []
    # Other tests' runs may be scheduled for later, on the same Prefect server.
    named = {"flow_runs": {"name": {"any_": ["text to video · a red kite"]}}}
    newest = named | {"sort": "START_TIME_DESC", "limit": 1}
    (run,) = ask.post(f"{prefect_api}/flow_runs/filter", json=newest).json()
    assert run["state_type"] == "CRASHED"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_before_anything_was_sent_it_says_that_nothing_was_paid(
    cli: Cli, renderer: Renderer, store: str, number: signal.Signals
) -> None:
    running = cli.start("render", "a red kite", *TINY, "--store", store)
    running.until_it_says("starting Prefect")
    running.send(number)
    ended = running.end(20)

    assert ended.code == 128 + number
    assert ended.err.endswith("✗ Stopped. Nothing was sent, so nothing was paid.\n")
    assert renderer.requests() == []


def test_an_unfinished_render_of_the_same_scope_is_simply_continued(
    cli: Cli, renderer: Renderer, store: str, begin: Begin
) -> None:
    job = begin(renderer, "a red kite")

    ended = cli("render", "a red kite", *TINY, "--store", store, "--scope", "last night", "--json")

    assert ended.code == exits.OK, ended.err
    assert ended.json["video_id"] == job.video_id
    assert renderer.accepted() == 1


def test_anew_pays_for_another_one(cli: Cli, renderer: Renderer, store: str, begin: Begin) -> None:
    begin(renderer, "a red kite")

    ended = cli("render", "a red kite", *TINY, "--store", store, "--anew")

    assert ended.code == exits.OK, ended.err
    assert renderer.accepted() == 2


@pytest.mark.slow
def test_a_saved_block_renders(cli: Cli, renderer: Renderer, prefect: str, store: str) -> None:
    from prefect_sora import OpenAICredentials

    OpenAICredentials(base_url=renderer.base_url).save("cli-test", overwrite=True)

    ended = cli(
        *("render", "a red kite", *TINY, "--store", store, "--json"),
        *("--provider", "sora-openai-credentials/cli-test"),
    )
    missing = cli(
        *("render", "a red kite", *TINY, "--store", store),
        *("--provider", "sora-openai-credentials/nobody"),
    )

    assert ended.code == exits.OK, ended.err
    assert missing.code == exits.USAGE
    assert "no block sora-openai-credentials/nobody" in missing.err
    assert renderer.accepted() == 1


@pytest.mark.slow
def test_on_a_fresh_machine_it_needs_no_server_and_no_account(cli: Cli, store: str) -> None:
    del cli.environment["PREFECT_API_URL"]

    ended = cli.typed("render", "a red kite", "--provider", "local", *TINY, "--store", store)

    assert ended.code == exits.OK, ended.err
    assert "cost  $0.00 (local)" in ended.err
    assert "made by local" in ended.out
    assert "temporary server" not in ended.err


def test_where_the_provider_has_certainly_not_rendered_it_the_fallback_does(
    cli: Cli, renderer: Renderer, store: str
) -> None:
    renderer.faults([{"on": "create", "do": "status:401", "times": 9}])
    ended = cli("render", "a red kite", *TINY, "--fallback", "local", "--store", store, "--json")
    assert ended.code == exits.OK, ended.err
    assert ended.json["provider"] == "local"
    assert renderer.accepted() == 0
