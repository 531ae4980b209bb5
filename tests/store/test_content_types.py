"""Content types: a link to a film plays it, whatever wrote the film."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from prefect_sora.errors import StorageError
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.backends.walk import retype
from prefect_sora.store.ledger import Ledger
from tests.support.limits import Limit
from tests.support.renders import clip, render
from tests.support.s3 import S3

KITE = "a-kite-0123456789ab"
FILMS = "films/a-film-0123456789ab"


def types(s3: S3) -> dict[str, str]:
    """The type of each file in the bucket, by its name below the store's root."""
    names = s3.keys()
    heads = {key: s3.client.head_object(Bucket=s3.bucket, Key=key) for key in names}
    return {key.removeprefix("videos/"): head["ContentType"] for key, head in heads.items()}


async def test_all_that_a_render_leaves_on_s3_has_its_type(client: VideoClient, s3: S3) -> None:
    kept = await render(clip(), client, Ledger(s3.folder()), "tonight")

    found = types(s3)

    assert {name.partition("/")[2]: kind for name, kind in found.items() if kept.key in name} == {
        "video.mp4": "video/mp4",
        "thumbnail.webp": "image/webp",
        "spritesheet.jpg": "image/jpeg",
        "preview.webp": "image/webp",
        **dict.fromkeys(["reserved.json", "accepted.json", "stored.json"], "application/json"),
    }
    assert await retype(s3.folder()) == []


async def test_a_file_that_is_uploaded_in_parts_has_its_type(s3: S3, limit: Limit) -> None:
    limit(piece_bytes=2**20)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(12):
            yield bytes(2**20)

    await s3.folder().write(f"{FILMS}/film.mp4", chunks())
    assert types(s3) == {f"{FILMS}/film.mp4": "video/mp4"}


async def test_what_an_earlier_version_wrote_gets_its_type_and_nothing_else_is_touched(
    s3: S3,
) -> None:
    ours = {
        f"{KITE}/video.mp4": "video/mp4",
        f"{KITE}/stored.json": "application/json",
        f"{FILMS}/contact_sheet.jpg": "image/jpeg",
        "batches/all-0123456789ab/results.csv": "text/csv; charset=utf-8",
    }
    foreign = ["somebody/video.mp4", "video.mp4", f"{KITE}/deeper/video.mp4"]
    for name in (*ours, *foreign):
        s3.client.put_object(
            Bucket=s3.bucket,
            Key=f"videos/{name}",
            Body=name.encode(),
            Metadata={"prefect-sora-writer": "w"},
            CacheControl="max-age=60",
        )

    assert await retype(s3.folder()) == sorted(ours)

    assert types(s3) == {**ours, **dict.fromkeys(foreign, "binary/octet-stream")}
    for name in ours:
        found = s3.client.get_object(Bucket=s3.bucket, Key=f"videos/{name}")
        assert found["Body"].read() == name.encode()
        assert (found["Metadata"], found["CacheControl"]) == (
            {"prefect-sora-writer": "w"},
            "max-age=60",
        )
    assert await retype(s3.folder()) == []


async def test_a_disk_has_no_types(tmp_path: Path) -> None:
    disk = VideoFolder(str(tmp_path))
    await disk.put(f"{KITE}/video.mp4", b"")
    assert await retype(disk) == []


async def test_a_bucket_that_is_missing_is_told(s3: S3) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        await retype(VideoFolder("s3://no-such-bucket-4711/videos", s3.options))
