"""Batches: a table is rendered a few at a time; what fails keeps nothing else from being kept."""

import asyncio
import csv
import io
import json
from pathlib import Path
from time import time
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
)

from prefect_sora import (
    BatchError,
    BudgetExceededError,
    InvalidRequestError,
    OpenAICredentials,
    StoredVideo,
    VideoRequest,
    VideoStore,
    render_batch,
    render_video,
)
from prefect_sora.errors import AuthenticationError, ModerationError, StorageError, UnavailableError
from prefect_sora.renders.batches.batch import Batch
from prefect_sora.renders.batches.counts import Counts
from prefect_sora.renders.batches.plan import plan
from prefect_sora.renders.batches.results import BatchResult
from prefect_sora.requests.table import rows_of
from prefect_sora.servers.server import remote
from prefect_sora.tasks.artifacts import listening
from prefect_sora.tasks.listener import Listener
from tests.support.billing import TOLD, Billing
from tests.support.renderer import Renderer
from tests.support.s3 import S3
from tests.support.scripted import Scripted

QUICK: dict[str, Any] = {"poll_interval_seconds": 0.05, "timeout_seconds": 30}


def table(count: int, **more: Any) -> list[VideoRequest | dict[str, Any]]:
    tiny = {"model": "wan", "size": "64x64", "seconds": 1, **more}
    return [{"prompt": f"kite {n}", **tiny} for n in range(1, count + 1)]


@pytest.fixture
def provider(renderer: Renderer) -> OpenAICredentials:
    return OpenAICredentials(base_url=renderer.base_url, prices={"wan": 0.1})


def told(store: VideoStore, result: BatchResult) -> list[dict[str, str]]:
    text = (Path(store.url) / result.folder / "results.csv").read_text()
    return [*csv.DictReader(io.StringIO(text))]


@pytest.mark.usefixtures("prefect")
async def test_a_table_becomes_kept_videos_and_a_table_of_results(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer, tmp_path: Path
) -> None:
    file = tmp_path / "kites.csv"
    file.write_text(
        "prompt,model,size,seconds,take\nred,wan,64x64,1,\nblue,wan,64x64,2,\nred,wan,64x64,1,1\n"
    )
    result = await render_batch(str(file), provider, store, **QUICK)

    assert (result.rows, result.kept, result.duplicates, result.failed) == (3, 2, 1, 0)
    assert (result.estimated_usd, result.cost_usd) == (0.3, 0.3)
    assert [video.title for video in result.videos] == ["red", "blue"]
    assert str(result) == "2 of 3 kept, 1 duplicate; cost $0.30"
    assert renderer.accepted() == 2

    rows = told(store, result)
    assert [row["outcome"] for row in rows] == ["kept", "kept", "duplicate"]
    assert [row["cost_usd"] for row in rows] == ["0.1", "0.2", "0.0"]
    assert (rows[2]["same_as"], rows[2]["url"]) == ("1", rows[0]["url"])
    lines = (Path(store.url) / result.folder / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == [row["key"] for row in rows]
    assert Path(rows[0]["url"].removeprefix("file://")).read_bytes()[4:8] == b"ftyp"


@pytest.mark.usefixtures("prefect")
async def test_what_fails_is_reported_and_the_rest_is_kept_and_not_paid_twice(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "moderate", "match": "kite 2"}])
    with pytest.raises(BatchError) as caught:
        await render_batch(table(3), provider, store, scope="tonight", **QUICK)
    error = caught.value
    assert isinstance(error.result, BatchResult)
    assert "2 of 3 kept, 1 failed; cost $0.20. Row 2: " in error.message
    assert 'with the scope "tonight"' in str(error.next_step)
    assert error.paid == "unknown", "nobody says whether the moderated one was charged"
    bad = told(store, error.result)[1]
    assert (bad["outcome"], bad["error_type"], bad["paid"]) == (
        "failed",
        "ModerationError",
        "unknown",
    )
    of_it = ArtifactFilter(key=ArtifactFilterKey(any_=[f"batch-{error.result.folder[-12:]}"]))
    async with get_client() as client:
        (table_shown,) = await client.read_artifacts(artifact_filter=of_it)
    assert "failed: moderation" in str(table_shown.data)

    renderer.forget_requests()
    again = await render_batch(
        table(4), provider, store, scope="tonight", fail_on_error=False, **QUICK
    )
    assert (again.kept, again.failed) == (3, 1)
    assert len(renderer.requests("create")) == 1, "the fourth is the one that was not there"


