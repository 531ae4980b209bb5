"""Preflight: an unfinished twin stops a render, and nothing else of the store does."""

import asyncio
from typing import Any

import pytest

from prefect_sora.cli.commands.making.clip import Order, check
from prefect_sora.cli.options import SHARING, Sharing
from prefect_sora.cli.saved import NamedStore
from prefect_sora.errors import InvalidRequestError, UnfinishedRenderError
from prefect_sora.renders.environment import named_provider
from prefect_sora.requests.video import VideoRequest
from prefect_sora.store.backends import VideoFolder
from tests.cli.conftest import Begin
from tests.support.renderer import Renderer, StartRenderer, until

FIELDS: dict[str, Any] = {"prompt": "a red kite", "model": None, "size": "64x64", "seconds": 1}


def _ask(request: VideoRequest, renderer: Renderer, store: str, shared: Sharing = SHARING) -> None:
    provider = named_provider(None, {"OPENAI_BASE_URL": renderer.base_url})
    kept = NamedStore(store, VideoFolder(store))
    asyncio.run(check(Order(request, (provider,), kept, shared), provider, print))


def test_an_unfinished_render_of_the_same_request_stops_another(
    renderer: Renderer, store: str, begin: Begin
) -> None:
    job = begin(renderer)

    with pytest.raises(UnfinishedRenderError) as found:
        _ask(VideoRequest(**FIELDS), renderer, store)

    assert (found.value.key, found.value.video_id) == (job.key, job.video_id)
    assert found.value.paid == "yes"
    assert f"prefect-sora resume {job.key} --store {store}" in str(found.value)


@pytest.mark.parametrize(
    "change",
    [{"take": 2}, {"seconds": 2}, {"size": "96x64"}, {"prompt": "a red kite!"}, {"model": "m"}],
    ids=["take", "length", "size", "prompt", "model"],
)
def test_another_request_is_none_of_its_business(
    renderer: Renderer, store: str, begin: Begin, change: dict[str, Any]
) -> None:
    begin(renderer)

    _ask(VideoRequest(**{**FIELDS, **change}), renderer, store)


def test_neither_is_another_server_the_same_scope_or_one_that_is_asked_for_anew(
    renderer: Renderer, start_renderer: StartRenderer, store: str, begin: Begin
) -> None:
    begin(renderer)
    request = VideoRequest(**FIELDS)

    _ask(request, start_renderer(), store)
    _ask(request, renderer, store, Sharing(scope="last night"))
    _ask(request, renderer, store, Sharing(anew=True))


def test_the_unfinished_remix_is_found_although_its_model_is_not_known_yet(
    renderer: Renderer, store: str, begin: Begin
) -> None:
    source = begin(renderer, "a blue kite")
    until(lambda: renderer.counts()["completed"], "the source is finished")
    remix = VideoRequest(prompt="now red", kind="remix", source_video_id=source.video_id, model="m")
    begin.request(renderer, remix)
    asked = remix.model_copy(update={"model": None})

    with pytest.raises(UnfinishedRenderError):
        _ask(asked, renderer, store)
    _ask(asked.model_copy(update={"source_video_id": "other"}), renderer, store)


@pytest.mark.parametrize("ratio", ["16:9", "9:16", "1:1", "16:10", "10:16"])
async def test_a_server_is_held_to_what_it_is_and_not_to_the_ended_service(
    renderer: Renderer, store: str, ratio: str
) -> None:
    request = VideoRequest.of(prompt="a kite", aspect_ratio=ratio, seconds=5)
    box = named_provider("openai", {"OPENAI_BASE_URL": renderer.base_url})
    kept = NamedStore(store, VideoFolder(store))
    await check(Order(request, (box,), kept), box, pytest.fail)

    nobody = named_provider("openai", {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"})
    with pytest.raises(InvalidRequestError, match="4, 8, 12, 16 or 20 seconds, not 5"):
        await check(Order(request, (nobody,), kept), nobody, pytest.fail)
