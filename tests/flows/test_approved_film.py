"""Approved film: a cheap draft, a person's answer, and then the real shots."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.objects import FlowRun

from flows.approved_film import approved_film
from prefect_sora import OpenAICredentials, StoredFilm, VideoStore
from tests.support.films import RED, clip
from tests.support.renderer import Renderer

pytestmark = pytest.mark.usefixtures("prefect")

BOARD = """
title: Two kites
model: null
size: 64x64
seconds: 2
shots:
  - prompt: a red kite
  - prompt: a blue kite
    takes: 2
"""


async def paused(api: PrefectClient, name: str) -> FlowRun:
    of_it = FlowRunFilter(name=FlowRunFilterName(any_=[name]))
    async with asyncio.timeout(60):
        while True:
            for run in await api.read_flow_runs(flow_run_filter=of_it):
                if run.state is not None and run.state.is_paused():
                    return run
            await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_the_real_shots_are_rendered_once_a_person_says_so(
    provider: OpenAICredentials,
    store: VideoStore,
    renderer: Renderer,
    tmp_path: Path,
) -> None:
    (tmp_path / "board.yaml").write_text(BOARD)
    music = clip(tmp_path / "music.mp4", RED, frames=48, sound=880.0)
    ours: Any = approved_film.with_options(flow_run_name="to be approved")
    running = asyncio.create_task(
        ours(tmp_path / "board.yaml", provider, provider, store, draft_seconds=1)
    )
    async with get_client() as api:
        run = await paused(api, "to be approved")
        assert renderer.accepted() == 2, "the draft alone"
        said = {"approved": True, "audio": str(music)}
        await api.resume_flow_run(run.id, run_input=said)
    film: StoredFilm = await running
    assert renderer.accepted() == 5
    assert (film.title, film.audio) == ("Two kites", str(music))