@pytest.mark.usefixtures("prefect")
async def test_a_batch_has_one_task_run_per_render_and_shows_its_results(
    provider: OpenAICredentials, store: VideoStore
) -> None:
    result = await render_batch(table(2), provider, store, scope=None, **QUICK)
    async with get_client() as client:
        run = await client.read_flow_run(UUID(result.scope))
        runs = await client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
        )
        artifacts = await client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        )
    assert run.name == "batch · 2 requests"
    assert sorted(one.name for one in runs) == ["render · kite 1", "render · kite 2"]
    (shown,) = [a for a in artifacts if a.key == f"batch-{result.folder[-12:]}"]
    assert "2 of 2 kept; cost $0.20" in str(shown.description)
    assert [row["Outcome"] for row in json.loads(str(shown.data))] == ["kept", "kept"]
    assert {f"video-{video.key}" for video in result.videos} <= {a.key for a in artifacts}
    (progress,) = [a for a in artifacts if a.type == "progress"]
    assert progress.data == 100.0
    assert "2 kept, 0 rendering, 0 queued, 0 failed, $0.20 spent" in str(progress.description)


@pytest.mark.usefixtures("prefect")
async def test_estimate_and_real_cost_stand_side_by_side_in_the_results_and_on_the_pages(
    store: VideoStore,
) -> None:
    server = Scripted(Billing(0.12))
    profile = {"base": "generic", **TOLD}
    provider = OpenAICredentials(base_url=server.base_url, prices={"wan": 0.1}, profile=profile)
    result = await render_batch(table(2), provider, store, scope=None, **QUICK)
    server.stop()

    assert (result.cost_usd, result.actual_usd) == (0.2, 0.24)
    assert str(result) == "2 of 2 kept; cost $0.20 estimated, $0.24 real"
    rows = told(store, result)
    assert [(row["cost_usd"], row["actual_usd"]) for row in rows] == [("0.1", "0.12")] * 2
    async with get_client() as client:
        run = ArtifactFilterFlowRunId(any_=[UUID(result.scope)])
        artifacts = await client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=run))
    by_key = {shown.key: shown for shown in artifacts}
    page = by_key[f"video-{result.videos[0].key}"]
    assert "| Cost | $0.10 estimated, $0.12 real |" in str(page.data)
    shown = json.loads(str(by_key[f"batch-{result.folder[-12:]}"].data))
    assert [(row["Cost"], row["Real cost"]) for row in shown] == [("$0.10", "$0.12")] * 2
    (progress,) = [a for a in artifacts if a.type == "progress"]
    assert "$0.24 spent" in str(progress.description)


