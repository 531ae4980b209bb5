"""Budgets: what a run or a day may cost is never passed, from however many machines."""

import asyncio
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from subprocess import PIPE
from time import time
from typing import Any

import pytest

from prefect_sora import OpenAICredentials, VideoStore, submit_video
from prefect_sora.errors import (
    BudgetExceededError,
    InvalidRequestError,
    RejectedError,
    RenderFailedError,
    StorageError,
)
from prefect_sora.renders.finish.wait import wait
from prefect_sora.renders.submit.options import Budget
from prefect_sora.renders.submit.prepare import identify
from prefect_sora.servers.profiles import LOCAL
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import remote
from prefect_sora.servers.video_prices import read_prices
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.spending_chain import chain_of
from prefect_sora.store.spending_entries import Before, Charge
from tests.support.processes import Forked
from tests.support.renderer import Renderer
from tests.support.renders import SOON, a_dead_process, clip, go, render
from tests.support.s3 import S3
from tests.support.scripted import Jobs, Script

TEN_CENTS = read_prices({"*": 0.10})


@pytest.fixture
async def client(renderer: Renderer) -> Any:
    """A server that asks 0.10 USD for each second; it is the local renderer, and does not know."""
    client = VideoClient(remote(renderer.base_url, profile=SOON, prices=TEN_CENTS))
    yield client
    await client.close()


async def spent(ledger: Ledger, of: str) -> float:
    """What the newest entry of the only period of a kind says."""
    (period,) = [n for n in await ledger.store.names(".spending") if n.startswith(of)]
    newest = max(await ledger.store.names(f".spending/{period.rstrip('/')}"))
    data = await ledger.store.read(f".spending/{period}{newest}")
    assert data is not None
    total: float = json.loads(data)["total_usd"]
    return total


@pytest.mark.slow
async def test_of_twenty_at_once_and_a_budget_for_ten_exactly_ten_are_paid(
    client: VideoClient, ledger: Ledger, renderer: Renderer
) -> None:
    ended = await asyncio.gather(
        *(go(client, ledger, clip(take=n), budget=Budget(1.0)) for n in range(1, 21)),
        return_exceptions=True,
    )
    refused = [e for e in ended if isinstance(e, BudgetExceededError)]
    assert (renderer.accepted(), len(refused)) == (10, 10)
    assert (refused[0].budget_usd, refused[0].spent_usd, refused[0].asked_usd) == (1.0, 1.0, 0.1)
    assert (
        "$1.00 is spent in this scope already, and max_cost_usd allows $1.00" in refused[0].message
    )
    assert len({e.key for e in refused}) == 10, "each says which render it is about"
    assert {e.paid for e in refused} == {"no"}
    assert await spent(ledger, "run-") == 1.0


