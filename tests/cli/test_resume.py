"""Resume: what was paid for comes home, and is not paid again."""

import json
from pathlib import Path

import httpx2
import pytest

from prefect_sora.cli import exits
from prefect_sora.errors import UncertainSubmitError
from tests.cli.conftest import Begin, Cli
from tests.support.renderer import Renderer, StartRenderer


@pytest.mark.slow
def test_a_key_brings_its_render_home_without_paying_again(
    cli: Cli, renderer: Renderer, store: str, begin: Begin
) -> None:
    job = begin(renderer)

    ended = cli.typed("resume", job.key, "--store", store, OPENAI_BASE_URL=renderer.base_url)

    video = Path(store) / job.folder / "video.mp4"
    assert ended.code == exits.OK, ended.err
    assert ended.out.startswith(f"✓ {video}")
    assert job.video_id in ended.out
    assert video.read_bytes()[4:8] == b"ftyp"
    assert renderer.accepted() == 1


def test_without_a_key_all_of_this_server_come_home_and_others_are_named(
    cli: Cli, renderer: Renderer, start_renderer: StartRenderer, store: str, begin: Begin
) -> None:
    other = start_renderer()
    jobs = [begin(renderer, prompt) for prompt in ("a kite", "a boat")]
    elsewhere = begin(other, "a fox")

    ended = cli("resume", "--store", store, "--json", OPENAI_BASE_URL=renderer.base_url)

    found = {render["key"]: render for render in ended.json["renders"]}
    assert [found[job.key]["outcome"] for job in jobs] == ["kept", "kept"]
    assert found[elsewhere.key]["outcome"] == "skipped"
    assert other.base_url in found[elsewhere.key]["error"]["message"]
    assert f"- It was sent to {other.base_url}" in ended.err
    assert ended.code == exits.UNDECIDED
    assert other.requests("retrieve") == []


@pytest.mark.parametrize("by_key", [True, False], ids=["named by its key", "among all"])
def test_a_render_of_a_later_version_is_told_and_left_and_the_others_come_home(
    cli: Cli, renderer: Renderer, store: str, begin: Begin, by_key: bool
) -> None:
    ours, later = begin(renderer, "a kite"), begin(renderer, "a boat")
    record = Path(store) / later.folder / "accepted.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"schema_version": 99}))
    keys = (later.key, ours.key) if by_key else ()

    ended = cli("resume", *keys, "--store", store, "--json", OPENAI_BASE_URL=renderer.base_url)

    found = {render["key"]: render for render in ended.json["renders"]}
    assert found[ours.key]["outcome"] == "kept"
    assert found[later.key]["error"]["type"] == "NewerStoreError"
    assert "pip install -U prefect-sora" in ended.err
    assert ended.code != exits.OK


def test_nothing_unfinished_is_fine(cli: Cli, renderer: Renderer, store: str, begin: Begin) -> None:
    Path(store).mkdir()
    assert cli("resume", "--store", store).code == exits.OK

    begin(renderer)
    assert cli("resume", "--store", store, OPENAI_BASE_URL=renderer.base_url).code == exits.OK
    again = cli("resume", "--store", store, "--json", OPENAI_BASE_URL=renderer.base_url)
    assert (again.code, again.json) == (exits.OK, {"renders": []})


def test_the_beginning_of_a_key_is_enough_where_only_one_begins_so(
    cli: Cli, renderer: Renderer, store: str, begin: Begin
) -> None:
    job, other = begin(renderer, "a kite"), begin(renderer, "a boat")
    common = next(n for n in range(12) if job.key[: n + 1] != other.key[: n + 1])

    unique = cli(
        "resume", job.key[: common + 1], "--store", store, OPENAI_BASE_URL=renderer.base_url
    )
    ambiguous = cli("resume", job.key[:common], "--store", store)
    unknown = cli("resume", "zz", "--store", store)

    assert unique.code == exits.OK, unique.err
    assert ambiguous.code == unknown.code == exits.USAGE
    assert "Give more of the key" in ambiguous.err
    assert "no render whose key begins with 'zz'" in unknown.err


