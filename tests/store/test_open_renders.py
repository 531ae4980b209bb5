"""Openings: an open render has a marker, whatever died when; a closed one soon has none."""

import asyncio
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import Any

import pytest

from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.limits import limits
from prefect_sora.renders.submit.prepare import PreparedVideo, identify
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import remote
from prefect_sora.servers.video_prices import read_prices
from prefect_sora.store import open_renders
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.identity import new_owner
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.payments import day_of
from prefect_sora.store.records import Failed, Reserved
from tests.support.limits import Limit
from tests.support.renders import a_dead_process, clip

V1 = Path(__file__).parents[1] / "data" / "records-v1"


@pytest.fixture
async def nobody() -> Any:
    client = VideoClient(remote("http://127.0.0.1:9/v1", prices=read_prices({"*": 0.10})))
    yield client
    await client.close()


@pytest.fixture(autouse=True)
def as_processes_meet_a_store() -> Iterator[None]:
    """Forget what this process knows of stores."""
    yield
    for known in (open_renders._entered, open_renders._marked, open_renders._began):
        known.clear()


async def prepare_one(client: VideoClient, **fields: Any) -> tuple[PreparedVideo, Reserved]:
    prepared = await identify(clip(**fields), client, "tonight")
    return prepared, prepared.reservation(client.server, 1, None)


def job_of(prepared: PreparedVideo, mine: Reserved) -> VideoJob:
    return VideoJob(
        key=mine.key, attempt=mine.attempt, folder=prepared.folder,
        video_id=f"video_{mine.attempt}", provider=mine.provider,
        title="a kite", model="sora-2", size="64x64", seconds=1,
        submitted_at=mine.at, adopted=False, cost_usd=0.1,
    )  # fmt: skip


def video_of(job: VideoJob) -> StoredVideo:
    return StoredVideo(
        **job.model_dump(include=set(StoredVideo.model_fields)), url="s3://x", sha256="0" * 64,
        size_bytes=1, width=64, height=64, duration_seconds=1.0, created_at=time(),
    )  # fmt: skip


def refused(mine: Reserved) -> Failed:
    return Failed(key=mine.key, attempt=mine.attempt, at=time(), kind="refused", message="no")


def next_of(mine: Reserved) -> Reserved:
    return mine.model_copy(update={"attempt": mine.attempt + 1, "owner": new_owner()})


async def markers(ledger: Ledger) -> list[str]:
    return [name for name in await ledger.store.names(".open") if "~" in name]


async def really_open(ledger: Ledger) -> list[str]:
    states = [await ledger.state(folder) for folder in await ledger.folders()]
    return [state.folder for state in states if state.is_open]


class DeadError(BaseException):
    """The process ends here."""


@contextlib.contextmanager
def dying_at(point: int) -> Iterator[list[str]]:
    """End the process before one of the store's changes, counted from 1."""
    passed: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for verb in ("create", "put", "delete"):
            original = getattr(VideoFolder, verb)

            async def counted(
                self: VideoFolder, *args: Any, _o: Any = original, **more: Any
            ) -> Any:
                passed.append(f"{_o.__name__} {args[0]}")
                if len(passed) >= point:
                    raise DeadError
                return await _o(self, *args, **more)

            patch.setattr(VideoFolder, verb, counted)
        yield passed


@pytest.mark.parametrize("end", ["kept", "failed", "kept at the second attempt"])
async def test_whichever_step_is_the_last_an_open_render_is_found(
    nobody: VideoClient, tmp_path: Path, end: str
) -> None:
    point, died = 0, True
    while died:
        point += 1
        ledger = Ledger(VideoFolder(str(tmp_path / f"{point}")))
        prepared, mine = await prepare_one(nobody)

        async def run(
            ledger: Ledger = ledger, prepared: PreparedVideo = prepared, mine: Reserved = mine
        ) -> None:
            assert await ledger.reserve(prepared.folder, mine)
            if end != "kept":
                await ledger.fail(prepared.folder, refused(mine), mine)
            if end == "failed":
                return
            if end != "kept":
                mine = next_of(mine)
                assert await ledger.reserve(prepared.folder, mine)
            job = await ledger.accept(prepared.folder, job_of(prepared, mine))
            await ledger.keep(prepared.folder, video_of(job), mine)

        with dying_at(point):
            try:
                await run()
                died = False
            except DeadError:
                pass
        ledger.release(mine)
        expected = await really_open(ledger)

        found = await ledger.unfinished(tidy=True)

        assert [state.folder for state in found] == expected, f"died at {point}"
        assert [state == await ledger.state(state.folder) for state in found] == [True] * len(found)
        if await ledger.folders() and not expected:
            # One that died between its marker and its reservation may live, for all we know.
            begun = {state.attempt for state in await ledger.attempts(prepared.folder)}
            left = [name for name in await markers(ledger) if int(name.split("~")[1]) in begun]
            assert left == [], f"died at {point}"
            period = day_of(mine.at)
            costs = [0.1] if (await ledger.state(prepared.folder)).stored else []
            assert await ledger.paid(period, found) == costs, f"died at {point}"
    assert point >= 5


