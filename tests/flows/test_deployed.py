"""Deployed: `prefect.yaml` as it is, on a real Prefect server, run by a real worker."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psutil
import pytest
from pydantic import SecretStr

from flows.nightly_clip import announce, prompt_of
from prefect_sora import OpenAICredentials, StoredVideo, VideoStore
from prefect_sora.servers.local import find_running
from tests.support.asking import ask_prefect
from tests.support.prefect_server import prefect_home
from tests.support.renderer import StartRenderer, until

ROOT = Path(__file__).parents[2]
PREFECT = (sys.executable, "-m", "prefect")
NIGHTLY = "nightly-clip/every-night"
SWEEP = "sweep/every-15-minutes"
FILMS = "product-films/every-morning"
KEY = "sk-canary-of-the-worker"
SMALL: dict[str, Any] = {"model": None, "size": "64x64", "seconds": 1, "poll_interval_seconds": 0.1}

A_KITE = "A red kite over a grassy park."

pytestmark = pytest.mark.slow

# Each run is a process that imports Prefect, twice where it is retried.
RUN_SECONDS = 60.0


@dataclass(frozen=True)
class Workplace:
    """A checkout that is deployed, as its user sees it: a shell, and the Prefect server."""

    api: str
    home: Path
    worker: psutil.Process

    @property
    def environment(self) -> dict[str, str]:
        return environment(self.home, self.api)

    def prefect(self, *words: str) -> str:
        return run(self.environment, *PREFECT, *words)

    def deployment(self, name: str) -> dict[str, Any]:
        """A deployment by its name and its flow's."""
        answer = ask_prefect("GET", f"{self.api}/deployments/name/{name}")
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def start(self, deployment: str, at: str | None = None, **parameters: Any) -> str:
        """Have a deployment run with some parameters of its own; return the run's id."""
        details = {"scheduled_time": at} if at else {}
        answer = ask_prefect(
            "POST",
            f"{self.api}/deployments/{self.deployment(deployment)['id']}/create_flow_run",
            json={
                "parameters": parameters,
                "idempotency_key": uuid4().hex,  # one that is asked for twice is one
                "state": {"type": "SCHEDULED", "state_details": details},
            },
        )
        return str(answer.raise_for_status().json()["id"])

    def run(self, run_id: str) -> dict[str, Any]:
        answer = ask_prefect("GET", f"{self.api}/flow_runs/{run_id}")
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        answer = ask_prefect("POST", f"{self.api}/flow_runs/filter", json={"flow_runs": filters})
        found: list[dict[str, Any]] = answer.raise_for_status().json()
        return found

    def ended(self, run_id: str) -> str:
        """Wait until a run has ended, and return how."""
        kinds = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")

        def state() -> str | None:
            run = self.run(run_id)
            return run["state_name"] if run["state_type"] in kinds else None

        return str(until(state, f"run {run_id} ends", RUN_SECONDS))

    def processes(self, run_id: str) -> list[psutil.Process]:
        """The flow's process below the worker, and what belongs to it."""
        found = []
        for process in self.worker.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if process.environ().get("PREFECT__FLOW_RUN_ID") == run_id:
                    found.append(process)
        return found


def environment(home: Path, api: str) -> dict[str, str]:
    """Our user's shell: no account, and a store and a renderer of the test's own."""
    inherited = {
        name: value
        for name, value in prefect_home(home, api).items()
        if not name.startswith(("OPENAI_", "AZURE_"))
    }
    return inherited | {
        "PREFECT_SORA_STORE": str(home / "renders"),
        "PREFECT_SORA_LOCAL_FOLDER": str(home / "renderer"),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "COLUMNS": "200",
    }


