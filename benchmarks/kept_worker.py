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
from prefect_sora.handles import VideoJob
from prefect_sora.renders.finish.options import WaitOptions
from prefect_sora.renders.recovery.sweep import sweep
from prefect_sora.renders.submit.attempt import Attempt
from prefect_sora.renders.submit.budget_charges import charge_usd
from prefect_sora.renders.submit.options import Budget
from prefect_sora.renders.submit.prepare import PreparedVideo, identify
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.profiles import GENERIC
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import remote
from prefect_sora.servers.video_prices import read_prices
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import RenderState

PATIENCE_SECONDS = 1.0


async def prepare_one(client: VideoClient, scope: str, take: int = 1) -> PreparedVideo:
    """Identify a render of one of many runs."""
    asked = VideoRequest(
        prompt=f"a boat {take}", model="sora-2", size="1280x720", seconds=8, take=take
    )
    return await identify(asked, client, scope)


async def fill(client: VideoClient, ledger: Ledger, opened: int) -> None:
    """Begin renders, as the runs do that died since."""
    for take in range(1, opened + 1):
        prepared = await prepare_one(client, "tonight", take)
        mine = prepared.reservation(client.server, 1, None)
        if not await ledger.reserve(prepared.folder, mine):
            raise RuntimeError("It was begun before.")
        ledger.release(mine)
        job = VideoJob(
            key=mine.key,
            attempt=1,
            folder=prepared.folder,
            video_id=f"video_{mine.key}",
            provider=mine.provider,
            title=prepared.request.title,
            model="sora-2",
            size="1280x720",
            seconds=8,
            submitted_at=mine.at,
            cost_usd=0.8,
        )
        await ledger.claim(client.server.identity, job.video_id, mine.key)
        await ledger.accept(prepared.folder, job)


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
    prepared = await prepare_one(client, uuid4().hex)
    mine = prepared.reservation(client.server, 1, None)
    await charge_usd(
        0.8,
        Attempt(mine, prepared.folder, client, ledger),
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
