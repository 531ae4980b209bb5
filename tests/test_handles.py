"""Handles: small plain values that come back from JSON as they were."""

import json

import pytest
from pydantic import BaseModel

from prefect_sora.handles import RenderedVideo, StoredVideo, VideoJob

STORE = (
    "abfs://creative-department-renders@accountofthewholecompany.dfs.core.windows.net/"
    "campaigns/2026/autumn/social-media/approved-by-nobody-yet/vertical/renders"
)
FOLDER = "a-red-kite-over-a-grassy-park-in-the-eve-3f9c2a7b1d4e"

JOB = {
    "key": "3f9c2a7b1d4e",
    "attempt": 2,
    "folder": FOLDER,
    "video_id": f"video_{'6a' * 32}",
    "provider": "gateway.creative-department.example.com/openai/v1",
    "title": "\u0436" * 60,
    "model": "sora-2-pro-2026-10-06",
    "take": 12,
    "parent_key": "0011aabbccdd",
}
STORED = StoredVideo(
    **JOB,
    url=f"{STORE}/{FOLDER}/video.mp4",
    sha256="ab" * 32,
    size_bytes=123_456_789,
    width=1920,
    height=1080,
    duration_seconds=12.041666666666666,
    thumbnail_url=f"{STORE}/{FOLDER}/thumbnail.webp",
    spritesheet_url=f"{STORE}/{FOLDER}/spritesheet.jpg",
    preview_url=f"{STORE}/{FOLDER}/preview.webp",
    cost_usd=8.4,
    created_at=1790000000.123456,
)
HANDLES = [
    VideoJob(**JOB, size="1920x1080", seconds=12, submitted_at=1790000000.123456),
    RenderedVideo(**JOB, submitted_at=1790000000.123456, expires_at=1790003600.0),
    STORED,
]


@pytest.mark.parametrize("handle", HANDLES, ids=lambda handle: type(handle).__name__)
def test_a_handle_is_small_and_comes_back_as_it_was(handle: BaseModel) -> None:
    text = handle.model_dump_json()
    assert len(text.encode()) <= 1000
    assert type(handle).model_validate_json(text) == handle


def test_its_pictures_are_whole_urls_wherever_it_is_not_json() -> None:
    assert STORED.thumbnail_url == f"{STORE}/{FOLDER}/thumbnail.webp"
    assert STORED.model_dump()["preview_url"] == f"{STORE}/{FOLDER}/preview.webp"
    assert json.loads(STORED.model_dump_json())["preview_url"] == "preview.webp"


def test_pictures_that_lie_elsewhere_stay_there() -> None:
    elsewhere = STORED.model_copy(update={"thumbnail_url": "https://cdn.example/poster.webp"})
    again = StoredVideo.model_validate_json(elsewhere.model_dump_json())
    assert again.thumbnail_url == "https://cdn.example/poster.webp"


def test_records_that_hold_whole_urls_are_read_as_before() -> None:
    assert StoredVideo.model_validate(STORED.model_dump()) == STORED
