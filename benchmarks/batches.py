"""Batch: what estimating a large table takes, and what the flow itself costs per render."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.processes import FailedError, environment, local_renderer
from benchmarks.table import Pairs, Row, alternate
from prefect_sora.renders.batches.plan import plan
from prefect_sora.requests.table import read_table
from prefect_sora.servers.local import RendererAddress, RendererOptions
from prefect_sora.servers.server import remote

ROWS = 10_000
ALLOWED_SECONDS = 2.0
RENDERS = 100

_FLOW = """\
import asyncio, json, sys
from prefect_sora import OpenAICredentials, render_batch

async def main(base_url, folder, renders):
    from time import process_time
    provider = OpenAICredentials(base_url=base_url)
    tiny = {"model": None, "size": "64x64", "seconds": 1}
    def table(name, count):
        return [{"prompt": f"{name} {n}", **tiny} for n in range(count)]
    await render_batch(table("warm", 2), provider, folder, poll_interval_seconds=0.1)
    began = process_time()
    result = await render_batch(
        table("fox", renders), provider, folder, max_concurrent=8, poll_interval_seconds=0.1
    )
    print(json.dumps({"cpu": process_time() - began, "kept": result.kept}))

asyncio.run(main(**json.loads(sys.argv[1])))
"""
_PLAIN = """\
import asyncio, json, sys
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.ledger import Ledger
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.requests.video import VideoRequest
from prefect_sora.renders.run import PlainSteps, render
from prefect_sora.servers.server import remote
from prefect_sora.store.backends import VideoFolder

async def main(base_url, folder, renders):
    from time import process_time
    client, ledger = VideoClient(remote(base_url)), Ledger(VideoFolder(folder))
    options = RenderOptions("plain", poll_interval_seconds=0.1)
    steps = PlainSteps.on(client, ledger, options)
    gate = asyncio.Semaphore(8)
    async def one(name, n):
        async with gate:
            request = VideoRequest(prompt=f"{name} {n}", model=None, size="64x64", seconds=1)
            return await render(request, steps)
    await asyncio.gather(*(one("warm", n) for n in range(2)))
    began = process_time()
    kept = await asyncio.gather(*(one("fox", n) for n in range(renders)))
    print(json.dumps({"cpu": process_time() - began, "kept": len(kept)}))
    await client.close()

asyncio.run(main(**json.loads(sys.argv[1])))
"""


def measure(rounds: int) -> Iterable[Row]:
    """Time the estimate against what it may take, and the flow's own CPU against the core's."""
    with TemporaryDirectory() as folder:
        took = [_estimated(Path(folder)) for _ in range(rounds)]
    yield Row(
        "batch",
        f"reading, checking and pricing a table of {ROWS} rows",
        "what it may take",
        "s",
        Pairs(tuple(took), (ALLOWED_SECONDS,) * rounds),
        1.0,
    )
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        with local_renderer(home / "renderer", RendererOptions(poll_after_ms=100)) as address:
            pairs = alternate(
                rounds,
                lambda n: _cpu_ms(_FLOW, address, home, f"flow-{n}"),
                lambda n: _cpu_ms(_PLAIN, address, home, f"plain-{n}"),
            )
    yield Row(
        "batch",
        f"CPU per render of a flow with a batch of {RENDERS}, one task run each",
        "the same renders in plain Python, without Prefect",
        "ms",
        pairs,
    )


def _estimated(folder: Path) -> float:
    file = folder / "table.jsonl"
    sizes = ("1280x720", "720x1280")
    lines = (
        json.dumps(
            {"prompt": f"fox {n} in the snow", "size": sizes[n % 2], "seconds": 4 + n % 2 * 4}
        )
        for n in range(ROWS)
    )
    file.write_text("\n".join(lines), "utf-8")
    began = perf_counter()
    planned = plan(asyncio.run(read_table(file)), remote("https://no-server.invalid/v1"))
    took = perf_counter() - began
    if planned.estimate.usd != ROWS * 0.6:
        raise FailedError(f"The estimate is {planned.estimate}.")
    return took


def _cpu_ms(code: str, address: RendererAddress, home: Path, name: str) -> float:
    given = {"base_url": address.base_url, "folder": str(home / name), "renders": RENDERS}
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(given)],
        capture_output=True,
        env=environment(home) | {"PREFECT_LOGGING_LEVEL": "ERROR"},
        cwd=Path(__file__).parents[1],
        check=False,
    )
    if done.returncode:
        raise FailedError(done.stderr.decode("utf-8", "replace"))
    told = json.loads(done.stdout.splitlines()[-1])
    if told["kept"] != RENDERS:
        raise FailedError(f"{told['kept']} of {RENDERS} were kept.")
    return 1000 * float(told["cpu"]) / RENDERS
