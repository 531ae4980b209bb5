"""README: its Python runs as it stands."""

import re
from pathlib import Path

import pytest

from prefect_sora.servers import video_models, video_prices
from prefect_sora.servers.local import find_running
from prefect_sora.servers.profiles import PROFILES
from tests.support import processes
from tests.support.prefect_server import prefect_home

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run(code: str, folder: Path, api_url: str) -> str:
    done = processes.run(["-c", code], cwd=folder, env=prefect_home(folder / "home", api_url))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_flows_run_on_the_local_renderer(tmp_path: Path, prefect_api: str) -> None:
    import psutil

    try:
        printed = run(BLOCKS[0], tmp_path, prefect_api)
    finally:
        if address := find_running(tmp_path / "renderer"):
            psutil.Process(address.pid).terminate()
    assert len(list((tmp_path / "renders").glob("*/video.mp4"))) == 5
    assert printed.count("file://") == 5
    assert " 0.0\n" in printed  # what it cost


def test_the_blocks_are_made_as_shown(tmp_path: Path, prefect_api: str) -> None:
    run(BLOCKS[1], tmp_path, prefect_api)


def rows() -> dict[str, tuple[str, str, str]]:
    """What the table of who can render says of each profile, but for its first frame."""
    lines = re.findall(r"^\| .*? \| (`.*?`) \| yes \| (.*?) \| (.*?) \| (.*?) \|$", README, re.M)
    return {name: tuple(cells) for names, *cells in lines for name in re.findall(r"`(.*?)`", names)}


@pytest.mark.parametrize("name", sorted(PROFILES.keys() - {"auto", "dynamo"}))
def test_the_table_of_who_can_render_is_what_the_profiles_say(name: str) -> None:
    profile, (derives, doubt, costs) = PROFILES[name], rows()[name]

    assert {*derives.replace("\u2013", "").split(", ")} - {""} == profile.derives
    assert (doubt == "is looked up in the list") is profile.can_list
    told = {"final": "yes", "estimate_header": "on create"}[profile.cost_source]
    assert costs == ("0" if name == "local" else told if profile.cost_path else "no")


@pytest.mark.parametrize("model", sorted(video_models.MODELS))
def test_the_prices_are_the_catalogues(model: str) -> None:
    rows = README.partition("USD per second")[2]
    for size in video_models.MODELS[model].sizes:
        assert f"{video_prices.usd_per_second([model], size):.2f}" in rows
