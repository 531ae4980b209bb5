"""Flows for pictures: kept, shown, begun again for nothing, and the first frame of a video."""

from pathlib import Path
from typing import Any

import av
import httpx2
import numpy as np
import pytest
from PIL import Image
from prefect import flow

from prefect_sora import (
    BudgetExceededError,
    InvalidRequestError,
    ModerationError,
    OpenAICredentials,
    StoredImage,
    StoredVideo,
    VideoStore,
    edit_image,
    keyframe_to_video,
    text_to_image,
)
from tests.support.renderer import Renderer, StartRenderer

SMALL: dict[str, Any] = {"model": None, "size": "64x48"}
CLIP: dict[str, Any] = {
    "image_model": None,
    "model": None,
    "size": "320x180",
    "seconds": 1,
    "poll_interval_seconds": 0.05,
    "timeout_seconds": 30,
}

pytestmark = pytest.mark.usefixtures("prefect")


def file_of(kept: StoredImage | StoredVideo) -> Path:
    return Path(kept.url.removeprefix("file://"))


async def test_a_prompt_becomes_a_kept_picture_that_the_ui_shows(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer, prefect: str
) -> None:
    image = await text_to_image("a paper | lantern", provider, store, **SMALL)

    with Image.open(file_of(image)) as picture:
        assert picture.size == (64, 48)
    async with httpx2.AsyncClient() as http:
        body = {"artifacts": {"key": {"any_": [f"image-{image.key}"]}}}
        (artifact,) = (await http.post(f"{prefect}/artifacts/filter", json=body)).json()
    assert "](data:image/webp;base64," in artifact["data"]
    assert "a paper \\| lantern" in artifact["data"]
    assert image.url in artifact["data"]
    assert renderer.counts()["images"] == 1


async def test_a_run_changes_its_own_picture_and_a_rerun_of_its_scope_pays_nothing(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    @flow
    async def two_steps() -> tuple[StoredImage, StoredImage]:
        first = await text_to_image(
            "a lantern", provider, store, scope="lanterns", background="transparent", **SMALL
        )
        night = await edit_image(
            "make it night", first, provider, store, scope="lanterns", model=None
        )
        return first, night

    first, night = await two_steps()

    assert night.parent_key == first.key
    assert (night.width, night.height, night.has_alpha) == (64, 48, True)
    assert await two_steps() == (first, night)
    assert renderer.counts()["images"] == 2


@pytest.mark.slow
async def test_a_picture_becomes_the_first_frame_of_a_video_that_names_it(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "status:400"}])
    arguments = {"scope": "lanterns", **CLIP}
    with pytest.raises(Exception, match="400"):
        await keyframe_to_video("it sways", "a lantern", provider, store, **arguments)

    video = await keyframe_to_video("it sways", "a lantern", provider, store, **arguments)

    assert renderer.counts()["images"] == 1  # the picture of the run that failed
    assert await keyframe_to_video("it sways", "a lantern", provider, store, **arguments) == video
    assert (renderer.counts()["images"], renderer.accepted()) == (1, 1)
    (picture,) = file_of(video).parent.parent.glob("a-lantern-*/image.png")
    assert video.parent_key == picture.parent.name.rpartition("-")[2]
    with Image.open(picture) as image, av.open(str(file_of(video)), "r") as container:
        assert image.size == (320, 180)
        first = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
        assert np.abs(first - np.asarray(image.convert("RGB")).astype(int)).mean() < 4


async def test_a_video_that_cannot_be_is_refused_before_its_picture_is_paid(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    openai = OpenAICredentials(base_url=renderer.base_url, profile="openai")
    with pytest.raises(InvalidRequestError):
        await keyframe_to_video("", "a lantern", provider, store, **CLIP)
    with pytest.raises(InvalidRequestError):
        await keyframe_to_video(
            "it sways", "a lantern", openai, store, **{**CLIP, "model": "sora-2", "seconds": 5}
        )
    assert renderer.requests() == []


async def test_the_next_provider_draws_what_the_first_has_certainly_not_drawn(
    provider: OpenAICredentials,
    store: VideoStore,
    renderer: Renderer,
    start_renderer: StartRenderer,
) -> None:
    second = start_renderer()
    both = [provider, OpenAICredentials(base_url=second.base_url)]
    renderer.faults([{"on": "images", "do": "status:400", "match": "lantern"}])
    image = await text_to_image("a lantern", both, store, scope="one", **SMALL)
    assert image.provider == second.base_url.partition("://")[2]
    assert await text_to_image("a lantern", both, store, scope="one", **SMALL) == image
    assert (renderer.counts()["images"], second.counts()["images"]) == (0, 1)

    renderer.faults(
        [
            {"on": "images", "do": "status:400:moderation_blocked", "match": "a fight"},
            {"on": "images", "do": "drop_after", "match": "a storm"},
        ]
    )
    with pytest.raises(ModerationError):
        await text_to_image("a fight", both, store, **SMALL)
    with pytest.raises(Exception, match="nobody can tell"):
        await text_to_image("a storm", both, store, **SMALL)
    assert second.counts()["images"] == 1


@pytest.mark.slow
async def test_a_daily_budget_of_the_store_holds_for_pictures(
    renderer: Renderer, tmp_path: Path
) -> None:
    priced = OpenAICredentials(base_url=renderer.base_url, prices={"painter": 0.05})
    store = VideoStore(url=str(tmp_path / "clips"), daily_budget_usd=0.12)
    for take in (1, 2):
        image = await text_to_image("a fox", priced, store, model="painter", take=take)
        assert image.cost_usd == 0.05
    with pytest.raises(BudgetExceededError):
        await text_to_image("a fox", priced, store, model="painter", take=3)
    assert renderer.counts()["images"] == 2


@pytest.mark.parametrize("deployed", [text_to_image, keyframe_to_video])
def test_the_flows_can_be_deployed(deployed: Any) -> None:
    schema = deployed.parameters.model_dump()
    blocks = {"OpenAICredentials", "AzureOpenAICredentials", "LocalRenderer", "VideoStore"}
    assert blocks <= schema["definitions"].keys()
    assert {"prompt", "provider", "store"} <= set(schema["required"])
