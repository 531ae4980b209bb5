"""The flow `sweep`: what it returns, what the UI shows, and that the command does the same."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prefect import get_client

from prefect_sora import OpenAICredentials, SoraError, VideoStore, sweep
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import remote
from prefect_sora.store.ledger import Ledger
from tests.support import processes
from tests.support.prefect_server import prefect_home
from tests.support.renderer import Renderer, StartRenderer
from tests.support.renders import a_dead_process, clip, go, left_in_doubt
from tests.support.s3 import S3

NOW: dict[str, Any] = {
    "timeout_seconds": 2,
    "poll_interval_seconds": 0.05,
    "older_than_seconds": 0,
}

pytestmark = pytest.mark.usefixtures("prefect")


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> VideoStore:
    if request.param == "disk":
        return VideoStore(tmp_path / "clips")
    s3: S3 = request.getfixturevalue("s3")
    return VideoStore(s3.folder().root, s3.options)


async def leave_behind(renderer: Renderer, ledger: Ledger) -> dict[str, str]:
    """Leave a finished render, one that stalls and one in doubt; return their keys by prompt."""
    renderer.faults(
        [
            {"on": "create", "do": "stall", "match": "runs"},
            {"on": "list", "do": "status:404", "times": None},
        ]
    )
    client = VideoClient(remote(renderer.base_url))
    keys = {p: (await go(client, ledger, clip(prompt=p))).key for p in ("finished", "runs")}
    doubtful = clip(prompt="doubtful")
    folder = await left_in_doubt(client, ledger, doubtful, owner=a_dead_process())
    await client.close()
    return {**keys, "doubtful": (await ledger.state(folder)).key}


@pytest.mark.slow
async def test_a_sweep_tells_what_became_of_each_render(
    renderer: Renderer, store: VideoStore, prefect: str
) -> None:
    keys = await leave_behind(renderer, store.ledger)
    provider = OpenAICredentials(base_url=renderer.base_url)

    summary = await sweep(provider, store, **NOW)

    assert list(summary.kept) == [keys["finished"]]
    assert list(summary.waiting) == [keys["runs"]]
    assert list(summary.in_doubt) == [keys["doubtful"]]
    assert type(summary).model_validate_json(summary.model_dump_json()) == summary

    artifact = await latest_artifact(prefect)
    rows = {row["Render"]: row for row in json.loads(artifact["data"])}
    assert [row["Outcome"] for row in rows.values()] == ["in doubt", "waiting", "kept"]
    commands = rows[keys["doubtful"]]["What to do"]
    assert (
        f"`prefect-sora resume {keys['doubtful']} --adopt VIDEO_ID --store {store.url}`" in commands
    )
    assert f"`prefect-sora resume {keys['doubtful']} --resubmit --store {store.url}`" in commands
    async with get_client() as api:
        run = await api.read_flow_run(artifact["flow_run_id"])
    assert run.state is not None
    assert run.state.is_completed()
    assert run.state.message == f"1 kept, 1 waiting, 1 in doubt in {store.url}"

    again = await sweep(provider, store, **NOW)
    assert (again.kept, list(again.waiting), list(again.in_doubt)) == (
        {},
        [keys["runs"]],
        [keys["doubtful"]],
    )
    assert renderer.accepted() == 2


async def test_nothing_left_behind_is_fine(renderer: Renderer, store: VideoStore) -> None:
    summary = await sweep(OpenAICredentials(base_url=renderer.base_url), store)
    assert f"{summary}" == f"nothing was left behind in {store.url}"


@pytest.mark.slow
async def test_it_fails_where_that_is_asked_for_after_all_the_others_came_home(
    renderer: Renderer, tmp_path: Path
) -> None:
    store = VideoStore(tmp_path)
    keys = await leave_behind(renderer, store.ledger)
    with pytest.raises(SoraError, match="1 kept, 1 waiting, 1 in doubt"):
        await sweep(
            OpenAICredentials(base_url=renderer.base_url), store, raise_on=["in_doubt"], **NOW
        )
    assert (await store.ledger.state((await store.ledger.find(keys["finished"]))[0])).stored


async def test_the_renders_of_several_servers_come_home_in_one_sweep(
    renderer: Renderer, start_renderer: StartRenderer, tmp_path: Path
) -> None:
    store = VideoStore(tmp_path)
    renderers = [renderer, start_renderer()]
    for n, server in enumerate(renderers):
        client = VideoClient(remote(server.base_url))
        await go(client, store.ledger, clip(prompt=f"kite {n}"))
        await client.close()
    providers = [OpenAICredentials(base_url=server.base_url) for server in renderers]

    only_one = await sweep(providers[:1], store, **NOW)
    assert (len(only_one.kept), len(only_one.skipped)) == (1, 1)
    assert renderers[1].base_url in str(only_one.skipped)
    assert len((await sweep([*providers], store, **NOW)).kept) == 1


@pytest.mark.slow
async def test_the_command_ends_each_render_as_the_flow_does(
    renderer: Renderer, tmp_path: Path
) -> None:
    def of(name: str) -> VideoStore:
        return VideoStore(tmp_path / name)

    keys = await leave_behind(renderer, of("a").ledger)
    assert await leave_behind(renderer, of("b").ledger) == keys
    summary = await sweep(OpenAICredentials(base_url=renderer.base_url), of("a"), **NOW)

    environment = prefect_home(tmp_path / "home") | {"OPENAI_BASE_URL": renderer.base_url}
    words = ("resume", "--store", of("b").url, "--json", "--timeout", "2")
    command = ["-m", "prefect_sora.cli", *words, "--poll-interval", "0.05"]
    done = await asyncio.to_thread(processes.run, command, env=environment)

    told = {render["key"]: render["outcome"] for render in json.loads(done.stdout)["renders"]}
    assert told == {
        key: outcome
        for outcome in ("kept", "waiting", "in_doubt")
        for key in getattr(summary, outcome)
    }


async def latest_artifact(api_url: str) -> dict[str, Any]:
    async with httpx2.AsyncClient() as http:
        answer = await http.post(
            f"{api_url}/artifacts/filter",
            json={"artifacts": {"type": {"any_": ["table"]}}, "sort": "CREATED_DESC"},
        )
    found: dict[str, Any] = answer.raise_for_status().json()[0]
    return found
