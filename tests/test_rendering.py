"""Rendering: the whole way, on each kind of store."""

import hashlib

import pytest

from prefect_sora.client import VideoClient
from prefect_sora.errors import ModerationError, RenderFailedError, RenderTimeoutError
from prefect_sora.ledger import Ledger
from prefect_sora.rendering import render
from prefect_sora.requests import VideoRequest
from tests.support.renderer import Renderer

KITE = VideoRequest(prompt="a red kite over a park", model=None, size="64x64", seconds=1)


async def test_a_prompt_becomes_a_kept_clip(
    client: VideoClient, ledger: Ledger, renderer: Renderer
) -> None:
    stored = await render(KITE, client, ledger, "tonight")

    data = await ledger.store.read(f"{stored.folder}/video.mp4")
    assert data is not None
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert (stored.width, stored.height, stored.size_bytes) == (64, 64, len(data))
    assert stored.duration_seconds == pytest.approx(1.0, abs=0.05)
    assert stored.folder == f"a-red-kite-over-a-park-{stored.key}"
    assert sorted(await ledger.store.names(stored.folder)) == [
        "accepted.json",
        "preview.webp",
        "reserved.json",
        "spritesheet.jpg",
        "stored.json",
        "thumbnail.webp",
        "video.mp4",
    ]
    assert renderer.accepted() == 1