async def test_a_late_answer_opens_again_what_others_have_closed(
    nobody: VideoClient, ledger: Ledger, limit: Limit
) -> None:
    prepared, first = await prepare_one(nobody)
    first = first.model_copy(update={"at": time() - 2 * limits().marker_seconds})
    assert await ledger.reserve(prepared.folder, first)
    second = next_of(first)
    assert await ledger.reserve(prepared.folder, second)
    await ledger.fail(prepared.folder, refused(second), second)
    assert await ledger.unfinished(tidy=True) == []

    assert await markers(ledger) == []
    limit(mark_again_seconds=0.0)  # a long time has passed since it began
    await ledger.accept(prepared.folder, job_of(prepared, first))

    (state,) = await ledger.unfinished(tidy=True)
    assert (state.name, state.attempt) == ("accepted", 1)


@pytest.mark.slow
async def test_the_loser_of_a_race_leaves_the_winners_marker_alone(
    nobody: VideoClient, ledger: Ledger
) -> None:
    prepared, mine = await prepare_one(nobody)
    rivals = [mine.model_copy(update={"owner": new_owner()}) for _ in range(8)]
    won = await asyncio.gather(*(ledger.reserve(prepared.folder, rival) for rival in rivals))
    (winner,) = [rival for rival, has in zip(rivals, won, strict=True) if has]
    (marker,) = await markers(ledger)
    assert winner.owner.token[:8] in marker


async def test_a_store_of_an_earlier_version_is_looked_at_once(
    tmp_path: Path, nobody: VideoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(V1, tmp_path / "renders")
    ledger = Ledger(VideoFolder(str(tmp_path / "renders")))
    both = await asyncio.gather(ledger.unfinished(tidy=True), ledger.unfinished(tidy=True))
    expected = ["a-fox-on-its-way-b0c52f807e93", "a-lighthouse-in-doubt-deb7365544ae"]
    assert [[state.folder for state in found] for found in both] == [expected, expected]
    assert (await ledger.state(expected[1])).reserved

    open_renders._marked.clear()
    monkeypatch.setattr(open_renders, "folders_and_names", None)  # it is not looked at again
    assert [state.folder for state in await ledger.unfinished(tidy=True)] == expected


async def test_what_an_earlier_version_begins_beside_us_is_found_within_a_week(
    nobody: VideoClient, ledger: Ledger, limit: Limit
) -> None:
    prepared, mine = await prepare_one(nobody, take=2)
    assert await ledger.reserve(prepared.folder, mine)
    await ledger.fail(prepared.folder, refused(mine), mine)
    old, theirs = await prepare_one(nobody)
    theirs = theirs.model_copy(update={"owner": a_dead_process()})
    name = f"{old.folder}/reserved.json"
    assert await ledger.store.create(name, theirs.model_dump_json().encode())
    assert await ledger.unfinished(tidy=True) == []
    limit(look_at_all_seconds=0.0)
    assert [state.folder for state in await ledger.unfinished(tidy=True)] == [old.folder]


async def test_what_a_version_without_an_index_has_paid_is_counted(
    tmp_path: Path, nobody: VideoClient
) -> None:
    shutil.copytree(V1, tmp_path / "renders")
    ledger = Ledger(VideoFolder(str(tmp_path / "renders")))
    kite = await ledger.state("a-red-kite-c1c7fd06faa0")
    assert kite.reserved
    found = await ledger.paid(day_of(kite.reserved.at), await ledger.unfinished())
    began = [
        state
        for folder in await ledger.folders()
        for state in await ledger.attempts(folder)
        if state.accepted and state.reserved
    ]
    same_day = [
        s for s in began if s.reserved and day_of(s.reserved.at) == day_of(kite.reserved.at)
    ]
    free = [s for s in same_day if s.accepted and s.accepted.job.cost_usd == 0 and not s.is_open]
    assert len(found) == len(same_day) - len(free)


async def test_a_whole_key_of_an_open_render_is_found_without_listing_the_store(
    nobody: VideoClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, mine = await prepare_one(nobody)
    assert await ledger.reserve(prepared.folder, mine)
    monkeypatch.setattr(ledger, "folders", None)
    assert await ledger.find(mine.key) == [prepared.folder]
