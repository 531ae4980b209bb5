"""How users write it, for the type checker: read by mypy, run by nobody."""

from pathlib import Path
from typing import assert_type

from prefect import flow

from prefect_sora import (
    AzureOpenAICredentials,
    BatchResult,
    LocalRenderer,
    OpenAICredentials,
    RenderedVideo,
    StoredVideo,
    VideoJob,
    VideoRequest,
    VideoStore,
    persist_video,
    remix_chain,
    render_batch,
    render_video,
    submit_video,
    text_to_video,
    wait_for_video,
)


@flow
async def of_flows() -> None:
    provider = LocalRenderer(folder="./renderer")
    video = await text_to_video("a kite", provider=provider, store="./renders", seconds=4)
    await text_to_video("a kite", provider=provider, store=Path("renders"), stall_seconds=300)
    assert_type(video, StoredVideo)
    await text_to_video("a kite", "openai", "./renders")
    await text_to_video("a kite", ["openai", provider, "sora-local-renderer/mine"], "./renders")
    clips = await remix_chain(
        "a kite",
        remixes=["snow"],
        provider=provider,
        store=VideoStore("s3://clips", {"anon": False}),
    )
    assert_type(clips, list[StoredVideo])


@flow
async def of_batches(provider: OpenAICredentials) -> None:
    store = VideoStore(url="s3://clips", daily_budget_usd=20)
    result = await render_batch("s3://clips/kites.csv", provider, store, max_cost_usd=5)
    assert_type(result, BatchResult)
    assert_type(result.videos, tuple[StoredVideo, ...])
    request = VideoRequest(prompt="a kite")
    await render_batch([request, {"prompt": "a fox"}], [provider], store, max_concurrent=4)
    assert_type(await render_video(request, provider, store), StoredVideo)


@flow
async def of_tasks(provider: OpenAICredentials | AzureOpenAICredentials) -> None:
    request = VideoRequest(prompt="a kite", aspect_ratio="9:16", take=2)
    job = await submit_video(request, provider, "./renders")
    assert_type(job, VideoJob)
    video = await wait_for_video(job, provider, "./renders", on_progress=lambda video: None)
    assert_type(video, RenderedVideo)
    assert_type(await persist_video(video, provider, Path("renders")), StoredVideo)