def run(env: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=RUN_SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def workplace(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """The commands of `prefect.yaml`, on a checkout as it stands."""
    home = tmp_path_factory.mktemp("workplace")
    env = environment(home, prefect_api)
    create = (*PREFECT, "work-pool", "create", "--type", "process", "renders")
    with ThreadPoolExecutor() as both:
        list(both.map(lambda words: run(env, *words), [create, (sys.executable, "blocks")]))
    run(env, *PREFECT, "--no-prompt", "deploy", "--all")
    with (home / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            [*PREFECT, "worker", "start", "--pool", "renders", "--type", "process"],
            cwd=home,  # elsewhere: the checkout is found by the deployment alone
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield Workplace(prefect_api, home, psutil.Process(worker.pid))
    finally:
        # A worker that ends leaves its runs behind.
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(worker.pid).children(recursive=True):
                process.kill()
        worker.kill()
        worker.wait()
        renderer = find_running(home / "renderer")
        if renderer:
            os.kill(renderer.pid, signal.SIGTERM)


@pytest.fixture(scope="module")
def asked(workplace: Workplace) -> dict[str, str]:
    """Runs that are asked for at once, by what they are to show; each test waits for its own."""
    shot = {"subject": "a heron", "action": "waits", "camera_movement": "static"}
    late = {"nightly": "2026-02-03T02:00:00Z", "films": "2026-02-03T06:00:00Z"}
    return {
        "nightly": workplace.start(NIGHTLY, at=late["nightly"], **SMALL),
        "shot": workplace.start("text-to-video/on-demand", prompt=shot, **SMALL),
        "films": workplace.start(FILMS, at=late["films"], **SMALL, image_model=None),
    }


def test_a_run_with_the_saved_blocks_ends_with_the_clip_of_its_day(
    workplace: Workplace, asked: dict[str, str]
) -> None:
    assert workplace.ended(asked["nightly"]) == "Completed"
    renders = workplace.home / "renders"
    latest = json.loads((renders / "latest.json").read_text())
    assert latest["day"] == "2026-02-03"
    assert latest["prompt"] in (ROOT / "flows" / "prompts.txt").read_text("utf-8").splitlines()
    clip = whole(latest["video"])
    assert clip.is_relative_to(renders)
    assert latest["video"]["provider"] == "local"


def test_the_deployments_name_saved_blocks_and_hold_none_of_their_values(
    workplace: Workplace,
) -> None:
    deployments = ask_prefect("POST", f"{workplace.api}/deployments/filter", json={}).json()
    ours = {d["name"]: d for d in deployments if d["work_pool_name"] == "renders"}
    assert sorted(ours) == ["every-15-minutes", "every-morning", "every-night", "on-demand"]
    for deployment in ours.values():
        assert deployment["parameters"] == {
            "provider": {"$ref": {"block_document_slug": "sora-local-renderer/local-renderer"}},
            "store": {"$ref": {"block_document_slug": "sora-video-store/video-store"}},
        }
        (step,) = deployment["pull_steps"]
        assert step["prefect.deployments.steps.set_working_directory"]["directory"] == str(ROOT)


def test_every_night_is_planned_with_the_saved_blocks(workplace: Workplace) -> None:
    nightly = workplace.deployment(NIGHTLY)["id"]

    def planned() -> list[dict[str, Any]]:
        return [
            r
            for r in workplace.runs(state={"type": {"any_": ["SCHEDULED"]}})
            if r["auto_scheduled"] and r["deployment_id"] == nightly
        ]

    runs = until(planned, "the schedule plans its runs", 90)
    assert {r["expected_start_time"].partition("T")[2][:8] for r in runs} == {"02:00:00"}
    assert all("block_document_slug" in str(r["parameters"]["provider"]) for r in runs)


def test_a_form_offers_text_or_a_shot_and_a_run_takes_the_shot(
    workplace: Workplace, asked: dict[str, str]
) -> None:
    schema = workplace.deployment("text-to-video/on-demand")["parameter_openapi_schema"]
    text, shot = schema["properties"]["prompt"]["anyOf"]
    assert (text, shot) == ({"type": "string"}, {"$ref": "#/definitions/ShotPrompt"})
    fields = schema["definitions"]["ShotPrompt"]["properties"]
    assert all(field["description"] for field in fields.values())
    assert "dolly in" in fields["camera_movement"]["anyOf"][0]["enum"]

    assert workplace.ended(asked["shot"]) == "Completed"
    assert workplace.run(asked["shot"])["name"] == "text to video · a heron waits"
    (record,) = (workplace.home / "renders").glob("a-heron-waits-*/reserved.json")
    prompt = json.loads(record.read_text())["request"]["prompt"]
    assert prompt == "A heron waits. The camera stands still on a tripod."


def test_product_films_wait_for_their_schedule_and_run_when_they_are_asked_for(
    workplace: Workplace, asked: dict[str, str]
) -> None:
    (schedule,) = workplace.deployment(FILMS)["schedules"]
    assert not schedule["active"]

    assert workplace.ended(asked["films"]) == "Completed"
    assert workplace.run(asked["films"])["name"] == "product films · 2026-02-03"
    manifest = workplace.home / "renders" / "product-films-2026-02-03.json"
    told = json.loads(manifest.read_text("utf-8"))
    assert len(told["clips"]) == 4
    for kept in (told["reel"], *told["clips"]):
        assert whole(kept).is_relative_to(workplace.home / "renders")


def test_a_sweep_takes_saved_blocks_one_or_a_list(workplace: Workplace) -> None:
    saved_block = {"$ref": {"block_document_slug": "sora-local-renderer/local-renderer"}}
    several = workplace.start(SWEEP, provider=[saved_block, saved_block])
    for run_id in (workplace.start(SWEEP), several):
        assert workplace.ended(run_id) == "Completed"
        assert "nothing was left behind in" in workplace.run(run_id)["state"]["message"]


@pytest.mark.usefixtures("prefect")
def test_a_killed_run_that_is_retried_brings_its_clip_home_without_paying_again(
    workplace: Workplace, start_renderer: StartRenderer, tmp_path: Path
) -> None:
    renderer = start_renderer(min_render_seconds=4.0, api_key=KEY)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text(f"{A_KITE}\n")
    store = tmp_path / "clips"
    run_id = workplace.start(
        NIGHTLY,
        provider=saved(
            workplace, "slow", OpenAICredentials(base_url=renderer.base_url, api_key=SecretStr(KEY))
        ),
        store=saved(workplace, "clips", VideoStore(store)),
        prompts=str(prompts),
        **SMALL,
    )
    until(lambda: list(store.glob("*/accepted.json")), "the render is accepted", RUN_SECONDS)
    until(lambda: renderer.requests("retrieve") or renderer.requests("list"), "it is waited for")
    for process in workplace.processes(run_id):
        process.kill()
    assert workplace.ended(run_id) == "Crashed"
    assert not list(store.glob("*/stored.json"))
    prompts.write_text("Something else altogether.\n")
    settled(workplace, run_id)
    workplace.prefect("flow-run", "retry", run_id)
    until(lambda: workplace.run(run_id)["run_count"] == 2, "it runs again", RUN_SECONDS)

    assert workplace.ended(run_id) == "Completed"
    assert renderer.accepted() == 1
    assert len(renderer.requests("create")) == 1
    (record,) = store.glob("*/stored.json")
    video = json.loads(record.read_text())["video"]
    clip = whole({**video, "url": (store / video["url"]).as_uri()})
    assert clip.parent == record.parent
    assert json.loads((store / "latest.json").read_text())["prompt"] == A_KITE
    assert KEY not in (workplace.home / "worker.log").read_text()
    assert KEY not in json.dumps(workplace.runs())


@pytest.mark.usefixtures("prefect")
def test_a_run_that_is_cancelled_takes_its_job_back_where_that_is_wanted(
    workplace: Workplace, start_renderer: StartRenderer, tmp_path: Path
) -> None:
    renderer = start_renderer(min_render_seconds=60.0, api_key=KEY)
    store = tmp_path / "clips"
    run_id = workplace.start(
        "text-to-video/on-demand",
        prompt=A_KITE,
        provider=saved(
            workplace,
            "taken",
            OpenAICredentials(base_url=renderer.base_url, api_key=SecretStr(KEY)),
        ),
        store=str(store),
        on_cancel="delete",
        **SMALL,
    )
    until(lambda: renderer.requests("retrieve") or renderer.requests("list"), "it waits", 60)
    workplace.prefect("flow-run", "cancel", run_id)
    assert workplace.ended(run_id) == "Cancelled"
    assert len(renderer.requests("delete")) == 1
    (record,) = store.glob("*/failed.json")
    assert "its run was cancelled" in json.loads(record.read_text())["message"]


def test_the_list_of_prompts_starts_again_after_its_last(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("one\n\n  two\nthree\n")
    days = [date(2026, 2, 27) + timedelta(days=n) for n in range(4)]
    first, second, third, fourth = (prompt_of.fn(day, prompts) for day in days)
    assert sorted([first, second, third]) == ["one", "three", "two"]
    assert fourth == first
    prompts.write_text("\n")
    with pytest.raises(ValueError, match="holds no prompt"):
        prompt_of.fn(days[0], prompts)


async def test_a_night_that_comes_home_late_leaves_the_later_one_announced(tmp_path: Path) -> None:
    clip = StoredVideo(
        key="3f9c2a7b1d4e",
        folder="a-kite-3f9c2a7b1d4e",
        video_id="video_1",
        provider="local",
        title="a kite",
        url="file:///renders/a-kite-3f9c2a7b1d4e/video.mp4",
        sha256="0" * 64,
        size_bytes=1,
        width=64,
        height=64,
        created_at=0.0,
    )
    told = []
    for night in (date(2026, 2, 3), date(2026, 2, 4), date(2026, 2, 3), date(2026, 10, 1)):
        await announce.fn(night, "a kite", clip, str(tmp_path))
        told.append(json.loads((tmp_path / "latest.json").read_text())["day"])
    assert told == ["2026-02-03", "2026-02-04", "2026-02-04", "2026-10-01"]


def settled(workplace: Workplace, run_id: str) -> None:
    """Wait until the worker has reported the crash for good.

    It does so twice, the second time about 1.3 s later, and that report would
    undo a retry that was scheduled in between (Prefect 3.8.8).
    """
    since, state = monotonic(), workplace.run(run_id)["state_id"]

    def quiet() -> bool:
        nonlocal since, state
        now = workplace.run(run_id)["state_id"]
        if now != state:
            since, state = monotonic(), now
        return monotonic() - since > 4.0

    until(quiet, "the crash is reported for good", 30)


def saved(workplace: Workplace, name: str, block: OpenAICredentials | VideoStore) -> dict[str, Any]:
    """Save a block for a test and refer to it."""
    block.save(name, overwrite=True)
    return {"$ref": {"block_document_slug": f"{block.get_block_type_slug()}/{name}"}}


def whole(video: dict[str, Any]) -> Path:
    """A kept video's file, which is what its record says."""
    clip = Path(urlsplit(video["url"]).path)
    assert hashlib.sha256(clip.read_bytes()).hexdigest() == video["sha256"]
    return clip
