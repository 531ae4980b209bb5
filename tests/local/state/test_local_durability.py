"""An accepted job survives every end of the renderer's process; a finished video stays."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import av
import httpx2
import pytest

from prefect_sora.servers.local import RendererOptions
from tests.support.renderer import Renderer, StartRenderer, until


def status(renderer: Renderer, video_id: str) -> str:
    with renderer.client() as client:
        text: str = client.get(f"/videos/{video_id}").raise_for_status().json()["status"]
    return text


def test_jobs_that_a_killed_renderer_accepted_are_rendered_after_a_restart(
    start_renderer: StartRenderer,
) -> None:
    slow = start_renderer(parallel=1, min_render_seconds=60)
    running, queued = slow.create("first")["id"], slow.create("second")["id"]
    until(lambda: slow.counts()["rendering"] == 1, "the first job is being rendered")

    slow.kill()
    again = slow.restart(min_render_seconds=0)

    for video_id in (running, queued):
        assert again.finished(video_id)["status"] == "completed"
    assert again.accepted() == 2
    assert not list(again.folder.rglob("*.part"))


def test_a_killed_renderer_leaves_no_half_video(start_renderer: StartRenderer) -> None:
    slow = start_renderer(min_render_seconds=3)
    video_id = slow.create()["id"]
    until(lambda: list(slow.folder.rglob("video.mp4")), "the drawing has begun")

    slow.kill()

    assert not (slow.folder / "files" / video_id).exists()
    again = slow.restart(min_render_seconds=0)
    again.finished(video_id)
    with av.open(str(slow.folder / "files" / video_id / "video.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 24


def test_finished_videos_are_served_by_the_next_process_at_the_same_address(
    start_renderer: StartRenderer,
) -> None:
    first = start_renderer()
    video = first.finished(first.create()["id"])
    before = first.address
    with first.client() as client:
        content = client.get(f"/videos/{video['id']}/content").content

    assert first.stop() == 0
    again = first.restart()

    assert again.pid != before.pid
    assert (again.base_url, again.address.identity) == (before.base_url, before.identity)
    assert again.finished(video["id"]) == video
    with again.client() as client:
        assert client.get(f"/videos/{video['id']}/content").content == content


def test_the_folder_takes_its_last_port_again_without_being_told(
    start_renderer: StartRenderer, tmp_path: Path
) -> None:
    first = start_renderer(tmp_path / "home")
    first.stop()

    assert start_renderer(tmp_path / "home").base_url == first.base_url


def test_a_video_published_just_before_the_crash_is_not_drawn_again(
    start_renderer: StartRenderer,
) -> None:
    first = start_renderer()
    video_id = first.finished(first.create()["id"])["id"]
    made = (first.folder / "files" / video_id / "video.mp4").stat().st_mtime_ns
    first.kill()
    record = first.folder / "jobs" / f"{video_id}.json"
    saved = json.loads(record.read_text("utf-8"))
    record.write_text(json.dumps({**saved, "status": "queued", "completed_at": None}), "utf-8")

    again = first.restart()

    assert again.finished(video_id)["status"] == "completed"
    assert (first.folder / "files" / video_id / "video.mp4").stat().st_mtime_ns == made


def test_a_torn_record_does_not_keep_the_others_from_starting(
    start_renderer: StartRenderer,
) -> None:
    first = start_renderer()
    video_id = first.finished(first.create()["id"])["id"]
    first.kill()
    (first.folder / "jobs" / "video_torn.json").write_text('{"id": "video_to', "utf-8")
    (first.folder / "accepted.json").write_text("", "utf-8")

    again = first.restart()

    assert status(again, video_id) == "completed"


def test_the_count_of_accepted_jobs_outlives_them(start_renderer: StartRenderer) -> None:
    first = start_renderer()
    made = [first.create()["id"] for _ in range(3)]
    with first.client() as client:
        for video_id in made:
            client.delete(f"/videos/{video_id}").raise_for_status()
    first.kill()

    again = first.restart()

    assert again.accepted() == 3
    again.create()
    assert again.accepted() == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_in_the_middle_of_a_job(
    start_renderer: StartRenderer, number: signal.Signals
) -> None:
    slow = start_renderer(min_render_seconds=60)
    video_id = slow.create()["id"]
    until(lambda: slow.counts()["rendering"] == 1, "the job is being rendered")

    os.kill(slow.pid, number)
    until(lambda: not slow.alive, "the process ends", 3)

    assert slow.exit_code == 0
    assert "Traceback" not in (slow.folder / "renderer.log").read_text("utf-8")
    assert slow.restart(min_render_seconds=0).finished(video_id)["status"] == "completed"


def test_a_signal_does_not_wait_for_those_who_still_wait(start_renderer: StartRenderer) -> None:
    made = start_renderer()
    made.faults([{"on": "list", "do": "delay:60"}])
    with ThreadPoolExecutor(1) as threads, made.client() as client:
        waiting = threads.submit(client.get, "/videos")
        until(lambda: made.requests("list"), "somebody waits for an answer")

        os.kill(made.pid, signal.SIGTERM)
        until(lambda: not made.alive, "the process ends", 3)

        assert waiting.exception() is not None or waiting.result().status_code >= 500
    assert made.exit_code == 0


def test_a_job_waits_for_its_turn(start_renderer: StartRenderer) -> None:
    slow = start_renderer(parallel=2, min_render_seconds=60)
    made = [slow.create(f"job {number}")["id"] for number in range(4)]
    until(lambda: slow.counts()["rendering"] == 2, "two are being rendered")

    assert [status(slow, i) for i in made] == ["in_progress", "in_progress", "queued", "queued"]


def test_a_simulated_pace_follows_from_the_seconds(start_renderer: StartRenderer) -> None:
    paced = start_renderer(speed=20)
    begun = monotonic()
    paced.finished(paced.create(seconds="2")["id"])

    assert monotonic() - begun >= 1
    assert RendererOptions().pace_seconds(4) == 0
    assert RendererOptions(speed=1).pace_seconds(4) == 40
    assert RendererOptions(speed=20, min_render_seconds=3).pace_seconds(4) == 3


def test_it_answers_while_it_draws(start_renderer: StartRenderer) -> None:
    busy = start_renderer()
    for _ in range(2):
        busy.create(size="1280x720", seconds="12")
    until(lambda: busy.counts()["rendering"] == 2, "both are being rendered")

    with httpx2.Client(timeout=1) as client:
        for _ in range(20):
            assert client.get(f"{busy.root}/health").status_code == 200
    assert busy.counts()["rendering"] == 2


def test_a_stalled_job_does_not_hold_up_others(start_renderer: StartRenderer) -> None:
    made = start_renderer(parallel=1)
    made.faults([{"on": "create", "do": "stall"}])
    stalled, free = made.create()["id"], made.create()["id"]

    assert made.finished(free)["status"] == "completed"
    assert status(made, stalled) == "in_progress"
    again = made.restart()
    until(lambda: status(again, stalled) == "in_progress", "it stalls again after a restart")