_WORKER = """
import asyncio, json, sys
from prefect_sora.renders.submit.options import Budget
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.errors import BudgetExceededError
from prefect_sora.store.ledger import Ledger
from prefect_sora.servers.video_prices import read_prices
from prefect_sora.servers.profiles import LOCAL
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.server import remote
from prefect_sora.store.backends import VideoFolder
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.renders.submit.submit import submit
from prefect_sora.renders.submit.prepare import identify

async def main(base_url, root, options, scope):
    client = VideoClient(remote(base_url, profile=LOCAL, prices=read_prices({"*": 0.10})))
    ledger = Ledger(VideoFolder(root, options))
    prepared_ones = [
        await identify(
            VideoRequest(prompt="a kite", model=None, size="64x64", seconds=1, take=n),
            client,
            scope,
        )
        for n in range(1, 6)
    ]
    print("ready", flush=True)
    sys.stdin.readline()
    async def one(prepared):
        try:
            options = RenderOptions(scope, budget=Budget(daily_usd=1.0))
            await submit(prepared, client, ledger, options)
        except BudgetExceededError:
            return "refused"
        return "paid"
    print(json.dumps(await asyncio.gather(*map(one, prepared_ones))))
    await client.close()

asyncio.run(main(**json.loads(sys.argv[1])))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["disk", "s3"])
async def test_the_same_from_four_processes_of_different_runs(
    kind: str, tmp_path: Path, renderer: Renderer, request: pytest.FixtureRequest
) -> None:
    root, options = str(tmp_path / "clips"), {}
    if kind == "s3":
        s3: S3 = request.getfixturevalue("s3")
        root, options = s3.folder().root, dict(s3.folder().options)
    given = {"base_url": renderer.base_url, "root": root, "options": options}
    workers = [
        Forked(["-c", _WORKER, json.dumps({**given, "scope": f"run {n}"})], stdin=PIPE, stdout=PIPE)
        for n in range(4)
    ]
    for worker in workers:
        assert worker.stdout
        assert await asyncio.to_thread(worker.stdout.readline) == "ready\n"
    told = await asyncio.gather(
        *(asyncio.to_thread(worker.communicate, "go\n", 60) for worker in workers)
    )

    outcomes = Counter(outcome for out, _ in told for outcome in json.loads(out))
    assert outcomes == {"paid": 10, "refused": 10}
    assert renderer.accepted() == 10
    ledger = Ledger(VideoFolder(root, options))
    assert await spent(ledger, "day-") == 1.0


@pytest.mark.slow
async def test_a_rerun_after_a_crash_between_charge_and_create_counts_once(
    client: VideoClient, ledger: Ledger, renderer: Renderer
) -> None:
    budget = Budget(run_usd=0.1, daily_usd=0.1)
    prepared = await identify(clip(), client, "tonight")
    mine = prepared.reservation(client.server, 1, None)
    charged_to = tuple(budget.limits(mine))
    mine = mine.model_copy(update={"owner": a_dead_process(), "charged_to": charged_to})
    assert await ledger.reserve(prepared.folder, mine)
    ledger.release(mine)
    for period in charged_to:
        charge = Charge(key=mine.key, attempt=1, usd=0.1)
        await chain_of(ledger.store, period).charge(charge, limit_usd=0.1, before=_nothing)

    job = await go(client, ledger, budget=budget)

    # One more where the search for the first took so long that the second had to lapse.
    assert (job.attempt in (2, 3), renderer.accepted()) == (True, 1)
    assert (await spent(ledger, "run-"), await spent(ledger, "day-")) == (0.1, 0.1)
    with pytest.raises(BudgetExceededError):
        await go(client, ledger, clip(take=2), budget=budget)


async def _nothing() -> Before:
    return Before()


async def test_what_was_paid_is_returned_and_not_charged_again(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    first = await go(client, disk, budget=Budget(0.1))
    assert await go(client, disk, budget=Budget(0.1)) == first
    assert await go(client, disk, budget=Budget(0.0)) == first
    assert (await spent(disk, "run-"), first.cost_usd) == (0.1, 0.1)


async def test_an_answer_that_was_lost_is_charged_once(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "drop_after"}])
    assert (await go(client, disk, budget=Budget(0.1))).adopted
    renderer.faults([{"on": "create", "do": "drop"}])
    await go(client, disk, clip(take=2), budget=Budget(0.2))
    assert (await spent(disk, "run-"), renderer.accepted()) == (0.2, 2)


@pytest.mark.parametrize("times", [1, 3])
async def test_what_was_refused_is_taken_off_again(
    client: VideoClient, disk: Ledger, renderer: Renderer, times: int
) -> None:
    renderer.faults([{"on": "create", "do": "status:400", "times": times}])
    for _ in range(times):
        with pytest.raises(RejectedError):
            await go(client, disk, budget=Budget(0.1, 0.1))
    await go(client, disk, budget=Budget(0.1, 0.1))
    assert (await spent(disk, "run-"), await spent(disk, "day-")) == (0.1, 0.1)


async def test_a_server_that_asks_to_wait_is_charged_once(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "status:429"}])
    await go(client, disk, budget=Budget(0.1))
    assert (await spent(disk, "run-"), renderer.accepted()) == (0.1, 1)


async def test_the_day_refuses_and_the_run_is_not_charged(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    with pytest.raises(BudgetExceededError, match="daily_budget_usd") as caught:
        await go(client, disk, budget=Budget(run_usd=1.0, daily_usd=0.05))
    assert f"the store's budget for {datetime.now(UTC):%Y-%m-%d}" in caught.value.message
    assert (await spent(disk, "run-"), renderer.accepted()) == (0.0, 0)


async def test_a_budget_set_at_noon_counts_the_morning(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    for take in (1, 2):
        await go(client, disk, clip(take=take), scope="the morning's")
    budget = Budget(daily_usd=0.3)
    await go(client, disk, clip(take=3), scope="the afternoon's", budget=budget)
    with pytest.raises(BudgetExceededError):
        await go(client, disk, clip(take=4), scope="the afternoon's", budget=budget)
    assert renderer.accepted() == 3


async def test_a_runs_budget_counts_what_it_paid_without_one(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    await go(client, disk, clip(take=1), scope="another")
    await go(client, disk, clip(take=2))
    with pytest.raises(BudgetExceededError):
        await go(client, disk, clip(take=3), budget=Budget(0.1))
    await go(client, disk, clip(take=3), budget=Budget(0.2))
    assert renderer.accepted() == 3


async def test_what_failed_for_nothing_does_not_count(
    client: VideoClient, disk: Ledger, scripted: Script
) -> None:
    free = {"status": "failed", "error": {"message": "no luck"}, "usage": {"cost": 0}}
    _, generous = scripted(Jobs(lose=0, echo=free), prices=TEN_CENTS)
    with pytest.raises(RenderFailedError):
        await wait(await go(generous, disk), generous, disk)
    await go(client, disk, clip(take=2), budget=Budget(0.1))
    assert await spent(disk, "run-") == 0.1


async def test_yesterdays_renders_are_not_todays(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    prepared = await identify(clip(), client, "yesterday's")
    mine = prepared.reservation(client.server, 1, None).model_copy(update={"at": time() - 86_400})
    await disk.reserve(prepared.folder, mine)
    disk.release(mine)
    # Its create was accepted, as its record says.
    job = (await go(client, disk, clip(take=2))).model_copy(
        update={"key": mine.key, "folder": prepared.folder, "video_id": "video_1", "attempt": 1}
    )
    await disk.accept(prepared.folder, job)
    await go(client, disk, clip(take=3), budget=Budget(daily_usd=0.2))
    assert await spent(disk, "day-") == 0.2


@pytest.mark.parametrize(("times", "total"), [(1, 0.2), (2, 0.3)])
async def test_a_failed_job_stays_charged_where_nobody_says_that_it_was_free(
    client: VideoClient, disk: Ledger, renderer: Renderer, times: int, total: float
) -> None:
    renderer.faults([{"on": "create", "do": "fail", "times": times}])
    soon: dict[str, Any] = {"budget": Budget(1.0), "poll_interval_seconds": 0.05}
    for _ in range(times):
        with pytest.raises(RenderFailedError) as caught:
            await render(clip(), client, disk, "tonight", **soon)
        assert caught.value.paid == "unknown"
    await render(clip(), client, disk, "tonight", **soon)
    assert await spent(disk, "run-") == total


@pytest.mark.parametrize(
    ("told", "paid", "total"),
    [
        ({"usage": {"cost": 0}}, "no", 0.0),
        ({"cost_usd": 0.0}, "no", 0.0),
        ({"usage": {"cost": 0.1}}, "unknown", 0.1),
        ({"usage": {"cost": 0}, "cost": 0.1}, "unknown", 0.1),
        ({"usage": None, "cost": None}, "unknown", 0.1),
        ({"cost": False}, "unknown", 0.1),
        ({}, "unknown", 0.1),
    ],
    ids=str,
)
async def test_a_failed_job_is_taken_off_where_the_server_says_that_it_was_free(
    scripted: Script, disk: Ledger, told: dict[str, Any], paid: str, total: float
) -> None:
    jobs = Jobs(lose=0, echo={"status": "failed", "error": {"message": "no luck"}, **told})
    _, client = scripted(jobs, prices=TEN_CENTS)
    job = await go(client, disk, budget=Budget(1.0))
    with pytest.raises(RenderFailedError) as caught:
        await wait(job, client, disk)
    assert (caught.value.paid, await spent(disk, "run-")) == (paid, total)


async def test_a_failed_job_of_the_local_renderer_cost_nothing(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    local = VideoClient(replace(client.server, local=True))
    renderer.faults([{"on": "create", "do": "fail"}])
    with pytest.raises(RenderFailedError) as caught:
        await render(clip(), local, disk, "tonight")
    assert caught.value.paid == "no"
    await local.close()


async def test_a_price_that_nobody_knows_is_not_sent_under_a_budget(
    renderer: Renderer, disk: Ledger
) -> None:
    client = VideoClient(remote(renderer.base_url, profile=LOCAL))
    with pytest.raises(InvalidRequestError, match="provider block's prices") as caught:
        await go(client, disk, clip(model="wan-2.2"), budget=Budget(5.0))
    assert "no price of wan-2.2 at 64x64 is known" in caught.value.message
    assert (caught.value.paid, renderer.accepted()) == ("no", 0)
    await go(client, disk, clip(model="wan-2.2"))
    assert renderer.accepted() == 1
    await client.close()


async def test_renders_of_unknown_price_before_a_budget_are_told_of(
    client: VideoClient, disk: Ledger, renderer: Renderer, caplog: pytest.LogCaptureFixture
) -> None:
    unpriced = VideoClient(remote(renderer.base_url, profile=LOCAL))
    await go(unpriced, disk)
    await go(client, disk, clip(take=2), budget=Budget(0.1))
    assert "1 renders of before count nothing against the budget" in caplog.text
    await unpriced.close()


async def test_a_remix_is_priced_by_its_source(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    source = renderer.create(seconds="3")["id"]
    renderer.finished(source)
    remix = clip(kind="remix", source_video_id=source, size=None)
    with pytest.raises(BudgetExceededError) as caught:
        await go(client, disk, remix, budget=Budget(0.2))
    assert caught.value.asked_usd == 0.3
    job = await go(client, disk, remix, budget=Budget(0.3))
    assert (job.cost_usd, await spent(disk, "run-")) == (0.3, 0.3)


async def test_a_budget_of_nothing_lets_through_what_is_free(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    with pytest.raises(BudgetExceededError):
        await go(client, disk, budget=Budget(0.0))
    free = VideoClient(replace(client.server, prices=read_prices({"*": 0})))
    await go(free, disk, clip(take=2), budget=Budget(0.0, 0.0))
    assert renderer.accepted() == 1
    await free.close()


@pytest.mark.parametrize("usd", [-0.01, float("nan"), float("inf")])
def test_what_is_no_amount_is_no_budget(usd: float) -> None:
    for amounts in ({"run_usd": usd}, {"daily_usd": usd}):
        with pytest.raises(InvalidRequestError, match="no amount of USD"):
            Budget(**amounts)
    with pytest.raises(ValueError, match="daily_budget_usd"):
        VideoStore(url="memory://x", daily_budget_usd=usd)


async def test_without_a_budget_the_store_is_asked_for_nothing_more(
    client: VideoClient, disk: Ledger, renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    for verb in ("create", "read", "names", "put", "delete"):
        original = getattr(VideoFolder, verb)

        async def heard(self: VideoFolder, *args: Any, _o: Any = original, **more: Any) -> Any:
            asked.append(f"{_o.__name__} {args[0] if args else ''}")
            return await _o(self, *args, **more)

        monkeypatch.setattr(VideoFolder, verb, heard)
    free = VideoClient(replace(client.server, prices=read_prices({"*": 0})))
    await go(client, disk, clip(take=9))  # a new store is tried, and looked at, once
    counts = []
    for take, (who, budget) in enumerate(
        [(client, None), (client, Budget()), (free, Budget(1.0, 1.0))], 2
    ):
        asked.clear()
        await go(who, disk, clip(take=take), budget=budget)
        counts.append(len(asked))
        assert not [name for name in asked if "spending" in name]
    assert set(counts) == {5}, "a look, a marker, a reservation, a claim, an acceptance"
    await free.close()


async def test_an_entry_that_cannot_be_read_stops_all_payment(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    period = f"day-{datetime.now(UTC):%Y-%m-%d}"
    await disk.store.put(f".spending/{period}/000001.json", b"torn")
    with pytest.raises(StorageError, match="what was spent is not known") as caught:
        await go(client, disk, budget=Budget(daily_usd=1.0))
    assert (caught.value.paid, renderer.accepted()) == ("no", 0)


async def test_the_task_keeps_both_budgets(renderer: Renderer, tmp_path: Path) -> None:
    provider = OpenAICredentials(base_url=renderer.base_url, prices={"*": 0.1})
    store = VideoStore(url=str(tmp_path / "clips"), daily_budget_usd=0.3)
    for take in (1, 2):
        await submit_video.fn(clip(take=take), provider, store, scope="tonight", max_cost_usd=0.2)
    with pytest.raises(BudgetExceededError, match="max_cost_usd allows"):
        await submit_video.fn(clip(take=3), provider, store, scope="tonight", max_cost_usd=0.2)
    await submit_video.fn(clip(take=3), provider, store, scope="later")
    with pytest.raises(BudgetExceededError, match="the store's budget"):
        await submit_video.fn(clip(take=4), provider, store, scope="later")
    assert renderer.accepted() == 3
