"""Sweeping: what dead runs left in a store comes home, and nothing is paid."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from prefect_sora.errors import SoraError, StorageError
from prefect_sora.renders.finish.options import WaitOptions
from prefect_sora.renders.recovery.sweep import Swept, client_among, sweep
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import remote
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import RenderState
from tests.support.limits import Limit
from tests.support.renderer import Renderer, StartRenderer
from tests.support.renders import a_dead_process, clip, go, left_in_doubt, render
from tests.support.scripted import Jobs, Reply, Script

SOON: dict[str, Any] = {"timeout_seconds": 3.0, "poll_interval_seconds": 0.05}


async def swept(
    ledger: Ledger, *clients: VideoClient, older_than_seconds: float = 0.0, **options: float
) -> dict[str, Swept]:
    """Sweep, and tell the outcomes by prompt."""

    async def client_of(state: RenderState) -> VideoClient:
        return await client_among(clients, state)

    waiting = WaitOptions(**{**SOON, **options})
    found = await sweep(ledger, client_of, waiting, older_than_seconds=older_than_seconds)
    return {one.title: one for one in found}


@pytest.fixture
def disk(tmp_path: Path) -> Ledger:
    return Ledger(VideoFolder(str(tmp_path / "clips")))


@pytest.mark.slow
async def test_each_render_that_was_left_behind_ends_where_it_belongs(
    client: VideoClient, ledger: Ledger, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "stall", "match": "runs"}])
    finished = await go(client, ledger, clip(prompt="finished"))
    await go(client, ledger, clip(prompt="runs"))
    forgotten = await go(client, ledger, clip(prompt="forgotten"))
    await asyncio.to_thread(renderer.finished, forgotten.video_id)
    await client.delete(forgotten.video_id)
    dead = a_dead_process()
    lost = await left_in_doubt(client, ledger, clip(prompt="answer lost"), owner=dead)
    made = await client.submit(clip(prompt="answer lost"), None, "x")
    await left_in_doubt(client, ledger, clip(prompt="never sent"), owner=dead)
    creates = len(renderer.requests("create"))

    first = await swept(ledger, client)

    assert {title: one.outcome for title, one in first.items()} == {
        "finished": "kept",
        "answer lost": "kept",
        "runs": "waiting",
        "forgotten": "failed",
        "never sent": "failed",
    }
    state = await ledger.state(lost)
    assert state.stored is not None
    assert state.stored.video.video_id == made.id
    data = await ledger.store.read(f"{finished.folder}/video.mp4")
    video = first["finished"].video
    assert data is not None
    assert video is not None
    assert hashlib.sha256(data).hexdigest() == video.sha256
    error = first["forgotten"].error
    assert isinstance(error, SoraError)
    assert f"`prefect-sora resume {forgotten.key} --resubmit --store " in str(error.next_step)
    assert "never accepted" in str(first["never sent"].error)

    again = await swept(ledger, client, timeout_seconds=2)

    assert {title: one.outcome for title, one in again.items()} == {
        "runs": "waiting",
        "forgotten": "failed",
    }
    assert len(renderer.requests("create")) == creates


async def test_what_the_server_forgets_soonest_is_fetched_first(
    scripted: Script, disk: Ledger, limit: Limit
) -> None:
    limit(sweeps_at_once=1)
    jobs = Jobs(lose=0)

    def answer(method: str, path: str, body: bytes) -> Reply:
        return (410, {}, {}) if "/content" in path else jobs(method, path, body)

    server, client = scripted(answer)
    expires = {"a never": None, "b in an hour": 3600, "c runs": None, "d in a minute": 60}
    for prompt in expires:
        await go(client, disk, clip(prompt=prompt))
    for job in jobs.jobs:
        job["expires_at"] = expires[job["prompt"]] and job["created_at"] + expires[job["prompt"]]
        job["status"] = "in_progress" if job["prompt"] == "c runs" else "completed"
    prompts = {job["id"]: job["prompt"] for job in jobs.jobs}

    ended = await swept(disk, client, timeout_seconds=0.3)

    fetched = [asked.path.split("/")[3] for asked in server.asked("GET", "/content")]
    assert [prompts[video_id] for video_id in fetched] == [
        "d in a minute",
        "b in an hour",
        "a never",
    ]
    assert ended["c runs"].outcome == "waiting"


async def test_a_doubt_that_nobody_can_resolve_keeps_no_other_from_coming_home(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    await go(client, disk, clip(prompt="finished"))
    folder = await left_in_doubt(client, disk, clip(prompt="doubtful"), owner=a_dead_process())
    renderer.faults([{"on": "list", "do": "status:404", "times": None}])

    ended = await swept(disk, client)

    assert (ended["finished"].outcome, ended["doubtful"].outcome) == ("kept", "in_doubt")
    error = ended["doubtful"].error
    assert isinstance(error, SoraError)
    key = (await disk.state(folder)).key
    assert f"`prefect-sora resume {key} --adopt VIDEO_ID --store " in str(error.next_step)
    assert renderer.accepted() == 1


async def test_one_that_breaks_in_an_unforeseen_way_keeps_no_other_from_coming_home(
    client: VideoClient, disk: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = await go(client, disk, clip(prompt="broken"))
    await go(client, disk, clip(prompt="finished"))
    again = disk.again

    async def breaks(state: RenderState) -> RenderState:
        if state.folder == broken.folder:
            raise KeyError("a defect")
        return await again(state)

    monkeypatch.setattr(disk, "again", breaks)
    ended = await swept(disk, client)
    assert (ended["finished"].outcome, ended["broken"].outcome) == ("kept", "failed")


async def test_beside_a_running_render_it_waits_with_it_or_leaves_it_alone(
    start_renderer: StartRenderer, disk: Ledger
) -> None:
    renderer = start_renderer(min_render_seconds=1.5)
    client = VideoClient(remote(renderer.base_url))
    running = asyncio.create_task(render(clip(), client, disk, "tonight", **SOON))
    async with asyncio.timeout(10):
        while [s.name for s in await disk.unfinished()] != ["accepted"]:  # noqa: ASYNC110 - on disk
            await asyncio.sleep(0.02)
    left, beside = await asyncio.gather(
        swept(disk, client, older_than_seconds=60), swept(disk, client)
    )
    stored = await running
    assert left["a kite"].outcome == "skipped"
    assert "its own run" in str(left["a kite"].error)
    assert (beside["a kite"].outcome, beside["a kite"].video) == ("kept", stored)
    assert (renderer.accepted(), len(renderer.requests("create"))) == (1, 1)
    assert await disk.unfinished() == []
    await client.close()


async def test_a_young_render_whose_process_is_dead_is_left_to_nobody(
    client: VideoClient, disk: Ledger
) -> None:
    folder = await left_in_doubt(client, disk, owner=a_dead_process())
    await client.submit(clip(), None, "x")
    ended = await swept(disk, client, older_than_seconds=3600)
    assert ended["a kite"].outcome == "kept"
    assert (await disk.state(folder)).stored


async def test_a_render_that_is_being_submitted_is_skipped(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    folder = await left_in_doubt(client, disk)
    (state,) = await disk.unfinished()
    assert state.reserved is not None
    held = state.reserved.model_copy(update={"attempt": 2})
    assert await disk.reserve(folder, held)
    ended = await swept(disk, client)
    assert ended["a kite"].outcome == "skipped"
    assert "Another worker" in str(ended["a kite"].error)
    assert renderer.requests("list") == []
    disk.release(held)


async def test_renders_of_another_server_are_skipped_and_it_is_not_asked(
    client: VideoClient, disk: Ledger, start_renderer: StartRenderer
) -> None:
    other = start_renderer()
    elsewhere = VideoClient(remote(other.base_url))
    await go(client, disk, clip(prompt="here"))
    await go(elsewhere, disk, clip(prompt="there"))
    other.forget_requests()

    only_here = await swept(disk, client)
    assert (only_here["here"].outcome, only_here["there"].outcome) == ("kept", "skipped")
    assert other.base_url in str(only_here["there"].error)
    assert other.requests() == []

    assert (await swept(disk, client, elsewhere))["there"].outcome == "kept"
    await elsewhere.close()


async def test_a_store_that_cannot_be_read_is_told(client: VideoClient, tmp_path: Path) -> None:
    (tmp_path / "clips").write_text("a file")
    with pytest.raises(StorageError):
        await swept(Ledger(VideoFolder(str(tmp_path / "clips"))), client)
