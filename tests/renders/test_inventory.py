"""Inventory: a store tells all that it holds and has paid, from its records alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from prefect_sora import StoreEntry, iterate_store
from prefect_sora.errors import RenderFailedError, StorageError
from prefect_sora.handles import ImageFile, StoredImage
from prefect_sora.renders.film.keep import keep_film
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import Server
from prefect_sora.servers.video_prices import read_prices
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import SCHEMA
from tests.renders.test_film import three
from tests.renders.test_results import rendered
from tests.support.renderer import Renderer
from tests.support.renders import SOON, clip, go, left_in_doubt, render


async def held(ledger: Ledger) -> dict[str, StoreEntry]:
    return {entry.title: entry async for entry in iterate_store(ledger.store)}


@pytest.fixture
def server(renderer: Renderer) -> Server:
    """The local renderer at 0.10 USD a second."""
    prices = read_prices({"*": 0.1})
    return Server(renderer.base_url, identity="test", label="test", profile=SOON, prices=prices)


@pytest.mark.slow
async def test_each_kind_of_store_tells_what_was_asked_and_what_came(
    client: VideoClient, ledger: Ledger
) -> None:
    kept = await render(clip(prompt="a kite", labels={"sku": 7}), client, ledger, "tonight")
    await go(client, ledger, clip(prompt="a boat"))

    found = await held(ledger)

    assert {title: entry.state for title, entry in found.items()} == {
        "a kite": "kept",
        "a boat": "open",
    }
    kite = found["a kite"]
    assert (kite.video, kite.url, kite.key) == (kept, kept.url, kept.key)
    assert (kite.prompt, kite.scope, kite.request["labels"]) == ("a kite", "tonight", {"sku": 7})
    assert [(one.state, one.paid, one.cost_usd) for one in kite.attempts] == [("kept", "yes", 0.1)]
    assert (found["a boat"].cost_usd, found["a boat"].video) == (0.1, None)
    again = StoreEntry.model_validate_json(kite.model_dump_json())
    assert again == kite


@pytest.mark.slow
async def test_what_failed_and_was_paid_again_is_told_with_all_its_money(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "fail", "times": 1}])
    with pytest.raises(RenderFailedError):
        await render(clip(prompt="a kite"), client, disk, "tonight")
    await render(clip(prompt="a kite"), client, disk, "tonight")

    kite = (await held(disk))["a kite"]

    assert (kite.state, kite.error) == ("kept", None)
    assert [(one.attempt, one.state, one.cost_usd) for one in kite.attempts] == [
        (1, "failed", 0.1),
        (2, "kept", 0.1),
    ]
    assert kite.attempts[0].error
    assert kite.cost_usd == 0.2


async def test_a_doubt_is_no_payment_and_no_zero(client: VideoClient, disk: Ledger) -> None:
    await left_in_doubt(client, disk, clip(prompt="a kite"))
    kite = (await held(disk))["a kite"]
    assert (kite.state, kite.cost_usd) == ("open", None)
    assert [(one.state, one.paid) for one in kite.attempts] == [("reserved", "unknown")]


@pytest.mark.slow
async def test_films_batches_and_pictures_are_told_beside_the_clips(
    client: VideoClient, disk: Ledger, tmp_path: Path
) -> None:
    made = await keep_film("The red kite", await three(disk.store, tmp_path), disk.store, 1.2)
    result, _, _ = await rendered([{"prompt": "a boat", "id": 7}], client, disk)
    picture = StoredImage(
        key="0123456789ab",
        folder="a-fox-0123456789ab",
        provider="local",
        title="a fox",
        url=await disk.store.put("a-fox-0123456789ab/image.png", b"x"),
        files=(ImageFile(name="image.png", sha256="0", size_bytes=1),),
        width=1,
        height=1,
        format="png",
        has_alpha=False,
        cost_usd=0.04,
        created_at=1.0,
    )
    await disk.keep_pictures(picture)

    found = await held(disk)

    assert {(e.kind, e.title, e.state) for e in found.values()} == {
        ("film", "The red kite", "kept"),
        ("batch", "kites", "kept"),
        ("image", "a fox", "kept"),
        ("video", "a boat", "kept"),
    }
    assert found["The red kite"].film == made
    assert (found["a fox"].image, found["a fox"].cost_usd) == (picture, 0.04)
    batch = found["kites"]
    assert batch.batch
    assert (batch.batch.name, batch.batch.kept, batch.scope) == ("kites", 1, "tonight")
    assert [(row.labels["id"], row.url) for row in batch.rows] == [(7, found["a boat"].url)]
    assert (batch.folder, batch.url) == (result.folder, result.csv_url)
    assert found["The red kite"].url == made.film.url


async def test_what_cannot_be_read_is_told_and_the_rest_goes_on(
    client: VideoClient, disk: Ledger
) -> None:
    later = await go(client, disk, clip(prompt="of a later version"))
    await go(client, disk, clip(prompt="ours"))
    path = Path(disk.store.root) / later.folder / "accepted.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": SCHEMA + 1}))
    (Path(disk.store.root) / "my-pictures").mkdir()

    found = {entry.key: entry async for entry in iterate_store(disk.store.root)}

    left = found.pop(later.key)
    assert left.state == "unreadable"
    assert "newer version" in str(left.error)
    assert [entry.title for entry in found.values()] == ["ours"]


async def test_a_loop_over_a_store_may_be_left_early(client: VideoClient, disk: Ledger) -> None:
    for number in range(3):
        await go(client, disk, clip(prompt=f"kite {number}"))
    async for entry in iterate_store(disk.store):
        assert entry.state == "open"
        break


async def test_a_store_that_is_not_there_is_told() -> None:
    with pytest.raises(StorageError):
        async for _ in iterate_store(VideoFolder("s3://no-such-bucket/clips", unreachable())):
            pass


def unreachable() -> dict[str, Any]:
    timeouts = {"connect_timeout": 1, "retries": {"max_attempts": 0}}
    keys = {"key": "k", "secret": "a secret of some length"}
    return {"endpoint_url": "http://127.0.0.1:9", "config_kwargs": timeouts, **keys}
