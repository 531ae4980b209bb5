"""The process that `kept` measures: it does a thing on a small store, and then on the large."""

import asyncio
import gc
import json
import sys
from time import monotonic
from typing import Any
from uuid import uuid4

import httpx2

from benchmarks.keeper import Peak
from prefect_sora.attempts import Attempt
from prefect_sora.budgets import Budget
from prefect_sora.charging import charge_usd
from prefect_sora.client import VideoClient
from prefect_sora.handles import VideoJob
from prefect_sora.ledger import Ledger
from prefect_sora.prices import read_prices
from prefect_sora.profiles import GENERIC
from prefect_sora.records import RenderState
from prefect_sora.render_options import WaitOptions
from prefect_sora.requests import VideoRequest
from prefect_sora.server import remote
from prefect_sora.storage import VideoFolder
from prefect_sora.sweeping import sweep
from prefect_sora.wishes import Wish, identify

PATIENCE_SECONDS = 1.0


async def wished(client: VideoClient, scope: str, take: int = 1) -> Wish:
    """Identify a render of one of many runs."""
    asked = VideoRequest(
        prompt=f"a boat {take}", model="sora-2", size="1280x720", seconds=8, take=take
    )
    return await identify(asked, client, scope)


async def fill(client: VideoClient, ledger: Ledger, opened: int) -> None:
    """Begin renders, as the runs do that died since."""
    for take in range(1, opened + 1):
        wish = await wished(client, "tonight", take)
        mine = wish.reservation(client.server, 1, None)
        if not await ledger.reserve(wish.folder, mine):
            raise RuntimeError("It was begun before.")
        ledger.release(mine)
        job = VideoJob(
            key=mine.key,
            attempt=1,
            folder=wish.folder,
            video_id=f"video_{mine.key}",
            provider=mine.provider,
            title=wish.request.title,
            model="sora-2",
            size="1280x720",
            seconds=8,
            submitted_at=mine.at,
            cost_usd=0.8,
        )
        await ledger.claim(client.server.identity, job.video_id, mine.key)
        await ledger.accept(wish.folder, job)


async def swept(client: VideoClient, ledger: Ledger, opened: int) -> None:
    """Sweep; all that is open goes on rendering."""

    async def client_of(_: RenderState) -> VideoClient:
        return client

    found = await sweep(ledger, client_of, WaitOptions(timeout_seconds=PATIENCE_SECONDS))
    outcomes = {one.outcome for one in found}
    if len(found) != opened or outcomes - {"waiting"}:
        raise RuntimeError(f"{len(found)} were found, which are {outcomes}.")


async def charged(client: VideoClient, ledger: Ledger) -> None:
    """Charge the first render of a run and of a day."""
    wish = await wished(client, uuid4().hex)
    mine = wish.reservation(client.server, 1, None)
    await charge_usd(
        0.8,
        Attempt(mine, wish.folder, client, ledger),
        Budget(run_usd=5.0, daily_usd=1e6),
    )


async def do(task: dict[str, Any]) -> dict[str, float]:
    """Do what is asked on a small store, and then on the large one."""
    client = VideoClient(remote(task["base_url"], profile=GENERIC, prices=read_prices({"*": 0.1})))

    async def work(root: str, opened: int) -> None:
        ledger = Ledger(VideoFolder(root, task["options"]))
        if task["work"] == "fill":
            await fill(client, ledger, opened)
        elif task["work"] == "first charge":
            await charged(client, ledger)
        else:  # resume without keys is the sweep that leaves nothing to its own run
            await swept(client, ledger, opened)

    small = f"{task['root']}-{uuid4().hex[:8]}"
    if task["work"] != "fill":
        await fill(client, Ledger(VideoFolder(small, task["options"])), 2)
        await work(small, 2)
    begin_the_count_anew(task)
    gc.collect()
    peak, began = Peak(), monotonic()
    await work(task["root"], task["open"])
    seconds = monotonic() - began
    await client.close()
    return {"seconds": seconds, "grown": peak.stop() - peak.idle_bytes}


def begin_the_count_anew(task: dict[str, Any]) -> None:
    """What was asked of S3 so far does not count."""
    if "endpoint_url" in task["options"]:
        httpx2.get(f"{task['options']['endpoint_url']}/asked")


if __name__ == "__main__":
    json.dump(asyncio.run(do(json.load(sys.stdin))), sys.stdout)
