"""A store that cannot let one of two writers win is refused before anything is paid on it."""

import asyncio
import errno
import json
import os
import re
from datetime import timedelta
from pathlib import Path
from subprocess import PIPE
from typing import Any
from uuid import uuid4

import pytest

from prefect_sora.errors import StorageError
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.backends.leftovers import is_our_folder
from prefect_sora.store.identity import new_owner
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import Reserved
from tests.support.processes import Forked
from tests.support.renders import clip, go
from tests.support.s3 import S3, Meddler, traces
from tests.support.scripted import Jobs, Script

HERE = Path(__file__).parents[2]

SUBMIT = """
import asyncio, json, sys
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.ledger import Ledger
from prefect_sora.servers.server import remote
from prefect_sora.store.backends import VideoFolder
from tests.support.renders import go

async def main():
    root, options, base_url = json.loads(sys.argv[1])
    ledger = Ledger(VideoFolder(root, options))
    await ledger.store.names()
    print("ready", flush=True)
    sys.stdin.readline()
    client = VideoClient(remote(base_url))
    try:
        await go(client, ledger)
    except Exception as error:
        print(type(error).__name__, getattr(error, "paid", "?"), error)
    finally:
        await client.close()

asyncio.run(main())
"""


@pytest.fixture
def careless(s3: S3, meddler: Meddler) -> VideoFolder:
    """A store whose S3 ignores `If-None-Match`, as many do."""
    meddler.ignore_conditions = True
    return VideoFolder(f"s3://{s3.bucket}/videos", meddler.options(s3))


async def test_two_processes_send_nothing_where_both_could_win(
    s3: S3, careless: VideoFolder, scripted: Script
) -> None:
    server, _ = scripted(Jobs(lose=0))
    argument = json.dumps([careless.root, dict(careless.options), server.base_url])
    both = [Forked(["-c", SUBMIT, argument], stdin=PIPE, stdout=PIPE, cwd=HERE) for _ in range(2)]
    for one in both:
        assert one.stdout
        assert await asyncio.to_thread(one.stdout.readline) == "ready\n"
    told = (asyncio.to_thread(one.communicate, "go\n", 60) for one in both)
    said = [out for out, _ in await asyncio.gather(*told)]

    assert server.posts() == 0
    for words in said:
        assert words.startswith("StorageError no "), words
        assert "lets two writers create the same file" in words
        assert "If-None-Match" in words
    assert traces(s3.folder()) == []


def reserved(attempt: int = 1) -> Reserved:
    return Reserved(
        key="0123456789ab",
        attempt=attempt,
        at=1.0,
        fingerprint="0" * 64,
        request_digest="0" * 64,
        scope="tonight",
        server="test",
        provider="test",
        request=clip().model_dump(mode="json"),
        owner=new_owner(),
    )


@pytest.mark.slow
async def test_it_is_tried_once_in_a_process_whoever_asks_and_leaves_no_trace(
    s3: S3, meddler: Meddler
) -> None:
    ledger = Ledger(VideoFolder(f"s3://{s3.bucket}/once", meddler.options(s3)))
    folders = [f"kite-00000000000{digit}" for digit in range(8)]

    assert all(await asyncio.gather(*(ledger.reserve(each, reserved()) for each in folders)))

    tries = [one.partition(" ")[0] for one in meddler.seen if ".check-" in one]
    assert tries == ["PUT", "PUT", "HEAD", "DELETE"]
    left = [name for name in traces(s3.folder("once")) if name[0] != "."]
    assert left == [f"{each}/reserved.json" for each in folders]
    seen = len(meddler.seen)
    assert await Ledger(VideoFolder(f"s3://{s3.bucket}/once", meddler.options(s3))).reserve(
        "kite-00000000000f", reserved()
    )
    assert len(meddler.seen) == seen + 2  # its marker and its record


async def test_a_store_that_failed_is_tried_again_and_by_all_at_once(
    s3: S3, meddler: Meddler, careless: VideoFolder
) -> None:
    ledger = Ledger(careless)
    refused = await asyncio.gather(
        *(ledger.reserve(f"kite-{n:012x}", reserved()) for n in range(8)), return_exceptions=True
    )
    assert {type(one) for one in refused} == {StorageError}
    assert len([one for one in meddler.seen if one.startswith("PUT")]) == 2
    with pytest.raises(StorageError, match="two writers"):
        await ledger.reserve("kite-0123456789ab", reserved())
    assert traces(s3.folder()) == []

    meddler.ignore_conditions = False
    assert await ledger.reserve("kite-0123456789ab", reserved())


