"""The routes of SGLang and FastVideo as their projects wrote them keep what our dialects keep."""

import asyncio
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from prefect_sora.renders.contract import BEHAVIOURS, Fault, Finding, check
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.profiles import PROFILES
from prefect_sora.servers.server import remote
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from tests.contract.dialects import EXPECTED
from tests.contract.real_routes import REAL

# A first run fetches 43 MB of wheels.
pytestmark = [pytest.mark.real_routes, pytest.mark.timeout(600)]

VERSIONS = {"sglang": "0.5.23", "fastvideo": "0.2.1"}


def unpacked(name: str, folder: Path) -> Path:
    """The route files out of the wheel, which is fetched once; nothing is installed."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prefect-sora"
    cache.mkdir(parents=True, exist_ok=True)
    fetched = f"{name}-{VERSIONS[name]}-*.whl"
    with FileLock(cache / f"{name}.lock"):
        if not any(cache.glob(fetched)):
            wanted = ["--no-deps", "--only-binary=:all:", "--python-version", "3.11"]
            pip = [sys.executable, "-m", "pip", "download", "--quiet", *wanted]
            subprocess.run([*pip, "--dest", str(cache), f"{name}=={VERSIONS[name]}"], check=True)
    with zipfile.ZipFile(next(cache.glob(fetched))) as wheel:
        wheel.extractall(folder, [f"{module.replace('.', '/')}.py" for module in REAL[name]])
    return folder


@pytest.fixture(scope="module", params=VERSIONS)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[str, Finding], Path]]:
    """The contract on one server's own routes, tried once."""
    name: str = request.param
    folder = tmp_path_factory.mktemp(name)
    command = ["-m", "tests.contract.real_routes", name, str(unpacked(name, folder)), str(folder)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None

    async def provoke(fault: Fault) -> None:
        (folder / "fault").write_text(fault, "utf-8")

    try:
        root = process.stdout.readline().strip()
        assert root, (folder / "log").read_text("utf-8")[-3000:]
        changes = {"submit_grace_s": 0.3, "longest_create_s": 0.5}
        profile = PROFILES[name].model_copy(update=changes)
        found = asyncio.run(
            check(
                remote(f"{root}/v1", profile=profile),
                Ledger(VideoFolder(str(folder / "store"))),
                VideoRequest(prompt="a red kite", model=None, size="64x64", seconds=1),
                provoke=provoke,
                poll_interval_seconds=0.05,
            )
        )
        yield name, {one.behaviour: one for one in found}, folder
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


@pytest.mark.parametrize("behaviour", [one.name for one in BEHAVIOURS])
def test_the_real_routes_keep_what_our_dialect_of_them_keeps(
    behaviour: str, served: tuple[str, dict[str, Finding], Path]
) -> None:
    name, findings, folder = served
    found = findings[behaviour]

    said = f"{found.said}\n{(folder / 'log').read_text('utf-8')[-2000:]}"
    assert found.outcome == EXPECTED[name][behaviour], said
