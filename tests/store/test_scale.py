"""Scale: what a sweep and a budget ask of the store follows what is open, not what is kept."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import time
from typing import Any
from unittest.mock import patch

import aiobotocore.client
import pytest

from prefect_sora.errors import InvalidRequestError
from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.renders.recovery import sweep as sweeping
from prefect_sora.renders.submit.attempt import Attempt
from prefect_sora.renders.submit.budget_charges import charge_usd
from prefect_sora.renders.submit.options import Budget
from prefect_sora.renders.submit.prepare import PreparedVideo, identify
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import remote
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import RenderState, Reserved
from prefect_sora.store.spending_chain import Chain
from prefect_sora.store.spending_entries import Before, Charge
from tests.support.renders import clip
from tests.support.s3 import S3

HERE = "http://127.0.0.1:9/v1"


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count what is asked of S3, by kind."""
    asked: Counter[str] = Counter()
    ask = aiobotocore.client.AioBaseClient._make_api_call

    async def heard(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        asked[operation] += 1
        return await ask(self, operation, arguments)

    with patch.object(aiobotocore.client.AioBaseClient, "_make_api_call", heard):
        yield asked


@pytest.fixture
async def nobody() -> Any:
    """A server that no request reaches, which asks 0.10 USD for each second."""
    from prefect_sora.servers.video_prices import read_prices

    client = VideoClient(remote(HERE, prices=read_prices({"*": 0.10})))
    yield client
    await client.close()


def job_of(prepared: PreparedVideo, mine: Reserved) -> VideoJob:
    return VideoJob(
        key=mine.key, attempt=mine.attempt, folder=prepared.folder, video_id=f"video_{mine.key}",
        provider=mine.provider, title="a kite", model="sora-2", size="64x64", seconds=1,
        submitted_at=mine.at, adopted=False, cost_usd=0.1,
    )  # fmt: skip


async def begun(
    client: VideoClient, ledger: Ledger, take: int, scope: str
) -> tuple[PreparedVideo, VideoJob]:
    """Reserve a render and have it accepted, as a run does."""
    prepared = await identify(clip(prompt=f"kite {take}", take=take), client, scope)
    mine = prepared.reservation(client.server, 1, None)
    assert await ledger.reserve(prepared.folder, mine)
    ledger.release(mine)
    job = job_of(prepared, mine)
    await ledger.accept(prepared.folder, job)
    return prepared, job


async def kept(client: VideoClient, ledger: Ledger, take: int, scope: str = "before") -> None:
    """Carry a render to its record; only the video itself is left out."""
    _, job = await begun(client, ledger, take, scope)
    fields = job.model_dump(include=set(StoredVideo.model_fields))
    video = StoredVideo(
        **fields, url="s3://x", sha256="0" * 64, size_bytes=1, width=64, height=64,
        duration_seconds=1.0, created_at=time(),
    )  # fmt: skip
    await ledger.keep(job.folder, video)


async def fill(client: VideoClient, ledger: Ledger, held: int, opened: int) -> None:
    for take in range(1, held + 1):
        await kept(client, ledger, take)
    for take in range(held + 1, held + opened + 1):
        await begun(client, ledger, take, "tonight")


async def sweep(client: VideoClient, ledger: Ledger) -> None:
    async def elsewhere(state: RenderState) -> VideoClient:
        raise InvalidRequestError("It was sent elsewhere.")

    swept = await sweeping.sweep(ledger, elsewhere)
    assert [one.outcome for one in swept] == ["skipped"] * 3


async def first_charge(client: VideoClient, ledger: Ledger) -> None:
    prepared = await identify(clip(take=999), client, "later")
    mine = prepared.reservation(client.server, 1, None)
    attempt = Attempt(mine, prepared.folder, client, ledger)
    await charge_usd(0.1, attempt, Budget(run_usd=1.0, daily_usd=1000.0))


async def test_a_video_that_no_render_holds_is_not_looked_for_among_all(
    s3: S3, nobody: VideoClient
) -> None:
    ledger = Ledger(s3.folder("few"))
    await kept(nobody, ledger, take=1)
    with counted() as asked:
        assert await ledger.named("video_of_another", nobody.server.identity) is None
    assert asked == {"GetObject": 1}


@pytest.mark.slow
@pytest.mark.parametrize("work", [sweep, first_charge])
async def test_what_is_asked_of_s3_does_not_grow_with_what_is_kept(
    s3: S3, nobody: VideoClient, work: Any
) -> None:
    costs = []
    for name, held in (("few", 4), ("many", 24)):
        ledger = Ledger(s3.folder(name))
        await fill(nobody, ledger, held, 3)
        with counted() as asked:
            await work(nobody, ledger)
        costs.append(asked)
    assert costs[0] == costs[1]
    assert costs[1].total() <= 30


async def test_ten_renders_that_are_refused_twenty_times_list_the_chain_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = VideoFolder(str(tmp_path))
    chain = Chain(store, "day-2026-11-21")
    asked: Counter[str] = Counter()
    for verb in ("names", "read"):
        original = getattr(VideoFolder, verb)

        async def heard(self: VideoFolder, *args: Any, _o: Any = original, **more: Any) -> Any:
            found = await _o(self, *args, **more)
            asked[_o.__name__] += 1
            asked["listed"] += len(found) if _o.__name__ == "names" else 0
            return found

        monkeypatch.setattr(VideoFolder, verb, heard)

    async def nothing() -> Before:
        return Before()

    async def refused(key: str) -> None:
        for attempt in range(1, 21):
            charge = Charge(key=key, attempt=attempt, usd=0.1)
            await chain.charge(charge, limit_usd=10.0, before=nothing)
            await chain.take_back(key, attempt)

    await asyncio.gather(*(refused(f"{n:012x}") for n in range(10)))

    assert asked["listed"] <= 1
    assert asked["read"] <= 400, "at most one look for a newer entry each time"
