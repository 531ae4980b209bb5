"""A store that moves: what it keeps is found where it lies now, and nothing is paid anew."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from prefect_sora.errors import NewerStoreError
from prefect_sora.handles import ImageFile, StoredImage
from prefect_sora.renders.recovery.sweep import sweep
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.backends.filesystems import on_disk
from prefect_sora.store.identity import new_owner
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import SCHEMA, RenderState, Reserved
from tests.support.renders import POLLING, clip, go, render

V1 = Path(__file__).parents[1] / "data" / "records-v1"
KITE, FOX = "a-red-kite-c1c7fd06faa0", "a-fox-on-its-way-b0c52f807e93"


def moved(ledger: Ledger, to: Path) -> Ledger:
    """Move a store on a disk to another folder."""
    shutil.move(ledger.store.root, to)
    return Ledger(VideoFolder(str(to)))


async def test_a_clip_is_found_where_its_store_lies_now_and_nobody_is_asked(
    client: VideoClient, disk: Ledger, tmp_path: Path
) -> None:
    before = await render(clip(), client, disk, "tonight")
    assert str(tmp_path) not in (Path(disk.store.root) / before.folder / "stored.json").read_text()

    there = moved(disk, tmp_path / "mounted" / "elsewhere")
    state = await there.state(before.folder)

    assert state.stored
    video = state.stored.video
    assert video.sha256 == before.sha256
    for url in (video.url, video.thumbnail_url, video.spritesheet_url, video.preview_url):
        assert url
        assert url.startswith(f"file://{tmp_path}/mounted/elsewhere/{before.folder}/")
        assert Path(on_disk(url) or "").is_file()
    assert video.model_dump_json().count(str(tmp_path)) == 1


async def test_a_record_that_names_an_old_place_is_read_as_one_of_this_store(
    tmp_path: Path,
) -> None:
    told = json.loads((V1 / KITE / "stored.json").read_text())["video"]["url"]
    shutil.copytree(V1, tmp_path / "copy")
    state = await Ledger(VideoFolder(str(tmp_path / "copy"))).state(KITE)
    assert state.stored
    assert state.stored.video.url == f"file://{tmp_path}/copy/{KITE}/video.mp4" != told


async def test_a_render_whose_folder_has_another_name_by_now_is_found_in_it(
    tmp_path: Path,
) -> None:
    shutil.copytree(V1 / KITE, tmp_path / "clips" / "the-best-kite-c1c7fd06faa0")
    state = await Ledger(VideoFolder(str(tmp_path / "clips"))).state("the-best-kite-c1c7fd06faa0")
    assert state.stored
    assert state.stored.video.folder == "the-best-kite-c1c7fd06faa0"
    assert Path(on_disk(state.stored.video.url) or "").is_file()


async def test_pictures_are_found_where_their_store_lies_now(disk: Ledger, tmp_path: Path) -> None:
    folder = "a-fox-0123456789ab"
    await disk.keep_pictures(
        StoredImage(
            key="0123456789ab",
            folder=folder,
            provider="local",
            title="a fox",
            url=await disk.store.put(f"{folder}/image-1.png", b"one"),
            files=tuple(ImageFile(name=f"image-{n}.png", sha256="0", size_bytes=3) for n in (1, 2)),
            width=1,
            height=1,
            format="png",
            has_alpha=False,
            created_at=1.0,
        )
    )
    there = moved(disk, tmp_path / "elsewhere")
    state = await there.state(folder)
    assert state.pictures
    assert state.pictures.image.urls == [
        f"file://{tmp_path}/elsewhere/{folder}/image-{n}.png" for n in (1, 2)
    ]


def reserved(**fields: Any) -> Reserved:
    return Reserved(
        key="0123456789ab",
        attempt=1,
        at=1.0,
        fingerprint="0" * 64,
        request_digest="0" * 64,
        server="https://video.example/v1",
        provider="video.example",
        scope="tonight",
        owner=new_owner(),
        **{"request": {"prompt": "a fox"}, **fields},
    )


@pytest.mark.parametrize("named", ["{root}/shot-1/last_frame.png", "file://{root}/shot-1/f.png"])
async def test_a_picture_of_the_same_store_moves_with_it(
    disk: Ledger, tmp_path: Path, named: str
) -> None:
    picture = named.format(root=disk.store.root)
    request = {"prompt": "a fox", "images": [picture, None, "https://a.example/b.png"]}
    record = reserved(reference=picture, request={**request, "mask": picture})
    assert await disk.reserve("a-fox-0123456789ab", record)
    disk.release(record)
    text = (Path(disk.store.root) / "a-fox-0123456789ab" / "reserved.json").read_text()
    assert str(tmp_path) not in text

    there = moved(disk, tmp_path / "elsewhere")
    read = await there.reservation("a-fox-0123456789ab", 1)

    assert read
    now = f"file://{tmp_path}/elsewhere/shot-1/{picture.rpartition('/')[2]}"
    assert (read.reference, read.request["mask"]) == (now, now)
    assert read.request["images"] == [now, None, "https://a.example/b.png"]


@pytest.mark.parametrize(
    "place", ["/pictures/fox.png", "{root}/../fox.png/", "{root}s/fox.png", "data:image/png"]
)
async def test_a_picture_that_lies_elsewhere_is_named_as_it_was(disk: Ledger, place: str) -> None:
    place = place.format(root=disk.store.root)
    record = reserved(reference=place)
    assert await disk.reserve("a-fox-0123456789ab", record)
    disk.release(record)
    read = await disk.reservation("a-fox-0123456789ab", 1)
    assert read
    assert read.reference == place


async def test_what_a_later_version_wrote_is_told_and_left_and_the_rest_comes_home(
    client: VideoClient, disk: Ledger
) -> None:
    later = await go(client, disk, clip(prompt="of a later version"))
    await go(client, disk, clip(prompt="ours"))
    path = Path(disk.store.root) / later.folder / "accepted.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": SCHEMA + 1}))
    (Path(disk.store.root) / ".open" / "complete.json").unlink()

    async def client_of(_: RenderState) -> VideoClient:
        return client

    outcomes = {one.key: one for one in await sweep(disk, client_of, POLLING)}

    left = outcomes.pop(later.key)
    assert left.outcome == "skipped"
    assert isinstance(left.error, NewerStoreError)
    assert "Upgrade here" in str(left.error)
    assert [one.outcome for one in outcomes.values()] == ["kept"]
    with pytest.raises(NewerStoreError):
        await disk.unfinished()


async def test_a_relative_folder_is_where_it_says_after_the_process_has_gone_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (tmp_path / "first", tmp_path / "second")
    written = []
    for here in (first, second):
        here.mkdir()
        monkeypatch.chdir(here)
        clips = VideoFolder("./clips")
        monkeypatch.chdir(tmp_path)
        written.append(await clips.put("a.json", b"{}"))
    assert [Path(url.removeprefix("file://")) for url in written] == [
        here / "clips" / "a.json" for here in (first, second)
    ]
    assert all(Path(url.removeprefix("file://")).read_bytes() == b"{}" for url in written)
