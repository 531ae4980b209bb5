"""LiteLLM's real proxy: another project's code in front of the local renderer keeps the contract.

It has a virtual environment of its own, made once and kept in the user's cache.
"""

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from prefect_sora.renders.contract import BEHAVIOURS, Finding, check
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.local import RendererOptions
from prefect_sora.servers.profiles import LITELLM_PROXY
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.detect import recognise
from prefect_sora.servers.server import Server, remote
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from tests.contract.dialects import EXPECTED
from tests.contract.provoking import provoking
from tests.support.environments import environment
from tests.support.renderer import Renderer, until

# A first run installs some 500 MB, and the proxy takes ten seconds to start.
pytestmark = [pytest.mark.litellm, pytest.mark.timeout(900)]

KEY = "sk-contract"
LITELLM = "litellm>=1.109,<1.110"
NEEDED = Path(__file__).with_name("litellm-proxy.txt")
START_SECONDS = 90.0


def installed() -> Path:
    """The proxy's virtual environment."""
    needed = ("--requirement", str(NEEDED))
    made_of = NEEDED.read_text("utf-8")
    return environment("litellm", needed, ("--no-deps", LITELLM), made_of=made_of)


@dataclass(frozen=True)
class Proxy:
    """The proxy, and the renderer behind it."""

    server: Server
    renderer: Renderer


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """LiteLLM's proxy on this machine, with one model, which the local renderer serves."""
    home, folder = installed(), tmp_path_factory.mktemp("litellm")
    options = RendererOptions(control=True, poll_after_ms=20)
    renderer = Renderer(folder / "renderer", options).start()
    behind = {"model": "openai/test", "api_base": renderer.base_url, "api_key": "none"}
    config = {
        "model_list": [{"model_name": "test", "litellm_params": behind}],
        "general_settings": {"master_key": KEY},
    }
    (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(home / "bin" / "litellm"), "--config", str(folder / "config.yaml")]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or it fetches one
    }
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=log,
            stderr=log,
            env=environment,
        )
    root = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, (folder / "proxy.log").read_text("utf-8")[-3000:]
        try:
            return httpx2.get(f"{root}/health/liveliness").is_success
        except httpx2.HTTPError:
            return False

    try:
        until(answers, "LiteLLM's proxy answers", START_SECONDS)
        profile = LITELLM_PROXY.model_copy(update={"longest_create_s": 0.5})
        yield Proxy(remote(f"{root}/v1", api_key=SecretStr(KEY), profile=profile), renderer)
    finally:
        process.terminate()
        process.wait(20)
        renderer.kill()


@pytest.fixture(scope="module")
def findings(proxy: Proxy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finding]:
    """The contract, tried once."""
    proxy.renderer.reset()
    found = asyncio.run(
        check(
            proxy.server,
            Ledger(VideoFolder(str(tmp_path_factory.mktemp("store")))),
            VideoRequest(prompt="a red kite", model="test", size="64x64", seconds=1),
            provoke=provoking(proxy.renderer),
            poll_interval_seconds=0.05,
        )
    )
    return {one.behaviour: one for one in found}


@pytest.mark.parametrize("behaviour", [one.name for one in BEHAVIOURS])
def test_the_real_proxy_keeps_what_its_dialect_keeps(
    behaviour: str, findings: dict[str, Finding]
) -> None:
    found = findings[behaviour]

    assert found.outcome == EXPECTED["litellm"][behaviour], found.said


def test_behind_it_each_render_is_accepted_once(proxy: Proxy, findings: dict[str, Finding]) -> None:
    # From text, from an image, three that met a fault; and a remix, an edit, an extension.
    assert findings
    assert proxy.renderer.accepted() == 8


async def test_it_is_recognised(proxy: Proxy) -> None:
    client = VideoClient(proxy.server)
    found = await recognise(client)
    await client.close()

    assert found.profile is LITELLM_PROXY
    assert found.models == ("test",)
