"""Chains: each clip is made from the one before it, kept, and paid for once."""

from typing import Any

import av
import pytest

from prefect_sora import (
    InvalidRequestError,
    OpenAICredentials,
    RenderFailedError,
    StoredVideo,
    VideoStore,
    edit_chain,
    extend_chain,
    remix_chain,
    render_batch,
    storyboard,
    text_to_video,
)
from tests.support.renderer import Renderer, StartRenderer

WAITING: dict[str, Any] = {"poll_interval_seconds": 0.05, "timeout_seconds": 60}
SMALL: dict[str, Any] = {"model": None, "size": "64x64", "seconds": 1, **WAITING}

pytestmark = pytest.mark.usefixtures("prefect")


def frames(video: StoredVideo) -> list[Any]:
    with av.open(video.url.removeprefix("file://")) as file:
        return [frame.to_ndarray(format="gray") for frame in file.decode(video=0)]


async def test_an_extension_is_the_clip_before_it_and_what_follows(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    base, longer = await extend_chain(
        "a red kite",
        ["it lands"],
        provider=provider,
        store=store,
        extension_seconds=4,
        **SMALL,
    )
    assert (base.duration_seconds, longer.duration_seconds) == pytest.approx((1, 5), abs=0.1)
    assert longer.parent_key == base.key
    before, after = frames(base), frames(longer)
    assert abs(after[0].astype(int) - before[0]).mean() < 6
    assert renderer.accepted() == 2


@pytest.mark.slow
async def test_edits_follow_one_another_and_a_rerun_pays_for_none(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    def chain() -> Any:
        return edit_chain(
            "a red kite",
            ["make it dusk", "add rain"],
            provider=provider,
            store=store,
            scope="edits",
            **SMALL,
        )

    clips = await chain()
    assert [clip.parent_key for clip in clips] == [None, clips[0].key, clips[1].key]
    assert abs(frames(clips[1])[3].astype(int) - frames(clips[0])[3]).mean() > 3
    assert [clip.url for clip in await chain()] == [clip.url for clip in clips]
    assert renderer.accepted() == 3


@pytest.mark.slow
async def test_a_chain_goes_on_from_a_kept_clip_without_fetching_it_again(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    kite = await text_to_video("a red kite", provider, store, **SMALL)
    renderer.forget_requests()
    [base, remix] = await remix_chain(
        source=kite, remixes=["in winter"], provider=provider, store=store, **WAITING
    )
    assert (base, remix.parent_key) == (kite, kite.key)
    assert {r["path"].split("/")[3] for r in renderer.requests("content")} == {remix.video_id}


async def test_a_chain_too_long_for_the_model_pays_nothing(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    for count, seconds, said in (
        (7, 4, "6 times at most"),
        (6, 20, "128 s long"),
        (1, 5, "4, 8, 12, 16 or 20 seconds, not 5"),
    ):
        with pytest.raises(InvalidRequestError, match=said):
            await extend_chain(
                "a red kite",
                ["and on"] * count,
                provider=provider,
                store=store,
                extension_seconds=seconds,
                model=None,
                size="64x64",
            )
    assert renderer.requests("create") == []


async def test_a_chain_without_a_beginning_is_refused(
    provider: OpenAICredentials, store: VideoStore
) -> None:
    with pytest.raises(InvalidRequestError, match="begins with a prompt or with a source"):
        await edit_chain(edits=["make it dusk"], provider=provider, store=store)


@pytest.mark.slow
async def test_of_several_providers_each_next_clip_is_made_where_its_source_is(
    provider: OpenAICredentials,
    store: VideoStore,
    renderer: Renderer,
    start_renderer: StartRenderer,
) -> None:
    second = start_renderer()
    renderer.faults([{"on": "create", "do": "status:400"}])
    several = [provider, OpenAICredentials(base_url=second.base_url)]
    clips = await remix_chain("a red kite", ["in winter"], provider=several, store=store, **SMALL)
    label = second.base_url.partition("://")[2]
    assert [clip.provider for clip in clips] == [label, label]
    assert (renderer.accepted(), second.accepted()) == (0, 2)


async def test_a_job_that_fails_at_an_unknown_price_is_not_made_again_elsewhere(
    provider: OpenAICredentials,
    store: VideoStore,
    renderer: Renderer,
    start_renderer: StartRenderer,
) -> None:
    second = start_renderer()
    renderer.faults([{"on": "create", "do": "fail"}])
    several = [provider, OpenAICredentials(base_url=second.base_url)]
    with pytest.raises(RenderFailedError):
        await text_to_video("a red kite", several, store, **SMALL)
    assert (renderer.accepted(), second.accepted()) == (1, 0)


async def test_a_job_that_fails_for_nothing_is_made_by_the_next(
    store: VideoStore, renderer: Renderer, start_renderer: StartRenderer
) -> None:
    second = start_renderer()
    renderer.faults([{"on": "create", "do": "fail"}])
    free = OpenAICredentials(base_url=renderer.base_url, prices={"*": 0})
    several = [free, OpenAICredentials(base_url=second.base_url)]
    video = await text_to_video("a red kite", several, store, scope="kites", **SMALL)
    again = await text_to_video("a red kite", several, store, scope="kites", **SMALL)
    assert again.url == video.url
    assert (renderer.accepted(), second.accepted()) == (1, 1)


@pytest.mark.slow
async def test_the_next_is_asked_where_the_first_is_down_and_nobody_knows_its_kind(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    down = OpenAICredentials(base_url="http://127.0.0.1:9/v1")  # its profile is `auto`
    several, scope = [down, provider], "kites"
    video = await text_to_video("a red kite", several, store, scope=scope, **SMALL)
    table = [{"prompt": "a red kite", "model": None, "size": "64x64", "seconds": 1}]
    batch = await render_batch(table, several, store, scope=scope, **WAITING)
    film = {
        "title": "Kites",
        "model": None,
        "size": "64x64",
        "shots": [{"prompt": "one", "seconds": 1}],
    }
    await storyboard(film, several, store, scope=scope, **WAITING)
    assert video.provider == provider.base_url.partition("://")[2]
    assert [each.url for each in batch.videos] == [video.url]
    assert renderer.accepted() == 2


@pytest.mark.slow
async def test_where_there_is_no_remix_one_may_be_emulated_from_the_last_frame(
    store: VideoStore, start_renderer: StartRenderer
) -> None:
    box = start_renderer(dialect="fastvideo")
    provider = OpenAICredentials(base_url=box.base_url)

    def chain(**options: Any) -> Any:
        return remix_chain(
            "a red kite",
            ["in winter"],
            provider=provider,
            store=store,
            scope="kites",
            **SMALL,
            **options,
        )

    with pytest.raises(InvalidRequestError, match="no remix of a finished video"):
        await chain()
    base, remix = await chain(emulate=True)
    assert remix.parent_key == base.key
    assert abs(frames(remix)[0].astype(int) - frames(base)[-1]).mean() < 6
    assert [clip.key for clip in await chain(emulate=True)] == [base.key, remix.key]
    assert box.accepted() == 2
