"""Strange records: one that was changed by hand is input like any other, and leads nowhere else."""

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefect_sora.errors import (
    DownloadError,
    ForeignRecordError,
    InvalidRequestError,
    SoraError,
    StorageError,
)
from prefect_sora.renders.finish.copies import copy
from prefect_sora.renders.finish.keep import keep
from prefect_sora.renders.inventory.inventory import iterate_store
from prefect_sora.renders.recovery.resume import resume
from prefect_sora.servers.profiles import LOCAL
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import Server
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from tests.store.test_records import FOX, KITE, LIGHTHOUSE, V1


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A store in which each kind of record stands."""
    shutil.copytree(V1, tmp_path / "store")
    return Ledger(VideoFolder(str(tmp_path / "store")))


@pytest.fixture
async def client() -> Any:
    """The server of that store, which no request reaches."""
    server = Server("http://127.0.0.1:9/v1", "https://video.example/v1", "video", profile=LOCAL)
    client = VideoClient(server)
    yield client
    await client.close()


def change(ledger: Ledger, name: str, edit: Callable[[dict[str, Any]], object]) -> None:
    path = Path(ledger.store.root) / name
    record = json.loads(path.read_text())
    edit(record)
    path.write_text(json.dumps(record))


@pytest.mark.parametrize("elsewhere", ["../elsewhere", KITE, "/etc", "", "."])
async def test_a_job_lies_in_the_folder_of_its_record_whatever_folder_that_names(
    ledger: Ledger, elsewhere: str
) -> None:
    change(ledger, f"{FOX}/accepted.json", lambda record: record["job"].update(folder=elsewhere))
    state = await ledger.state(FOX)
    assert state.accepted
    assert (state.accepted.job.folder, state.accepted.job.key) == (FOX, FOX[-12:])


@pytest.mark.parametrize("url", ["file:///etc/passwd", "x/..", "s3://another/bucket/video.mp4", ""])
async def test_a_kept_video_is_its_own_file_whatever_url_its_record_names(
    ledger: Ledger, url: str
) -> None:
    def edit(record: dict[str, Any]) -> None:
        stills = ("thumbnail_url", "spritesheet_url", "preview_url")
        record["video"].update(url=url, **dict.fromkeys(stills, "file:///etc/passwd"))

    change(ledger, f"{KITE}/stored.json", edit)
    state = await ledger.state(KITE)
    assert state.stored
    assert state.stored.video.url == ledger.store.url(f"{KITE}/video.mp4")
    assert state.stored.video.thumbnail_url is None


@pytest.mark.parametrize("field", [{"key": "c1c7fd06faa0"}, {"attempt": 7}])
async def test_the_record_of_another_render_or_attempt_is_refused_with_its_name(
    ledger: Ledger, client: VideoClient, field: dict[str, Any]
) -> None:
    change(ledger, f"{FOX}/accepted.json", lambda record: record.update(field))
    with pytest.raises(ForeignRecordError, match=r"accepted\.json says .* put it back") as caught:
        await ledger.state(FOX)
    error = caught.value
    assert (error.key, error.paid, error.retryable) == (FOX[-12:], "unknown", False)

    found = {entry.folder: entry async for entry in iterate_store(ledger.store)}
    assert (found[FOX].state, found[KITE].state) == ("unreadable", "kept")
    left: list[str] = []
    others = await ledger.unfinished(left=lambda folder, _: left.append(folder))
    assert ([state.folder for state in others], left) == ([LIGHTHOUSE], [FOX])


@pytest.mark.parametrize("name", ["accepted.json", "reserved.json", "video.mp4", "stored.json"])
async def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(
    ledger: Ledger, client: VideoClient, tmp_path: Path, name: str
) -> None:
    path = Path(ledger.store.root) / FOX / name
    before = await ledger.state(FOX)
    assert before.accepted
    is_read_last = not path.exists()
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    async with asyncio.timeout(10):
        with pytest.raises(StorageError, match="is a pipe or a device"):
            await (keep(before.accepted.job, client, ledger) if is_read_last else ledger.state(FOX))


async def test_a_kept_video_that_is_a_pipe_by_now_is_not_copied(
    ledger: Ledger, tmp_path: Path
) -> None:
    state = await ledger.state(KITE)
    assert state.stored
    (Path(ledger.store.root) / KITE / "video.mp4").unlink()
    os.mkfifo(Path(ledger.store.root) / KITE / "video.mp4")
    for variant in ("video", "thumbnail"):
        (Path(ledger.store.root) / KITE / "thumbnail.webp").unlink(missing_ok=True)
        async with asyncio.timeout(10):
            with pytest.raises(DownloadError, match="is a pipe or a device"):
                await copy(state.stored.video, ledger.store, tmp_path / "out.mp4", variant)
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(
    "request_", [{"take": "x"}, {"seconds": [1]}, {"prompt": None}, {"size": {"a": 1}}, {"x": 1}]
)
async def test_a_record_whose_request_is_none_ends_its_own_render_with_a_typed_error(
    ledger: Ledger, client: VideoClient, request_: dict[str, Any]
) -> None:
    change(ledger, f"{LIGHTHOUSE}/reserved.json", lambda record: record["request"].update(request_))
    state = await ledger.state(LIGHTHOUSE)
    with pytest.raises(SoraError):
        await resume(state, client, ledger, adopt_video_id="video_1")
    with pytest.raises(InvalidRequestError, match=r"holds no request: .* put it back") as caught:
        await resume(state, client, ledger, resubmit=True)
    assert caught.value.paid == "unknown"
    assert len([entry async for entry in iterate_store(ledger.store)]) == 4


async def test_a_marker_that_names_no_render_of_the_store_is_passed_over(ledger: Ledger) -> None:
    markers = Path(ledger.store.root) / ".open"
    before = await ledger.unfinished()
    for name in ("..~1~5-abc", "~1~5", ".claims~1~5", f"{FOX}~²~5"):
        (markers / name).touch()
    assert await ledger.unfinished() == before
