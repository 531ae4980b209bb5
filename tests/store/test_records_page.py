"""The page of the records: what it promises is what is written, no more and no less."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from prefect_sora.handles import StoredImage, StoredVideo, VideoJob
from prefect_sora.renders.batches.results import BatchRecord, Result
from prefect_sora.renders.film.keep import Cut, CutList, StoredFilm
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import Accepted, Failed, Reserved, Stored, StoredPictures
from tests.support.renders import clip, render

PAGE = (Path(__file__).parents[2] / "docs" / "records.md").read_text()

RECORDS: dict[str, tuple[type[BaseModel], dict[str, type[BaseModel]]]] = {
    "`reserved.json`": (Reserved, {}),
    "`accepted.json`": (Accepted, {"job": VideoJob}),
    "`stored.json` of a video": (Stored, {"video": StoredVideo}),
    "`stored.json` of pictures": (StoredPictures, {"image": StoredImage}),
    "`failed.json`": (Failed, {}),
    "`cut_list.json`": (CutList, {"film": StoredFilm, "cuts": Cut}),
    "`batch.json`": (BatchRecord, {}),
    "`results.jsonl`": (Result, {}),
}


LEFT_OUT = ("asked_size", "asked_seconds", "actual_usd", "cost_doubt")
"""What a record says only where there is something to say."""


def promised(section: str) -> set[str]:
    """The fields that the page names for a record."""
    text = PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def written(model: type[BaseModel], parts: dict[str, type[BaseModel]]) -> Iterator[str]:
    """The fields that a record has."""
    for name in model.model_fields:
        if name in parts:
            fields = parts[name].model_fields
            yield from (f"{name}.{inner}" for inner, one in fields.items() if not one.exclude)
        else:
            yield name


@pytest.mark.parametrize("section", RECORDS)
def test_the_page_names_every_field_of_a_record_and_no_other(section: str) -> None:
    model, parts = RECORDS[section]
    assert promised(section) - {"cuts"} == {*written(model, parts)}


async def test_what_a_render_leaves_is_what_the_page_says(
    client: VideoClient, disk: Ledger
) -> None:
    kept = await render(clip(), client, disk, "tonight")
    folder = Path(disk.store.root) / kept.folder

    for section, name in (
        ("`reserved.json`", "reserved.json"),
        ("`accepted.json`", "accepted.json"),
        ("`stored.json` of a video", "stored.json"),
    ):
        record: dict[str, Any] = json.loads((folder / name).read_text())
        inner = RECORDS[section][1]
        found = {n for n in record if n not in inner}
        found |= {f"{part}.{n}" for part in inner for n in record[part]}
        assert found == promised(section) - {f"{p}.{n}" for p in inner for n in LEFT_OUT}
        assert record["schema_version"] == 1
    video = json.loads((folder / "stored.json").read_text())["video"]
    assert (Path(disk.store.root) / video["url"]).read_bytes()[4:8] == b"ftyp"
    assert (folder / video["thumbnail_url"]).is_file()
