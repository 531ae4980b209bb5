"""Seconds: `python -m pytest -n 3 -p tests.support.seconds` tells what each file of tests costs.

What a file costs is what its worker and all processes below it have used while its tests ran:
servers that are started for all tests count where they are started, and where they work.
"""

from collections import defaultdict
from contextlib import suppress
from time import monotonic
from typing import Any

import psutil
import pytest

_cpu: defaultdict[str, float] = defaultdict(float)
_wall: defaultdict[str, float] = defaultdict(float)
_last = {"cpu": 0.0, "wall": monotonic()}


def _used() -> float:
    """CPU seconds of this process and of all below it, dead or alive."""
    me = psutil.Process()
    seconds = 0.0
    for process in (me, *me.children(recursive=True)):
        with suppress(psutil.Error):
            times = process.cpu_times()
            seconds += times.user + times.system
            seconds += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return seconds


def _count(name: str) -> None:
    cpu, wall = _used(), monotonic()
    _cpu[name] += max(cpu - _last["cpu"], 0.0)
    _wall[name] += wall - _last["wall"]
    _last.update(cpu=cpu, wall=wall)


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def pytest_collection_finish(session: pytest.Session) -> None:
    """What came before the first test is the collection's."""
    _count("(collection)")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Any:
    """Count at the end of each file."""
    yield
    if nextitem is None or _file(nextitem) != _file(item):
        _count(_file(item))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that started this worker."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["seconds"] = {name: (_cpu[name], _wall[name]) for name in _wall}
        _cpu.clear()
        _wall.clear()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Hear from a worker."""
    for name, (cpu, wall) in getattr(node, "workeroutput", {}).get("seconds", {}).items():
        _cpu[name] += cpu
        _wall[name] += wall


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show the table."""
    terminalreporter.section("CPU and wall seconds by file")
    for name, cpu in sorted(_cpu.items(), key=lambda one: -one[1]):
        terminalreporter.write_line(f"{cpu:8.1f} {_wall[name]:8.1f}  {name}")
    total = (sum(_cpu.values()), sum(_wall.values()))
    terminalreporter.write_line(f"{total[0]:8.1f} {total[1]:8.1f}  all")
