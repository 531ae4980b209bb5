"""Cut short: a run that is cancelled or timed out says what becomes of its jobs and its money."""

import asyncio
import csv
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.runtime import flow_run as running_flow

from prefect_sora import OpenAICredentials, VideoStore, render_batch, text_to_video
from prefect_sora.errors.next_steps import NextStep
from tests.support.renderer import Renderer

SMALL: dict[str, Any] = {
    "model": None,
    "size": "64x64",
    "seconds": 1,
}
SOON: dict[str, Any] = {"poll_interval_seconds": 0.05}

pytestmark = pytest.mark.usefixtures("prefect")


async def logged(flow_run_id: str, said: str) -> None:
    """Wait for a line of a run's log; they reach the server every two seconds."""
    of_it = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[UUID(flow_run_id)]))
    async with get_client() as api, asyncio.timeout(30):
        while not any(re.search(said, log.message) for log in await api.read_logs(of_it)):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)


async def page(api_url: str, key: str) -> str:
    async with httpx2.AsyncClient() as http:
        asked = {"artifacts": {"key": {"any_": [key]}}}
        answer = await http.post(f"{api_url}/artifacts/filter", json=asked)
    (artifact,) = answer.json()
    return str(artifact["data"])


@pytest.mark.slow
async def test_a_run_that_prefect_times_out_says_what_goes_on_and_counts_as_paid(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer, prefect: str
) -> None:
    renderer.faults([{"on": "create", "do": "stall"}])
    soon: Any = text_to_video.with_options(timeout_seconds=3)
    runs: list[str] = []

    @flow
    async def kites() -> None:
        runs.append(str(running_flow.id))
        await soon("a red kite", provider, store, **SMALL, **SOON)

    with pytest.raises(TimeoutError):
        await kites()
    (folder,) = Path(store.url).glob("a-red-kite-*")
    key = folder.name.rpartition("-")[2]
    fetch = f"etch it, without paying again: `prefect-sora resume {key}"
    said = f"goes on at .* and counts as paid. F{fetch} --store"
    shown = re.sub(r"\\(.)", r"\1", await page(prefect, f"video-{key}"))
    assert re.search(f"Video video_.* {said}", shown)
    async with get_client() as api:
        of_this_run = FlowRunFilterParentFlowRunId(any_=[UUID(runs[0])])
        (subflow,) = await api.read_flow_runs(
            flow_run_filter=FlowRunFilter(parent_flow_run_id=of_this_run)
        )
    child = str(subflow.id)
    await logged(child, f"accepted by .* counts as paid. If this run dies, f{fetch}")
    await logged(child, said)


async def test_a_batch_that_is_cancelled_writes_what_became_of_its_rows(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "match": "stalls", "do": "stall"}])
    rows = [{"prompt": f"kite {n}{' stalls' * (n == 2)}", **SMALL} for n in (1, 2, 3)]
    batch = asyncio.create_task(
        render_batch(rows, provider, store, max_concurrent=1, scope="kites", **SOON)
    )
    async with asyncio.timeout(60):
        while renderer.accepted() < 2:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
        while not list(Path(store.url).glob("*stalls*/accepted.json")):  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.05)
        renderer.forget_requests()
        while not renderer.requests("retrieve"):  # noqa: ASYNC110 - it waits, and is past its submission
            await asyncio.sleep(0.05)
    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await batch

    (results,) = Path(store.url).glob("batches/*/results.csv")
    told = {row["row"]: row for row in csv.DictReader(results.read_text().splitlines())}
    assert [row["outcome"] for row in told.values()] == ["kept", "failed", "not_started"]
    assert "goes on at" in told["2"]["error"]
    assert told["2"]["paid"] == "unknown"
    assert 'scope "kites"' in told["3"]["next_step"]
    assert renderer.accepted() == 2


def test_a_flow_run_that_can_be_retried_is_named_first() -> None:
    assert NextStep("again", scope="kites").words("run").startswith("Retry this flow run, or run")