@pytest.mark.usefixtures("prefect")
async def test_broken_rows_stop_all_unless_they_are_skipped(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    requests = [*table(1), {"prompt": "", "size": "64x64"}]
    with pytest.raises(InvalidRequestError, match="row 2: column prompt: is empty"):
        await render_batch(requests, provider, store, **QUICK)
    assert renderer.accepted() == 0
    result = await render_batch(requests, provider, store, skip_bad_rows=True, **QUICK)
    assert (result.kept, result.broken) == (1, 1)
    assert [row["outcome"] for row in told(store, result)] == ["kept", "broken"]


@pytest.mark.usefixtures("prefect")
async def test_a_budget_is_checked_before_the_first_and_before_each(
    provider: OpenAICredentials, renderer: Renderer, tmp_path: Path
) -> None:
    store = VideoStore(url=str(tmp_path / "clips"), daily_budget_usd=0.2)
    with pytest.raises(BudgetExceededError, match=r"4 renders would cost \$0.40"):
        await render_batch(table(4), provider, store, max_cost_usd=0.3, **QUICK)
    assert renderer.accepted() == 0
    result = await render_batch(table(4), provider, store, fail_on_error=False, **QUICK)
    assert (result.kept, result.failed + result.not_started) == (2, 2)
    rows = told(store, result)
    assert "the store's budget" in rows[2]["error"]
    assert rows[3]["paid"] == "no"


@pytest.mark.slow
@pytest.mark.usefixtures("prefect")
async def test_a_table_and_its_results_can_be_on_s3(provider: OpenAICredentials, s3: S3) -> None:
    folder = s3.folder()
    lines = "".join(f"{json.dumps(request)}\n" for request in table(2))
    await folder.put("kites.jsonl", lines.encode())
    store = VideoStore(folder.root, dict(folder.options))
    result = await render_batch(f"{folder.root}/kites.jsonl", provider, store, **QUICK)
    assert result.csv_url == f"{folder.root}/{result.folder}/results.csv"
    assert await folder.read(f"{result.folder}/results.jsonl")


@pytest.mark.usefixtures("prefect")
async def test_of_a_list_the_next_provider_takes_what_the_first_refuses(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    refusing = Scripted(lambda *_: (400, {}, {"error": {"message": "not today"}}))
    first = OpenAICredentials(base_url=refusing.base_url, prices={"wan": 0.1})
    result = await render_batch(table(1), [first, provider], store, **QUICK)
    assert result.videos[0].provider == renderer.base_url.partition("://")[2]
    refusing.stop()


@pytest.mark.usefixtures("prefect")
async def test_one_task_run_renders_and_keeps_one_request(
    provider: OpenAICredentials, store: VideoStore, renderer: Renderer
) -> None:
    request = VideoRequest(prompt="a kite", model="wan", size="64x64", seconds=1)

    @flow
    async def one() -> StoredVideo:
        video: StoredVideo = await render_video(request, provider, store, scope="x", **QUICK)
        return video

    video = await one()
    assert await one() == video
    assert renderer.accepted() == 1


def stored(request: VideoRequest) -> StoredVideo:
    key = uuid4().hex[:12]
    return StoredVideo(
        key=key, folder=key, video_id=key, provider="x", title=request.title, url="x", sha256="x",
        size_bytes=1, width=1, height=1, created_at=time(), cost_usd=None,
    )  # fmt: skip


async def ran(count: int, at_once: int, render: Any) -> tuple[Batch, list[Counts]]:
    seen: list[Counts] = []

    async def hear(counts: Counts) -> None:
        seen.append(Counts(**vars(counts)))

    planned = plan(rows_of(table(count)), remote("http://127.0.0.1:9/v1"))
    batch = Batch(planned, hear)
    outcomes = await batch.run(render, at_once)
    assert len(outcomes) == count
    return batch, seen


async def test_never_more_are_under_way_than_was_said() -> None:
    async def render(request: VideoRequest) -> StoredVideo:
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) <= 4 + 2, "ten thousand rows are not so many tasks"
        return stored(request)

    batch, seen = await ran(500, 4, render)
    assert max(counts.rendering for counts in seen) == 4
    assert seen[0].queued == 500
    assert str(batch.counts) == (
        "500 kept, 0 rendering, 0 queued, 0 failed, 500 of unknown price spent"
    )


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (AuthenticationError("wrong key"), 2),
        (StorageError("full"), 2),
        (BudgetExceededError("spent", budget_usd=1, spent_usd=1, asked_usd=1), 2),
        (UnavailableError("nobody there", never_sent=True), 2),
        (UnavailableError("a bad day"), 5),
        (ModerationError("no"), 5),
        (RuntimeError("a bug"), 5),
    ],
    ids=repr,
)
async def test_what_is_about_every_row_ends_the_batch(error: Exception, asked: int) -> None:
    requests = []

    async def render(request: VideoRequest) -> StoredVideo:
        requests.append(request)
        if len(requests) == 2:
            raise error
        return stored(request)

    batch, _ = await ran(5, 1, render)
    assert len(requests) == asked
    assert (batch.counts.kept, batch.counts.failed) == (asked - 1, 1)
    assert batch.counts.queued == 5 - asked
    assert batch.counts.doubtful == isinstance(error, RuntimeError)


async def test_a_program_that_listens_hears_the_counts(
    provider: OpenAICredentials, store: VideoStore, prefect: str
) -> None:
    class Ears(Listener):
        heard: list[str] = []  # noqa: RUF012 - one list for one test

        def counted(self, counts: Counts) -> None:
            self.heard.append(str(counts))

    with listening(Ears()):
        await render_batch(table(1), provider, store, **QUICK)
    assert Ears.heard[0] == "0 kept, 0 rendering, 1 queued, 0 failed, $0.00 spent"
    assert Ears.heard[-1] == "1 kept, 0 rendering, 0 queued, 0 failed, $0.10 spent"


def test_what_is_spent_and_what_may_be_charged_read_as_a_sentence() -> None:
    counts = Counts(kept=4, failed=6, doubtful=6, spent_usd=1.2)
    money = "$1.20 spent, and 6 failed ones may be charged, too"
    assert str(counts) == f"4 kept, 0 rendering, 0 queued, 6 failed, {money}"
    assert Counts(failed=1, doubtful=1).spent.endswith("and 1 failed one may be charged, too")
