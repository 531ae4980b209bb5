"""Verbs: a finished video is changed, goes on, is listed and deleted from the command line."""

from pathlib import Path
from typing import Any

import pytest

from prefect_sora.cli import exits
from prefect_sora.cli.commands.server.delete import _refuse_to_lose
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
    return cli("render", "a red kite", *TINY, "--store", store, "--json").json


def test_a_kept_clip_is_edited_and_extended_by_its_key(
    cli: Cli, renderer: Renderer, store: str, kite: Any
) -> None:
    place = ("--store", store, "--json")
    edited = cli.typed("edit", kite["key"], "make it dusk", *POLL, *place).json
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


async def test_a_video_whose_acceptance_a_crash_left_unrecorded_is_not_deleted_by_mistake(
    client: VideoClient, disk: Ledger
) -> None:
    folder = await left_in_doubt(client, disk)
    await disk.claim(client.server.identity, "video_1", key_of(folder))
    with pytest.raises(InvalidRequestError, match="paid for video video_1"):
        await _refuse_to_lose("video_1", client.server, disk)
    await _refuse_to_lose("video_2", client.server, disk)  # nobody's here


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
