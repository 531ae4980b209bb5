"""Comes back: processes are killed while a clip is waited for, and nobody lifts a finger.

A server, workers and flow processes as they are deployed. What a killed worker leaves is
noticed after a minute of silence, Prefect's shortest: `python -m pytest -m comes_back`.
"""

import asyncio
import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from glob import glob
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID

import httpx2
import psutil
import pytest
from prefect import Flow, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker

from prefect_sora import OpenAICredentials
from prefect_sora.flows import text_to_video
from prefect_sora.flows.automations import TAG
from tests.support.prefect_server import prefect_home, serving
from tests.support.renderer import StartRenderer, until

pytestmark = [pytest.mark.comes_back, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
RENDER_SECONDS = 15.0
"""Long enough to kill every process of it meanwhile."""
COMES_BACK_SECONDS = 240.0
WELL, WELL_SECONDS = "nothing-killed", 90.0
"""A run that nobody hurts, and which lasts longer than others may be silent."""
RUNS = 3

DOOMED = """
import os, signal
from prefect import flow

@flow
def doomed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
"""


@dataclass
class Pool:
    """A work pool with a worker of its own."""

    name: str
    environment: dict[str, str]
    folder: Path
    workers: list[psutil.Popen] = field(default_factory=list)

    def start_worker(self) -> None:
        with (self.folder / f"{self.name}-{len(self.workers)}.log").open("wb") as log:
            started = psutil.Popen(
                [sys.executable, "-m", "prefect", "worker", "start", "--pool", self.name],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.workers.append(started)

    @property
    def worker(self) -> psutil.Popen:
        return self.workers[-1]

    def flow_processes(self, run_id: UUID) -> list[psutil.Process]:
        found = []
        for process in self.worker.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if process.environ().get("PREFECT__FLOW_RUN_ID") == str(run_id):
                    found.append(process)
        return found

    def kill_all(self) -> None:
        """As where the machine is lost."""
        for process in [self.worker, *self.worker.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.worker.wait(20)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[str]:
    """A server of its own: automations are for all runs of a server with the tag."""
    with (
        serving(tmp_path / "server") as url,
        temporary_settings({PREFECT_API_URL: url, PREFECT_HOME: tmp_path / "prefect"}),
    ):
        yield url


@pytest.fixture
def pools(api: str, tmp_path: Path) -> Iterator[dict[str, Pool]]:
    environment = prefect_home(tmp_path / "home", api) | {"PREFECT_WORKER_QUERY_SECONDS": "3"}
    made = {
        name: Pool(name, environment, tmp_path)
        for name in ("flow-killed", "worker-killed", "both-killed", "worker-stopped")
    }
    yield made
    for pool in made.values():
        for worker in pool.workers:
            with suppress(psutil.NoSuchProcess):
                for process in worker.children(recursive=True):
                    process.kill()
                worker.kill()
            worker.wait()


def state_of(api: str, run_id: UUID) -> dict[str, Any]:
    answer = httpx2.get(f"{api}/flow_runs/{run_id}", timeout=60)
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


async def deployed(
    flow: Flow[..., Any], pool: str, entrypoint: str, folder: Path, **more: Any
) -> UUID:
    async with get_client() as client:
        return await client.create_deployment(
            await client.create_flow(flow),
            f"{pool}-{entrypoint.rpartition('.')[2]}-{len(more)}",
            work_pool_name=pool,
            entrypoint=entrypoint,
            parameter_openapi_schema=parameter_schema(flow).model_dump_for_openapi(),
            pull_steps=[
                {"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}
            ],
            **more,
        )


async def started(deployment: UUID, **parameters: Any) -> UUID:
    async with get_client() as client:
        run = await client.create_flow_run_from_deployment(deployment, parameters=parameters)
    return run.id


def automate(environment: dict[str, str], *words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "prefect_sora.cli", "automate", "--json", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


async def test_a_clip_comes_home_whatever_is_killed_and_nothing_is_paid_twice(
    api: str, pools: dict[str, Pool], start_renderer: StartRenderer, tmp_path: Path
) -> None:
    renderer = start_renderer(min_render_seconds=RENDER_SECONDS, parallel=len(pools))
    slow = start_renderer(min_render_seconds=WELL_SECONDS)
    await OpenAICredentials(base_url=renderer.base_url).asave("quick")
    await OpenAICredentials(base_url=slow.base_url).asave("slow")
    (tmp_path / "doom.py").write_text(DOOMED)
    template = ProcessWorker.get_default_base_job_template()
    doomed: Flow[[], None] = load_flow_from_entrypoint(f"{tmp_path}/doom.py:doomed")
    deployments = {}
    async with get_client() as client:
        for name in pools:
            await client.create_work_pool(
                WorkPoolCreate(name=name, type="process", base_job_template=template)
            )
            deployments[name] = await deployed(
                text_to_video, name, "prefect_sora.flows.text_to_video", ROOT, tags=[TAG]
            )
    deployments[WELL] = deployments["flow-killed"]
    always = await deployed(doomed, "flow-killed", "doom.py:doomed", tmp_path, tags=[TAG])
    gone = await deployed(doomed, "flow-killed", "doom.py:nothing", tmp_path, tags=[TAG])
    others = await deployed(doomed, "flow-killed", "doom.py:doomed", tmp_path)
    environment = pools["flow-killed"].environment
    first = automate(environment, "--runs", f"{RUNS}")
    assert set(first["automations"].values()) == {"created"}
    assert set(first["deployments"].values()) == {"set"}
    again = automate(environment, "--runs", f"{RUNS}")
    assert set(again["automations"].values()) == {"unchanged"}
    assert set(again["deployments"].values()) == {"stands already"}

    for pool in pools.values():
        pool.start_worker()
    begun = monotonic()
    runs = {}
    for name, deployment in deployments.items():
        store = tmp_path / "clips" / name
        block = "slow" if name == WELL else "quick"
        runs[name] = await started(
            deployment,
            prompt=f"a kite, {name}",
            provider={"$ref": {"block_document_slug": f"sora-openai-credentials/{block}"}},
            store=str(store),
            model=None,
            size="64x64",
            seconds=1,
            poll_interval_seconds=0.5,
        )
    folder = tmp_path / "clips"
    for name in runs:
        until(partial(glob, f"{folder}/{name}/*/accepted.json"), f"{name} is accepted", 90)

    killed = monotonic()
    for process in pools["flow-killed"].flow_processes(runs["flow-killed"]):
        process.kill()
    pools["worker-killed"].worker.kill()
    pools["both-killed"].kill_all()
    pools["worker-stopped"].worker.send_signal(signal.SIGTERM)
    pools["worker-stopped"].worker.wait(30)
    assert not list(folder.glob("*/*/stored.json")), "a render was faster than the killing"
    for name in ("worker-killed", "both-killed", "worker-stopped"):
        pools[name].start_worker()
    doom = {
        "always": await started(always),
        "gone": await started(gone),
        "others": await started(others),
    }

    took: dict[str, float] = {}
    async with asyncio.timeout(COMES_BACK_SECONDS):
        while len(took) < len(runs):
            await asyncio.sleep(1)  # asked more often, a server on SQLite is slowed down by it
            for name in runs.keys() - took.keys():
                if state_of(api, runs[name])["state_type"] == "COMPLETED":
                    took[name] = monotonic() - killed
    print(f"accepted after {killed - begun:.0f} s, home after", took)
    counts = {name: state_of(api, run_id)["run_count"] for name, run_id in runs.items()}
    # An orphan goes on, and may end with the pipe that its worker read.
    assert counts.pop("worker-killed") in (1, 2)
    assert counts.pop(WELL) == 1
    assert counts == {"flow-killed": 2, "both-killed": 2, "worker-stopped": 2}
    assert renderer.accepted() == len(renderer.requests("create")) == len(runs) - 1
    assert slow.accepted() == 1
    for name in runs:
        (record,) = folder.glob(f"{name}/*/stored.json")
        video = json.loads(record.read_text())["video"]
        clip = folder / name / video["url"]
        assert hashlib.sha256(clip.read_bytes()).hexdigest() == video["sha256"]

    # Past its bound a crash is the end; what is not ours is left alone.
    wanted = {
        "always": ("CRASHED", "Crashed", RUNS),
        "gone": ("CRASHED", "Crashed too often", 0),
        "others": ("CRASHED", "Crashed", 1),
    }

    def ends() -> dict[str, tuple[str, str, int]]:
        states = {name: state_of(api, run_id) for name, run_id in doom.items()}
        return {n: (r["state_type"], r["state_name"], r["run_count"]) for n, r in states.items()}

    with suppress(TimeoutError):  # what was wanted is told below
        async with asyncio.timeout(150):
            while ends() != wanted:  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(2)
    await asyncio.sleep(5)
    assert ends() == wanted
    removed = automate(environment, "--remove")
    assert set(removed["automations"].values()) == {"removed"}
