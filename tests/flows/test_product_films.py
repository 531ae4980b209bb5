"""Product films: a table becomes a reel and its manifest, and the same day is paid for once."""

import hashlib
import json
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from flows.product_films import product_films, read_products
from prefect_sora import BatchError, CutList, InvalidRequestError, OpenAICredentials
from tests.support.renderer import Renderer

SMALL: dict[str, Any] = {
    "model": None,
    "image_model": None,
    "size": "64x64",
    "seconds": 1,
    "poll_interval_seconds": 0.05,
}
NAMES = ["The Harbour Kettle", "The Fold Lamp", "The Slate Notebook"]


def file_of(url: str) -> Path:
    return Path(urlsplit(url).path)


@pytest.mark.slow
@pytest.mark.usefixtures("prefect")
async def test_a_table_becomes_a_reel_and_a_rerun_of_its_day_pays_nothing(
    renderer: Renderer, tmp_path: Path
) -> None:
    provider = OpenAICredentials(base_url=renderer.base_url, prices={"*": 0.1})
    into: dict[str, Any] = {"provider": provider, "store": str(tmp_path / "clips"), **SMALL}
    day = date(2026, 2, 3)
    renderer.faults([{"on": "create", "do": "status:400", "match": "Fold Lamp"}])
    with pytest.raises(BatchError, match="2 of 3 kept, 1 failed"):
        await product_films(day=day, **into)
    renderer.clear_faults()

    reel = await product_films(day=day, **into)

    assert (reel.title, reel.shots, reel.cost_usd) == ("Products of 2026-02-03", 4, 0.4)
    kept = CutList.model_validate_json(file_of(reel.cut_list_url).read_bytes())
    assert [cut.title for cut in kept.cuts] == ["Title", *NAMES]
    assert "Harbour Kettle stands on an oak table; it boils a litre" in kept.cuts[1].prompt
    manifest = tmp_path / "clips" / "product-films-2026-02-03.json"
    written = manifest.read_bytes()
    told = json.loads(written)
    assert [clip["name"] for clip in told["clips"]] == ["Title", *NAMES]
    for one in (told["reel"], *told["clips"]):
        assert hashlib.sha256(file_of(one["url"]).read_bytes()).hexdigest() == one["sha256"]
    picture = file_of(told["keyframe"]["url"]).read_bytes()
    assert hashlib.sha256(picture).hexdigest() == told["keyframe"]["files"][0]["sha256"]
    assert {clip["cost_usd"] for clip in told["clips"]} == {0.1}
    paid = renderer.counts()
    assert (paid["accepted"], paid["images"]) == (4, 1)

    assert await product_films(day=day, **into) == reel
    assert renderer.counts() == paid
    assert manifest.read_bytes() == written

    await product_films(day=date(2026, 2, 4), **into)
    assert (renderer.counts()["accepted"], renderer.counts()["images"]) == (8, 2)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("name,claim,mood\n", "films.csv: holds no product."),
        ("name,claim\na kettle,boils\n", "row 1.mood is missing."),
        ("name,claim,mood\na,b,c\na kettle, ,calm\n", "row 2.claim is empty."),
        (
            "name,claim,mood\na kettle,boils,calm,fast\n",
            "row 1.a cell too many is an unknown field",
        ),
        ("name,claim,mood\na  lamp,b,c\na lamp,d,e\n", "films.csv: names a product twice."),
    ],
)
def test_a_table_that_cannot_be_filmed_is_refused_by_row(
    tmp_path: Path, table: str, said: str
) -> None:
    path = tmp_path / "films.csv"
    path.write_text(table)
    with pytest.raises(InvalidRequestError) as caught:
        read_products.fn(path)
    assert said in caught.value.message
