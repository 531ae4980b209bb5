"""Runners: futures go from task to task on Dask and on Ray, in processes of theirs.

Each has a virtual environment of its own, made once and kept in the user's cache.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support.prefect_server import prefect_home
from tests.support.renderer import Renderer

ROOT = Path(__file__).parents[2]
NEEDED = {"dask": "prefect-dask>=0.3.7,<0.4", "ray": "prefect-ray>=0.6,<0.7"}

# A first run installs some 500 MB for each.
pytestmark = [pytest.mark.runners, pytest.mark.timeout(1800)]


def installed(name: str) -> Path:
    """The environment's Python, made where it is not there yet; this checkout is in it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prefect-sora"
    made_of = f"{NEEDED[name]}{(ROOT / 'pyproject.toml').read_text('utf-8')}{ROOT}{sys.version}"
    home = cache / f"{name}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(home.with_suffix(".lock")):
        if not (home / "whole").exists():
            shutil.rmtree(home, ignore_errors=True)
            venv.create(home, with_pip=True)
            pip = [str(home / "bin" / "pip"), "install", "--quiet"]
            subprocess.run([*pip, "--editable", str(ROOT), NEEDED[name]], check=True)
            (home / "whole").touch()
    return home / "bin" / "python"


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
