"""Results: a row keeps what is the user's own, from the table to the records and the results."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from prefect_sora.errors import BatchError
from prefect_sora.handles import StoredVideo
from prefect_sora.renders.batches.batch import Batch
from prefect_sora.renders.batches.counts import Counts
from prefect_sora.renders.batches.plan import plan
from prefect_sora.renders.batches.results import BatchResult, refuse_failed
from prefect_sora.requests.table import rows_of
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.ledger import Ledger
from tests.support.renderer import Renderer
from tests.support.renders import render

TINY: dict[str, Any] = {"model": None, "size": "64x64", "seconds": 1}


async def rendered(
    table: list[dict[str, Any]], client: VideoClient, ledger: Ledger
) -> tuple[BatchResult, list[dict[str, str]], list[dict[str, Any]]]:
    """Render a table; its results as they came, as CSV and as JSON lines."""

    async def told(_: Counts) -> None:
        pass

    async def one(request: VideoRequest) -> StoredVideo:
        return await render(request, client, ledger, "tonight")

    batch = Batch(plan(rows_of(table, TINY), client.server), told)
    rows = await batch.run(one, 2)
    result = await batch.written("kites", "tonight", rows, ledger.store)
    folder = Path(ledger.store.root) / result.folder
    lines = (folder / "results.jsonl").read_text().splitlines()
    read = [*csv.DictReader(io.StringIO((folder / "results.csv").read_text()))]
    try:
        refuse_failed(result, rows)
    except BatchError as error:
        result = error.result.model_copy(update={"name": error.message})
    return result, read, [json.loads(line) for line in lines]


async def test_a_rows_own_columns_stand_in_the_results_and_the_records(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    _, read, lines = await rendered(
        [
            {"prompt": "a kite", "id": "kite-7", "sku": 4711, "url": "https://shop.example/7"},
            {"prompt": "a boat", "tags": ["sea", "wind"]},
        ],
        client,
        disk,
    )

    assert [row["id"] for row in read] == ["kite-7", ""]
    assert (read[0]["sku"], read[0]["input_url"]) == ("4711", "https://shop.example/7")
    assert read[0]["url"].endswith("/video.mp4")
    assert lines[0]["labels"] == {"id": "kite-7", "sku": 4711, "url": "https://shop.example/7"}
    state = await disk.state((await disk.find(lines[0]["key"]))[0])
    assert state.reserved
    assert state.reserved.request["labels"] == lines[0]["labels"]
    assert lines[1]["labels"] == {"tags": ["sea", "wind"]}
    assert all("4711" not in str(one) for one in renderer.requests("create"))


async def test_rows_that_differ_in_their_own_columns_alone_are_one_render_and_two_rows(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    result, _, lines = await rendered(
        [{"prompt": "a kite", "id": "one"}, {"prompt": "a kite", "id": "two"}], client, disk
    )
    assert (result.kept, result.duplicates, renderer.accepted()) == (1, 1, 1)
    assert [line["labels"]["id"] for line in lines] == ["one", "two"]
    assert lines[0]["key"] == lines[1]["key"]


async def test_a_row_that_fails_is_told_by_its_id(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "moderate", "match": "kite"}])
    result, _, _ = await rendered([{"prompt": "a kite", "id": "kite-7"}], client, disk)
    assert "Row 1 (id kite-7): " in result.name


@pytest.mark.parametrize("labels", [{}, {"sku": 1}], ids=["none", "some"])
def test_what_is_the_users_own_makes_no_other_render_and_no_other_record_where_there_is_none(
    labels: dict[str, Any],
) -> None:
    bare = VideoRequest(prompt="a kite")
    own = VideoRequest(prompt="a kite", labels=labels)
    assert own.canonical(None) == bare.canonical(None)
    assert own.recorded == {**bare.recorded, **({"labels": labels} if labels else {})}
    assert "labels" not in bare.recorded
