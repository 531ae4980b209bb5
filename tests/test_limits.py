"""Limits: who gives them, how far they reach, and which are refused."""

import ast
import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import fields
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

import prefect_sora
from prefect_sora.errors import InvalidRequestError, RenderTimeoutError
from prefect_sora.limits import VARIABLE, Limits, limited, limits
from prefect_sora.renders.finish.watcher import watcher_of
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.backends.concurrency import Lane, to_its_end
from prefect_sora.store.identity import new_owner
from prefect_sora.store.ledger import Ledger
from tests.support.limits import Limit
from tests.support.renderer import Renderer
from tests.support.renders import clip, go
from tests.support.scripted import Reply, Script

PACKAGE = Path(prefect_sora.__file__).parent


def attempts() -> int:
    return limits().download_attempts


def test_a_block_changes_what_it_names_and_nothing_after_it() -> None:
    before = limits()
    with limited(download_attempts=1):
        with limited(read_seconds=2.0):
            assert (limits().download_attempts, limits().read_seconds) == (1, 2.0)
        assert (limits().download_attempts, limits().read_seconds) == (1, before.read_seconds)
    assert limits() == before


def test_a_block_that_fails_leaves_the_limits_as_they_were() -> None:
    before = limits()
    with pytest.raises(KeyError), limited(download_attempts=1):
        raise KeyError
    assert limits() == before


async def test_what_is_begun_in_a_block_keeps_its_limits_after_it() -> None:
    go_on = asyncio.Event()

    async def later() -> int:
        await go_on.wait()
        return attempts()

    with limited(download_attempts=1):
        task = asyncio.create_task(later())
    go_on.set()
    assert (await task, attempts()) == (1, Limits().download_attempts)


async def test_tasks_side_by_side_have_each_their_own() -> None:
    both = asyncio.Barrier(2)

    async def one(number: int) -> int:
        with limited(download_attempts=number):
            await both.wait()
            return attempts()

    assert [*await asyncio.gather(one(1), one(2))] == [1, 2]


@pytest.mark.parametrize("lane", [None, *Lane])
async def test_a_thread_of_ours_has_the_limits_of_who_gave_it_its_work(lane: Lane | None) -> None:
    with limited(download_attempts=1):
        assert await to_its_end(attempts, lane) == 1
    assert await to_its_end(attempts, lane) == Limits().download_attempts


async def test_a_lane_has_as_many_threads_as_the_limits_say() -> None:
    most, working, lock = [0], [0], threading.Lock()

    def work() -> None:
        with lock:
            working[0] += 1
            most[0] = max(most[0], working[0])
        threading.Event().wait(0.01)
        with lock:
            working[0] -= 1

    with limited(record_threads=2):
        await asyncio.gather(*(to_its_end(work, Lane.RECORDS) for _ in range(12)))
    assert most == [2]


@pytest.mark.usefixtures("prefect")
async def test_a_flow_and_its_tasks_have_the_limits_of_who_called_it() -> None:
    from prefect import flow, task

    asked = task(name="asked")(attempts)

    @flow
    async def counting() -> list[int]:
        return [attempts(), asked(), asked.submit().result()]

    with limited(download_attempts=1):
        assert await counting() == [1, 1, 1]


async def test_a_watcher_serves_all_by_the_limits_that_it_was_made_under_and_each_by_his_own(
    scripted: Script,
) -> None:
    asked: Counter[str] = Counter()

    def answer(method: str, path: str, body: bytes) -> Reply:
        asked[path.partition("?")[0].rpartition("/")[2]] += 1
        return 503, {}, {}

    _, client = scripted(answer)
    with limited(list_from=100):
        watcher = watcher_of(client)

    async def waited(video_id: str, backoff_s: float) -> None:
        with limited(backoff_max_seconds=backoff_s, list_from=1), pytest.raises(RenderTimeoutError):
            await watcher.wait(video_id, timeout_seconds=1, poll_interval_seconds=0.05)

    await asyncio.gather(waited("patient", 10.0), waited("hasty", 0.05), waited("patient", 10.0))
    assert asked.keys() == {"patient", "hasty"}  # and no list
    assert asked["hasty"] > asked["patient"] / 2


def test_the_environment_gives_a_process_its_limits_in_every_thread(limit: Limit) -> None:
    limit(download_attempts=1, record_pauses_seconds=[0.5, 1])
    assert limits().record_pauses_seconds == (0.5, 1.0)
    told: list[int] = []
    thread = threading.Thread(target=lambda: told.append(attempts()))  # without a context
    thread.start()
    thread.join()
    assert told == [1]
    with limited(read_seconds=2.0):
        assert (limits().download_attempts, limits().read_seconds) == (1, 2.0)


def test_a_process_that_is_started_has_those_of_its_environment() -> None:
    code = "from prefect_sora.limits import limits; print(limits().download_attempts)"
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, VARIABLE: json.dumps({"download_attempts": 1})},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "1\n"


