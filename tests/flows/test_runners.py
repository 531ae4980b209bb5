"""Runners: futures go from task to task on Dask and on Ray, in processes of theirs.

Each has a virtual environment of its own, made once and kept in the user's cache.
"""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.environments import environment
from tests.support.prefect_server import prefect_home
from tests.support.renderer import Renderer

ROOT = Path(__file__).parents[2]
NEEDED = {"dask": "prefect-dask>=0.3.7,<0.4", "ray": "prefect-ray>=0.6,<0.7"}

# A first run installs some 500 MB for each.
pytestmark = [pytest.mark.runners, pytest.mark.timeout(1800)]


def installed(name: str) -> Path:
    """The environment's Python; this checkout is in it."""
    made_of = (ROOT / "pyproject.toml").read_text("utf-8")
    words = ("--editable", str(ROOT), NEEDED[name])
    return environment(name, words, made_of=made_of) / "bin" / "python"


@pytest.mark.parametrize("name", NEEDED)
def test_futures_go_from_task_to_task(
    name: str, renderer: Renderer, prefect_api: str, tmp_path: Path
) -> None:
    script = Path(__file__).with_name("futures.py")
    store = tmp_path / "clips"
    done = subprocess.run(
        [str(installed(name)), str(script), name, renderer.base_url, str(store)],
        env=prefect_home(tmp_path / "home", prefect_api),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = next(line for line in done.stdout.splitlines() if "file://" in line)
    run_id, *urls = said.split()
    assert all(Path(url.removeprefix("file://")).is_file() for url in urls)
    scopes = {json.loads(r.read_text())["scope"] for r in store.glob("*/reserved.json")}
    assert scopes == {run_id}, "in other processes, too, they are renders of the one run"
    assert renderer.accepted() == 3