async def test_a_caller_that_is_cancelled_stops_the_trial_of_no_other(folder: VideoFolder) -> None:
    first, second = (asyncio.create_task(folder.require_exclusive()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()

    await second
    assert first.cancelled() or first.done()
    assert traces(folder) == []


async def test_a_disk_whose_links_replace_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replacing(source: str, target: str) -> None:
        Path(target).write_bytes(Path(source).read_bytes())

    monkeypatch.setattr(os, "link", replacing)
    folder = VideoFolder(str(tmp_path / uuid4().hex))
    with pytest.raises(StorageError, match="two writers"):
        await folder.require_exclusive()
    assert traces(folder) == []


async def test_a_disk_without_links_is_tried_by_what_takes_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(source: str, target: str) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    folder = VideoFolder(str(tmp_path / uuid4().hex))
    await folder.require_exclusive()
    assert traces(folder) == []


async def test_an_unsuitable_store_costs_a_render_nothing_but_an_error(
    careless: VideoFolder, scripted: Script
) -> None:
    server, client = scripted(Jobs(lose=0))
    with pytest.raises(StorageError) as caught:
        await go(client, Ledger(careless))
    assert caught.value.paid == "no"
    assert server.posts() == 0


async def test_what_a_trial_left_that_was_killed_is_swept(folder: VideoFolder) -> None:
    in_memory = folder.root.startswith("memory://")  # where nothing outlives its process
    left = f".check-{uuid4().hex}"
    await folder.put(left, b"first")
    await folder.put(".check-list.txt", b"somebody's own")

    assert await folder.sweep_parts() == []  # it may be under way
    swept = await folder.sweep_parts(older_than=timedelta(0))
    assert len(swept) == (0 if in_memory else 1)
    assert sorted(traces(folder)) == [*([left] if in_memory else []), ".check-list.txt"]


# --- and what is not ours is not swept


FOREIGN = [
    "backups/video.mp4",
    "kite-0123456789ab/other.bin",
    "kite-0123456789ab/deep/video.mp4",
    "kite-0123456789abc/video.mp4",
    "video.mp4",
]
OURS = [
    "a-red-kite-0123456789ab/video.mp4",
    "0123456789ab/image-2.attempt-3.webp",
    "films/the-kite-0123456789ab/film.mp4",
]


@pytest.mark.parametrize("prefix", ["", "videos"], ids=["a bucket's root", "a folder"])
async def test_another_program_s_uploads_are_left_alone(s3: S3, prefix: str) -> None:
    place = f"{prefix}/" if prefix else ""
    elsewhere = ["elsewhere/a-red-kite-0123456789ab/video.mp4"]
    for key in [*(f"{place}{name}" for name in [*FOREIGN, *OURS]), *elsewhere]:
        s3.client.create_multipart_upload(Bucket=s3.bucket, Key=key)
    root = f"s3://{s3.bucket}/{prefix}".rstrip("/")

    folder = VideoFolder(root, s3.options)
    swept = await folder.sweep_parts(older_than=timedelta(0))

    assert swept == sorted(f"{s3.bucket}/{place}{name}" for name in OURS)
    left = sorted([*(f"{place}{name}" for name in FOREIGN), *elsewhere])
    assert sorted(s3.unfinished_uploads()) == left


async def test_one_render_s_sweep_takes_that_render_s_uploads_alone(s3: S3) -> None:
    ours = [f"videos/{name}" for name in OURS]
    for key in ours:
        s3.client.create_multipart_upload(Bucket=s3.bucket, Key=key)

    swept = await s3.folder().sweep_parts("a-red-kite-0123456789ab", older_than=timedelta(0))

    assert swept == [f"{s3.bucket}/{ours[0]}"]
    assert sorted(s3.unfinished_uploads()) == sorted(ours[1:])


async def test_another_program_s_files_on_a_disk_are_left_alone_and_not_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = f".video.mp4.{'0' * 32}.part"
    ours = [".claims", ".spending/day-2026-11-21", "films/kite-0123456789ab", "0123456789ab"]
    foreign = ["photos", "photos/kite-0123456789ab", ".git/objects", "films/notes", "kite-01234"]
    for name in [*ours, *foreign]:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / part).touch()
    (tmp_path / part).touch()
    looked: list[str] = []
    scandir = os.scandir

    def watched(path: str) -> Any:
        looked.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", watched)

    folder = VideoFolder(str(tmp_path))
    swept = await folder.sweep_parts(older_than=timedelta(0))
    monkeypatch.undo()

    assert swept == sorted(str(tmp_path / name / part) for name in ours)
    assert traces(folder) == sorted([part, *(f"{name}/{part}" for name in foreign)])
    assert not any("photos" in path or ".git" in path or "notes" in path for path in looked)


def test_every_hidden_folder_that_the_package_writes_to_is_known_to_its_sweep() -> None:
    named = re.compile(r'"\.([a-z]+)/|FOLDER: Final = "\.([a-z]+)"|store\.names\("\.([a-z]+)"')
    found = {
        next(filter(None, match.groups()))
        for path in (HERE / "prefect_sora").rglob("*.py")
        if "local" not in path.parts
        for match in named.finditer(path.read_text())
    }
    assert {"claims", "spending", "paces", "characters"} <= found
    assert [name for name in sorted(found) if not is_our_folder(f".{name}")] == []
