"""Downloads: what a store has kept is copied from there, and its server is asked nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from prefect_sora.errors import StorageError, VideoExpiredError
from prefect_sora.handles import RenderedVideo, StoredVideo, VideoJob
from prefect_sora.renders.finish.downloads import download
from prefect_sora.renders.finish.stills import Variant
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import Server
from prefect_sora.store.ledger import Ledger
from tests.support.limits import Limit
from tests.support.renderer import Renderer
from tests.support.renders import clip, go, render


@dataclass
class Maker:
    """Who made a video, and how often it was asked for."""

    client: VideoClient
    asked: list[str] = field(default_factory=list)

    async def describe(self) -> Server:
        return self.client.server

    async def get_client(self) -> VideoClient:
        self.asked.append("client")
        return self.client


@pytest.fixture
def maker(client: VideoClient) -> Maker:
    return Maker(client)


NAMES: dict[str, Callable[[StoredVideo], VideoJob | StoredVideo | str]] = {
    "what a flow returns": lambda kept: kept,
    "what was waited for": lambda kept: RenderedVideo(
        **kept.model_dump(include={"key", "folder", "video_id", "provider", "title"}),
        submitted_at=1.0,
    ),
    "its key": lambda kept: kept.key,
    "its id at the server": lambda kept: kept.video_id,
}


@pytest.mark.parametrize("named", NAMES.values(), ids=NAMES)
async def test_a_kept_clip_is_copied_from_the_store_and_the_server_need_not_have_it(
    maker: Maker, ledger: Ledger, tmp_path: Path, named: Callable[[StoredVideo], VideoJob | str]
) -> None:
    kept = await render(clip(), maker.client, ledger, "tonight")
    await maker.client.delete(kept.video_id)
    (tmp_path / "kite.mp4").write_text("an older file")

    path = await download(named(kept), maker, tmp_path / "kite.mp4", ledger=ledger)

    assert path.read_bytes() == await ledger.store.read(f"{kept.folder}/video.mp4")
    assert maker.asked == []


async def test_a_kept_clip_says_itself_where_it_is(
    maker: Maker, disk: Ledger, tmp_path: Path
) -> None:
    kept = await render(clip(), maker.client, disk, "tonight")
    path = await download(kept, maker, tmp_path / "kite.mp4")
    assert path.stat().st_size == kept.size_bytes
    assert maker.asked == []


@pytest.mark.parametrize("variant", ["thumbnail", "spritesheet"])
@pytest.mark.parametrize("has_it", [True, False], ids=["the store's", "drawn"])
async def test_a_still_is_copied_too_or_drawn_from_the_kept_clip(
    maker: Maker, disk: Ledger, tmp_path: Path, variant: Variant, has_it: bool
) -> None:
    kept = await render(clip(), maker.client, disk, "tonight")
    suffix = {"thumbnail": ".webp", "spritesheet": ".jpg"}[variant]
    stands = Path(disk.store.root) / kept.folder / f"{variant}{suffix}"
    data = stands.read_bytes()
    if not has_it:
        stands.unlink()

    path = await download(kept, maker, tmp_path / "still.png", variant, disk)

    assert path == tmp_path / f"still{suffix}"
    assert path.read_bytes()[:4] == data[:4]
    assert maker.asked == []


@pytest.mark.parametrize("harm", ["cut", "changed", "gone"])
async def test_where_the_file_in_the_store_is_not_as_it_was_kept_the_server_is_asked(
    maker: Maker, disk: Ledger, renderer: Renderer, tmp_path: Path, harm: str
) -> None:
    kept = await render(clip(), maker.client, disk, "tonight")
    file = Path(disk.store.root) / kept.folder / "video.mp4"
    whole = file.read_bytes()
    match harm:
        case "cut":
            file.write_bytes(whole[:-1])
        case "changed":
            file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        case "gone":
            file.unlink()

    path = await download(kept, maker, tmp_path / "kite.mp4", ledger=disk)

    assert path.read_bytes() == whole
    assert maker.asked == ["client"]


async def test_what_no_store_is_named_for_and_no_server_has_is_not_to_be_paid_for_at_once(
    maker: Maker, disk: Ledger, tmp_path: Path, renderer: Renderer, limit: Limit
) -> None:
    limit(download_pause_max_seconds=0.02, retry_pause_seconds=0.01)
    job = await go(maker.client, disk)
    renderer.finished(job.video_id)
    renderer.faults([{"on": "content", "do": "status:410"}])
    with pytest.raises(VideoExpiredError) as caught:
        await download(job, maker, tmp_path / "kite.mp4")
    first, *others = caught.value.steps
    assert "If a store has kept it, name that store" in first.words()
    assert any("--resubmit" in step.words() for step in others)
    assert not (tmp_path / "kite.mp4").exists()


async def test_a_path_that_cannot_be_written_is_told_and_the_server_is_not_asked(
    maker: Maker, disk: Ledger, tmp_path: Path
) -> None:
    kept = await render(clip(), maker.client, disk, "tonight")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        await download(kept, maker, tmp_path / "file" / "kite.mp4", ledger=disk)
    assert maker.asked == []
