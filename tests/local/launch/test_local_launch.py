"""Starting a renderer on demand: one per folder, alive until nothing needs it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from threading import Event
from time import monotonic

import httpx2
import psutil
import pytest

from prefect_sora.errors import UnavailableError
from prefect_sora.servers.local import (
    ON_DEMAND,
    RendererAddress,
    RendererOptions,
    ensure_running,
    find_running,
)
from prefect_sora.servers.local.__main__ import parse
from tests.support import processes
from tests.support.renderer import StartRenderer, until


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder whose on-demand renderer ends with the test."""
    folder = tmp_path / "home"
    yield folder
    running = find_running(folder)
    if running is not None:
        os.kill(running.pid, signal.SIGKILL)


def gone(pid: int) -> bool:
    """Whether the process ended and was reaped: a zombie's threads may still hold its port."""
    return not psutil.pid_exists(pid)


def test_it_is_started_once_and_found_again(home: Path) -> None:
    first = ensure_running(home)

    assert ensure_running(str(home)) == first == find_running(home)
    assert first.base_url.startswith("http://127.0.0.1:")
    assert first.base_url.endswith("/v1")
    assert httpx2.get(f"{first.base_url}/videos").json()["data"] == []


def test_many_callers_at_once_get_the_same_one(home: Path) -> None:
    script = (
        "import sys; from prefect_sora.servers.local import ensure_running; "
        "print(ensure_running(sys.argv[1]).pid)"
    )
    with ThreadPoolExecutor(8) as threads:
        here = [threads.submit(ensure_running, home) for _ in range(4)]
        there = [
            threads.submit(
                subprocess.check_output, [sys.executable, "-c", script, str(home)], text=True
            )
            for _ in range(4)
        ]
        pids = {task.result().pid for task in here} | {int(task.result()) for task in there}

    assert len(pids) == 1


def test_it_outlives_the_process_that_started_it(home: Path) -> None:
    script = (
        "import sys, os, signal; from prefect_sora.servers.local import ensure_running; "
        "print(ensure_running(sys.argv[1]).pid, flush=True); os.kill(0, signal.SIGKILL)"
    )
    died = subprocess.run(
        [sys.executable, "-c", script, str(home)],
        stdout=subprocess.PIPE,
        check=False,
        start_new_session=True,
    )

    assert died.returncode == -signal.SIGKILL
    assert ensure_running(home).pid == int(died.stdout)


def test_it_is_started_again_after_it_was_killed(home: Path) -> None:
    first = ensure_running(home)
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: gone(first.pid), "it is gone")

    assert find_running(home) is None
    second = ensure_running(home)

    assert second.pid != first.pid
    assert (second.base_url, second.identity) == (first.base_url, first.identity)


def test_one_that_ended_leaves_no_zombie(home: Path) -> None:
    first = ensure_running(home)
    os.kill(first.pid, signal.SIGTERM)

    until(lambda: not psutil.pid_exists(first.pid), "its process is reaped")


def test_it_ends_by_itself_when_nothing_needs_it(home: Path) -> None:
    options = RendererOptions(idle_exit=0.4, min_render_seconds=1)
    running = ensure_running(home, options)
    body = {"prompt": "a fox", "size": "64x64", "seconds": "1"}
    video_id = httpx2.post(f"{running.base_url}/videos", json=body).json()["id"]

    until(lambda: gone(running.pid), "it ends")

    assert (home / "files" / video_id / "video.mp4").is_file()  # not before its work was done


def test_asking_keeps_it_alive(home: Path) -> None:
    running = ensure_running(home, RendererOptions(idle_exit=0.5))
    enough = monotonic() + 1.5
    while monotonic() < enough:
        assert httpx2.get(f"{running.base_url}/models").status_code == 200

    assert find_running(home) == running


def test_a_folder_is_not_mistaken_for_the_copy_of_another(home: Path, tmp_path: Path) -> None:
    original = ensure_running(home)
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)

    assert find_running(copy) is None
    second = ensure_running(copy)
    os.kill(second.pid, signal.SIGKILL)

    assert second.base_url != original.base_url


def test_a_stranger_on_its_port_is_not_mistaken_for_it(home: Path) -> None:
    first = ensure_running(home)
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: gone(first.pid), "it is gone")
    port = int(first.base_url.split(":")[2].removesuffix("/v1"))
    with socket.create_server(("127.0.0.1", port)) as stranger, ThreadPoolExecutor(1) as threads:
        stranger.settimeout(0.05)
        over = Event()
        met = threads.submit(greet, stranger, over)
        try:
            assert find_running(home) is None
            assert ensure_running(home).base_url != first.base_url
        finally:
            over.set()
        assert met.result() > 0


def greet(stranger: socket.socket, over: Event) -> int:
    """Greet whoever comes as another service does, and count them."""
    count = 0
    while not over.is_set():
        with suppress(TimeoutError):
            connection, _ = stranger.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
            count += 1
    return count


def test_a_second_start_by_hand_reports_the_first(start_renderer: StartRenderer) -> None:
    first = start_renderer()
    second = processes.run(["-m", "prefect_sora.servers.local", "--folder", first.folder])

    assert second.returncode == 0
    assert second.stdout == (
        f"The local renderer already runs at {first.base_url} (pid {first.pid})\n"
    )


def test_a_start_that_fails_shows_the_end_of_its_log(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match="Cannot listen") as caught:
            ensure_running(home, replace(ON_DEMAND, port=port))

    assert caught.value.never_sent
    assert str(home) in str(caught.value)


def test_a_folder_that_cannot_be_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(UnavailableError):
        ensure_running(tmp_path / "file" / "home")


def test_a_dialect_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="no dialect 'klingon'; there are openai, azure, sglang"):
        RendererOptions(dialect="klingon")
    with pytest.raises(SystemExit):
        parse(["--folder", "x", "--dialect", "klingon"])


def test_options_survive_the_command_line(tmp_path: Path) -> None:
    changed = RendererOptions(
        host="::1",
        port=8123,
        speed=2.5,
        min_render_seconds=1.5,
        parallel=3,
        ttl=60,
        idle_exit=5,
        poll_after_ms=0,
        idempotency=True,
        control=True,
        faults="[]",
        dialect="sglang",
        models="one,two",
        cloud=True,
        webhook="http://127.0.0.1:8750/webhooks",
    )
    for option in fields(RendererOptions):
        if option.name not in ("api_key", "webhook_secret"):
            assert getattr(changed, option.name) != option.default, option.name

    folder, parsed = parse(["--folder", str(tmp_path), *changed.arguments()])

    assert (folder, parsed) == (str(tmp_path), changed)
    assert parse(["--folder", "x"])[1] == RendererOptions()


def test_a_key_stays_off_the_command_line() -> None:
    options = RendererOptions(api_key="sk-local-1234")

    assert options.arguments() == []
    assert "sk-local-1234" not in repr(options)


def test_importing_it_loads_no_codec_and_no_web_server() -> None:
    heavy = ("av", "PIL", "starlette", "uvicorn", "filelock", "httpx2", "prefect", "pydantic")
    script = (
        f"import sys, prefect_sora.servers.local; print([m for m in {heavy!r} if m in sys.modules])"
    )

    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"


def test_an_address_has_its_parts(home: Path) -> None:
    running = ensure_running(home)

    assert isinstance(running, RendererAddress)
    health = httpx2.get(running.base_url.removesuffix("/v1") + "/health").json()
    assert (health["pid"], health["identity"]) == (running.pid, running.identity)