def _tell(others: Connection, own: dict[str, str]) -> None:
    before = attempts()
    os.environ.update(own)
    others.send((before, limits().download_attempts, limits().read_seconds))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_those_of_its_parent_until_its_environment_says_others(
    limit: Limit,
) -> None:
    limit(download_attempts=1)
    ours, theirs = get_context("fork").Pipe()
    own = {VARIABLE: json.dumps({"download_attempts": 2, "read_seconds": 3.0})}
    child = get_context("fork").Process(target=_tell, args=(theirs, own))
    child.start()
    assert ours.recv() == (1, 2, 3.0)
    child.join()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Invalid JSON"),
        ("3", "should be an object"),
        ('{"download_tries": 3}', "download_tries"),
        ('{"download_attempts": "many"}', "download_attempts"),
        ('{"download_attempts": 0}', "download_attempts is 0, and has to be 1 or more"),
        ('{"read_seconds": -1}', "read_seconds is -1.0, and has to be 0 or more"),
        ('{"record_pauses_seconds": [1, -1]}', "record_pauses_seconds"),
        ('{"create_seconds": 150}', "take a live worker for dead"),
    ],
)
async def test_an_environment_that_holds_no_limits_is_refused_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.setenv(VARIABLE, text)
    for _ in range(2):
        with pytest.raises(InvalidRequestError, match=said) as caught:
            limits()
        assert caught.value.paid == "no"
        assert VARIABLE in caught.value.message


def test_what_is_no_limit_is_refused_in_code_too() -> None:
    with pytest.raises(TypeError, match="download_tries"), limited(download_tries=3):
        pass
    for wrong in (float("nan"), float("inf"), -1.0):
        with pytest.raises(ValueError, match="read_seconds"):
            Limits(read_seconds=wrong)
    with pytest.raises(ValueError, match="take a live worker for dead"):
        Limits(lease_seconds=129.9)
    assert Limits(lease_seconds=130.0).max_send_seconds == Limits().send_seconds


async def test_a_reservation_says_how_long_it_holds_to_workers_with_other_limits(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    with limited(lease_seconds=1000.0, leave_seconds=50.0):
        job = await go(client, disk, clip())
    reserved = await disk.reservation(job.folder, 1)
    assert reserved is not None
    assert (reserved.lease_seconds, reserved.send_seconds) == (1000.0, 55.0)
    elsewhere = new_owner().model_copy(update={"machine": "another"})
    theirs = reserved.model_copy(update={"owner": elsewhere, "at": reserved.at - 900})
    assert disk.is_held(theirs)
    assert not disk.is_held(theirs.model_copy(update={"at": reserved.at - 1001}))
    # As earlier versions wrote it.
    unsaid = theirs.model_copy(update={"lease_seconds": None, "send_seconds": None})
    assert not disk.is_held(unsaid)
    assert unsaid.leaves_within_s == 10.0


NO_LIMITS = {
    "options.BASE_CLIP_SECONDS": "the clip that `deadline_seconds` is for",
    "records.UNSAID_LEASE_SECONDS": "what a record means that does not say it",
    "records.UNSAID_SEND_SECONDS": "the same",
    "schemes.TOLERANCE_SECONDS": "OpenRouter's own",
    "match.WORST_CLOCK_SECONDS": "how far the times of the earth lie apart",
    "expiry.USUAL_LIFE_SECONDS": "what OpenAI's guide says",
    "automations.SHORTEST_HEARTBEAT_SECONDS": "Prefect's own",
    "encoding._GAP_SECONDS": "what an ear notices",
    "video_models.EXTENDED_SECONDS": "OpenAI's own",
    "video_models.EXTENSION_SECONDS": "OpenAI's own",
}
"""Seconds, counts and sizes that stand elsewhere, and why they are none."""


def numbers_of(path: Path) -> set[str]:
    """Find a module's constants that are named as a second, a count or a size."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            name = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
            is_text = isinstance(getattr(node.value, "value", None), str)
            if re.fullmatch(r"[A-Z_]+_(SECONDS|BYTES|ATTEMPTS|AT_ONCE|ROUNDS|PAGES)", name):
                found |= set() if is_text else {f"{path.stem}.{name}"}
    return found


def test_a_second_a_count_or_a_size_that_may_be_tuned_stands_among_the_limits() -> None:
    # The local renderer is a process of its own, with options of its own.
    local = PACKAGE / "servers" / "local"
    ours = [path for path in PACKAGE.rglob("*.py") if not path.is_relative_to(local)]
    found = set().union(*map(numbers_of, ours))
    assert found - NO_LIMITS.keys() == set()
    assert found


def test_every_limit_is_read_somewhere() -> None:
    one = PACKAGE / "limits" / "values.py"
    sources = [path for path in PACKAGE.rglob("*.py") if path != one]
    text = "\n".join(path.read_text() for path in sources)
    own = one.read_text()
    for each in fields(Limits):
        is_read = partial(re.search, rf"\.{each.name}\b")
        assert is_read(text) or is_read(own), f"{each.name} limits nothing"
