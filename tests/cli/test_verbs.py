"""Verbs: a finished video is changed, goes on, is listed and deleted from the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from prefect_sora.cli import exits
from prefect_sora.cli.commands.server.delete import _kept
from prefect_sora.errors import InvalidRequestError
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.identity import key_of
from prefect_sora.store.ledger import Ledger
from tests.cli.conftest import TINY, Begin, Cli
from tests.support.renderer import Renderer
from tests.support.renders import left_in_doubt

POLL = ("--poll-interval", "0.1")


@pytest.fixture
def cli(cli: Cli, renderer: Renderer, prefect_api: str) -> Cli:
    """Commands that know a video server and a Prefect server."""
    cli.environment.update(OPENAI_BASE_URL=renderer.base_url, PREFECT_API_URL=prefect_api)
    return cli


@pytest.fixture
def kite(cli: Cli, store: str) -> Any:
    """A kept clip."""
    return cli("render", "a red kite", *TINY, "--store", store, "--json", "--no-prefect").json


@pytest.mark.slow
def test_a_kept_clip_is_edited_and_extended_by_its_key(
    cli: Cli, renderer: Renderer, store: str, kite: Any
) -> None:
    place = ("--store", store, "--json")
    edited = cli("edit", kite["key"], "make it dusk", *POLL, *place).json
    longer = cli("extend", edited["key"], "it lands", "--seconds", "4", *POLL, *place).json
    assert [edited["parent_key"], longer["parent_key"]] == [kite["key"], edited["key"]]
    assert longer["duration_seconds"] == pytest.approx(5, abs=0.1)
    assert renderer.accepted() == 3


def test_what_the_server_holds_is_listed_with_what_is_kept(
    cli: Cli, renderer: Renderer, store: str, kite: Any
) -> None:
    other = renderer.create("a blue kite")
    renderer.finished(other["id"])
    listed = cli("list", "--store", store, "--json").json["videos"]
    assert {(v["video_id"], v["key"], bool(v["kept"])) for v in listed} == {
        (other["id"], None, False),
        (kite["video_id"], kite["key"], True),
    }
    table = cli("list", "--store", store, "--limit", "1").out
    assert other["id"] in table
    assert kite["video_id"] not in table


def test_a_video_that_is_paid_for_and_not_kept_is_not_deleted_by_mistake(
    cli: Cli, renderer: Renderer, store: str, begin: Begin
) -> None:
    job = begin(renderer)
    refused = cli("delete", job.video_id, "--store", store)
    assert refused.code == exits.USAGE
    assert f"prefect-sora resume {job.key}" in " ".join(refused.err.split())
    assert renderer.requests("delete") == []
    assert cli("delete", job.video_id, "--store", store, "--unkept").code == exits.OK
    assert cli("list", "--store", store).out.strip().endswith("holds no such video.")


def test_what_was_never_there_is_not_said_to_be_deleted(
    cli: Cli, renderer: Renderer, store: str
) -> None:
    ended = cli("delete", "video_nobody", "--store", store, "--yes")
    assert ended.code == 7
    assert "is deleted" not in ended.out
    assert "nothing to delete there" in ended.err
    assert renderer.requests("delete") == []


def test_a_video_that_this_store_has_not_kept_is_deleted_only_where_somebody_agrees(
    cli: Cli, renderer: Renderer, store: str
) -> None:
    video = renderer.create("another's kite")
    renderer.finished(video["id"])
    refused = cli("delete", video["id"], "--store", store)
    assert refused.code == exits.USAGE
    assert f"has not kept {video['id']} (completed)" in " ".join(refused.err.split())
    assert renderer.requests("delete") == []
    assert cli("delete", video["id"], "--store", store, "--yes").code == exits.OK
    assert len(renderer.requests("delete")) == 1


def test_a_kept_video_is_deleted_by_its_key_without_a_question(
    cli: Cli, renderer: Renderer, store: str, kite: Any
) -> None:
    ended = cli("delete", kite["key"], "--store", store)
    assert (ended.code, kite["video_id"] in ended.out) == (exits.OK, True), ended.err
    assert Path(kite["url"].removeprefix("file://")).exists()


def test_a_video_is_retrieved_and_downloaded_by_its_key_or_its_id(
    cli: Cli, renderer: Renderer, store: str, kite: Any, tmp_path: Path
) -> None:
    for word in (kite["key"], kite["video_id"]):
        found = cli("retrieve", word, "--store", store, "--json").json
        assert (found["status"], found["key"], found["kept"]) == (
            "completed",
            kite["key"],
            kite["url"],
        )
        file = tmp_path / f"{word}.mp4"
        done = cli("download", word, "--store", store, "-o", str(file), "--json")
        assert done.json == {"path": str(file), "size_bytes": kite["size_bytes"]}, done.err
        assert file.stat().st_size == kite["size_bytes"]
    renderer.reset()
    assert cli("download", kite["key"], "--store", store).code == exits.OK, "the store has it"


def test_a_job_is_cancelled_by_its_key_and_may_be_sent_anew(
    cli: Cli, renderer: Renderer, store: str, begin: Begin
) -> None:
    renderer.faults([{"on": "create", "do": "stall"}])
    job = begin(renderer)
    ended = cli("cancel", job.key, "--store", store, "--json")
    assert (ended.code, ended.json["video_id"]) == (exits.OK, job.video_id), ended.err
    again = cli("render", "a red kite", *TINY, "--store", store, "--scope", "last night")
    assert again.code == exits.OK, again.err
    for word in (job.key, "video_nobody", "0123456789ab"):
        assert cli("cancel", word, "--store", store).code == exits.USAGE


def test_a_list_says_that_there_is_more_and_how_to_see_it(
    cli: Cli, renderer: Renderer, store: str
) -> None:
    ids = [renderer.create(f"kite {n}")["id"] for n in range(3)][::-1]
    first = cli("list", "--limit", "2", "--store", store)
    assert f"--after {ids[1]} shows the next" in first.err
    rest = cli("list", "--limit", "2", "--after", ids[1], "--store", store, "--json")
    assert [video["video_id"] for video in rest.json["videos"]] == ids[2:]
    assert (rest.json["has_more"], rest.err) == (False, "")
    every = cli("list", "--limit", "2", "--all", "--store", store, "--json").json
    assert ([video["video_id"] for video in every["videos"]], every["has_more"]) == (ids, False)


@pytest.mark.slow
def test_a_derived_clip_is_held_to_a_budget_and_takes_further_fields(
    cli: Cli, renderer: Renderer, store: str, kite: Any
) -> None:
    place = (*POLL, "--store", store, "--json")
    over = cli("edit", kite["key"], "make it dusk", "--max-cost", "0.01", *place)
    assert (over.code, over.json["error"]["paid"]) == (exits.USAGE, "no"), over.err
    done = cli("edit", kite["key"], "make it dusk", "--extra", "seed=7", *place)
    assert done.code == exits.OK, done.err
    record = json.loads((Path(store) / done.json["folder"] / "reserved.json").read_text())
    assert record["request"]["extra"] == {"seed": 7}


async def test_a_video_whose_acceptance_a_crash_left_unrecorded_is_not_deleted_by_mistake(
    client: VideoClient, disk: Ledger
) -> None:
    folder = await left_in_doubt(client, disk)
    await disk.claim(client.server.identity, "video_1", key_of(folder))
    with pytest.raises(InvalidRequestError, match="paid for video video_1"):
        await _kept("video_1", client.server, disk, unkept=False)
    assert not await _kept("video_1", client.server, disk, unkept=True)
    assert not await _kept("video_2", client.server, disk, unkept=False)  # nobody's here


def test_what_is_kept_is_deleted_only_when_told_to_and_stays_kept(
    cli: Cli, renderer: Renderer, store: str, kite: Any
) -> None:
    words = ("delete", "--kept", "--older-than", "0", "--store", store)
    assert "would be deleted" in cli(*words).out
    assert renderer.requests("delete") == []
    assert cli(*words, "--yes").code == exits.OK
    assert len(renderer.requests("delete")) == 1
    assert Path(kite["url"].removeprefix("file://")).exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("delete",), "either VIDEO ids or --kept"),
        (("extend", "video_1", "it lands", "--seconds", "5"), "4, 8, 12, 16 or 20 seconds"),
        (("edit", "0123456789ab", "make it dusk"), "keeps no render 0123456789ab"),
        (("edit", "video_1", " "), "prompt is empty"),
    ],
    ids=["nothing to delete", "an odd length", "no such render", "nothing to change"],
)
def test_bad_words_are_told_and_nothing_is_sent(
    cli: Cli, renderer: Renderer, store: str, words: tuple[str, ...], said: str
) -> None:
    ended = cli(*words, "--store", store)
    assert ended.code == exits.USAGE
    assert said in " ".join(ended.err.split())
    assert renderer.requests() == []


def test_a_video_that_is_not_there_is_named(cli: Cli, store: str) -> None:
    ended = cli("edit", "video_nobody", "make it dusk", *POLL, "--store", store)
    assert ended.code != exits.OK
    assert "video_nobody" in ended.err