def test_a_key_of_another_server_says_which_server_it_is(
    cli: Cli, renderer: Renderer, start_renderer: StartRenderer, store: str, begin: Begin
) -> None:
    job = begin(renderer)

    ended = cli("resume", job.key, "--store", store, OPENAI_BASE_URL=start_renderer().base_url)

    assert ended.code == exits.USAGE
    assert f"It was sent to {renderer.base_url}" in ended.err
    assert job.key in ended.err


def test_a_timeout_says_that_it_goes_on_rendering(
    cli: Cli, renderer: Renderer, store: str, begin: Begin
) -> None:
    renderer.faults([{"on": "create", "do": "stall"}])
    job = begin(renderer)

    ended = cli(
        *("resume", job.key, "--store", store, "--timeout", "0.5", "--json"),
        OPENAI_BASE_URL=renderer.base_url,
    )

    (render,) = ended.json["renders"]
    assert ended.code == render["error"]["exit_code"] == 6
    assert render["error"]["type"] == "RenderTimeoutError"
    assert (render["error"]["key"], render["error"]["paid"]) == (job.key, "yes")
    command = f"`prefect-sora resume {job.key} --store {store}`"
    assert command in ended.err
    assert command in render["error"]["next_step"]


def test_a_render_that_the_server_has_forgotten_says_how_to_pay_for_it_again(
    cli: Cli, renderer: Renderer, store: str, begin: Begin
) -> None:
    job = begin(renderer)
    renderer.reset()

    ended = cli(
        *("resume", job.key, "--store", store, "--provider", "openai", "--poll-interval", "0.05"),
        OPENAI_BASE_URL=renderer.base_url,
        OPENAI_API_KEY="none",
        PREFECT_SORA_PROFILE='{"lost_after_s": 0.3}',
    )

    assert ended.code == 7
    command = f"prefect-sora resume {job.key} --resubmit --store {store} --provider openai"
    assert f"`{command}`" in ended.err


def test_a_render_in_doubt_is_decided_by_the_person_who_names_its_video(
    cli: Cli, renderer: Renderer, store: str, begin: Begin
) -> None:
    renderer.faults(
        [
            {"on": "create", "do": "drop_after"},
            {"on": "list", "do": "status:404", "times": None},
        ]
    )
    with pytest.raises(UncertainSubmitError) as doubt:
        begin(renderer)
    key = str(doubt.value.key)
    renderer.clear_faults()
    (made,) = httpx2.get(f"{renderer.base_url}/videos").json()["data"]
    environment = {"OPENAI_BASE_URL": renderer.base_url}

    ended = cli("resume", key, "--adopt", made["id"], "--store", store, **environment)

    assert ended.code == exits.OK, ended.err
    assert renderer.accepted() == 1


def test_paying_again_needs_a_key(cli: Cli, store: str) -> None:
    ended = cli("resume", "--resubmit", "--store", store)

    assert ended.code == exits.USAGE
    assert "pays again" in ended.err
    assert f"`prefect-sora resume KEY --resubmit --store {store}`" in ended.err


def test_a_render_of_the_local_renderer_finds_it_by_itself(
    cli: Cli, start_renderer: StartRenderer, store: str, begin: Begin
) -> None:
    renderer = start_renderer(cli.folder / "local")
    job = begin(renderer, local=True)

    ended = cli("resume", "--store", store)

    assert ended.code == exits.OK, ended.err
    assert job.key in ended.out
    assert "cost $0.00" in ended.out
    assert renderer.accepted() == 1


def test_a_renderer_of_another_folder_is_not_taken_for_it_nor_started(
    cli: Cli, renderer: Renderer, store: str, begin: Begin
) -> None:
    begin(renderer, local=True)

    ended = cli("resume", "--store", store)

    assert ended.code == exits.UNDECIDED
    assert "PREFECT_SORA_LOCAL_FOLDER" in ended.err
    assert not (cli.folder / "local").exists()


@pytest.mark.parametrize("command", ["resume", "clips", "costs"])
def test_a_folder_that_is_not_there_is_no_empty_store_and_is_not_made(
    cli: Cli, command: str
) -> None:
    nowhere = cli.folder / "nowhere"
    ended = cli(command, "--store", str(nowhere))
    assert ended.code == exits.USAGE
    assert f"There is no folder {nowhere}." in ended.err
    assert not nowhere.exists()
