"""Wait: few requests for many renders, never faster than asked, and every wait ends."""

import asyncio
from collections.abc import Iterator
from email.utils import formatdate
from itertools import pairwise
from pathlib import Path
from threading import Event
from time import monotonic, time
from typing import Any

import pytest

from prefect_sora.errors import (
    AuthenticationError,
    RateLimitError,
    RenderStalledError,
    RenderTimeoutError,
    VideoNotFoundError,
)
from prefect_sora.limits import limits
from prefect_sora.renders.finish.polling import Waiter, backoff
from prefect_sora.renders.finish.watcher import Watcher, watcher_of
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.not_found import Absence
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.video_object import Video
from prefect_sora.servers.server import remote
from tests.support.limits import Limit
from tests.support.renderer import Renderer, StartRenderer
from tests.support.scripted import QUICK, Answer, Reply, Script

KNOWN = Absence(lasting_s=180.0)


def clip(prompt: str = "a kite") -> VideoRequest:
    return VideoRequest(prompt=prompt, model=None, size="64x64", seconds=1)


async def begin(client: VideoClient, prompt: str = "a kite") -> str:
    return (await client.submit(clip(prompt), None, prompt)).id


def job(video_id: str, status: str = "in_progress", **fields: Any) -> dict[str, Any]:
    return {"id": video_id, "object": "video", "status": status, **fields}


class Slow:
    """A server whose jobs finish when they were asked for singly so many times.

    Args:
        polls: How many questions about one job it takes.
        listing: What it answers to a list; what it says when None is no such path.
        sick: What it answers about the job `sick`, which it never finishes.
    """

    def __init__(
        self,
        polls: int = 1,
        listing: Reply = (404, {}, {"error": {"message": "no such path"}}),
        sick: Reply = (500, {}, {"error": {"message": "a broken record"}}),
        headers: dict[str, str] | None = None,
    ) -> None:
        self.polls = polls
        self.listing = listing
        self.sick = sick
        self.headers = headers or {}
        self.asked: dict[str, list[float]] = {}

    def __call__(self, method: str, path: str, body: bytes) -> Reply:
        if path.startswith("/v1/videos?"):
            return self.listing
        video_id = path.rpartition("/")[2]
        times = self.asked.setdefault(video_id, [])
        times.append(monotonic())
        if video_id == "sick":
            return self.sick
        done = len(times) >= self.polls
        return 200, self.headers, job(video_id, "completed" if done else "in_progress")


def page(*jobs: dict[str, Any]) -> Reply:
    return 200, {}, {"object": "list", "data": list(jobs), "has_more": False}


async def statuses(client: VideoClient, *ids: str, **waiting: Any) -> list[str]:
    """Wait for jobs at once; say how each ended."""
    watcher = watcher_of(client)
    waiting = {"timeout_seconds": 5, "poll_interval_seconds": 0.05, **waiting}
    ended = await asyncio.gather(*(watcher.wait(i, **waiting) for i in ids), return_exceptions=True)
    return [e.status if isinstance(e, Video) else type(e).__name__ for e in ended]


async def test_a_wait_ends_with_the_finished_video(client: VideoClient) -> None:
    video = await watcher_of(client).wait(await begin(client), poll_interval_seconds=0.05)
    assert video.status == "completed"


async def test_progress_is_told_to_plain_and_async_callbacks_and_their_failures_change_nothing(
    client: VideoClient,
) -> None:
    plain: list[Video] = []
    awaited: list[Video] = []

    async def hear(video: Video) -> None:
        awaited.append(video)
        raise ValueError("a defect of the user's")

    watcher = watcher_of(client)
    ids = [await begin(client, "one"), await begin(client, "two")]
    await asyncio.gather(
        watcher.wait(ids[0], poll_interval_seconds=0.05, on_progress=plain.append),
        watcher.wait(ids[1], poll_interval_seconds=0.05, on_progress=hear),
    )
    assert plain[-1].status == awaited[-1].status == "completed"
    assert {v.id for v in plain} == {ids[0]}


async def test_300_waiting_renders_cost_a_few_requests_a_round(
    start_renderer: StartRenderer,
) -> None:
    renderer = start_renderer(min_render_seconds=0.0, parallel=2, poll_after_ms=0)
    renderer.faults([{"on": "create", "do": "stall", "times": 299}])
    client = VideoClient(remote(renderer.base_url))
    ids = await asyncio.gather(*(begin(client, f"kite {n}") for n in range(300)))
    renderer.forget_requests()
    watcher = watcher_of(client)

    waits = [
        asyncio.create_task(watcher.wait(i, timeout_seconds=2.5, poll_interval_seconds=1))
        for i in ids
    ]
    results = await asyncio.gather(*waits, return_exceptions=True)

    assert sum(isinstance(r, Video) for r in results) == 1
    assert sum(isinstance(r, RenderTimeoutError) for r in results) == 299
    asked = renderer.requests()
    # Three pages in each of three rounds.
    assert len(asked) <= 9, [f"{r['method']} {r['path']}" for r in asked]
    await client.close()


@pytest.mark.parametrize("hint", [{}, {"openai-poll-after-ms": "50"}], ids=["no hint", "hurry"])
async def test_it_never_asks_faster_than_it_was_asked_to(
    scripted: Script, hint: dict[str, str]
) -> None:
    slow = Slow(polls=4, headers=hint)
    _, client = scripted(slow)
    await statuses(client, "kite", poll_interval_seconds=0.3)
    assert min(after - before for before, after in pairwise(slow.asked["kite"])) > 0.29


async def test_a_server_may_name_a_slower_pace(scripted: Script) -> None:
    slow = Slow(polls=2, headers={"openai-poll-after-ms": "400"})
    _, client = scripted(slow)
    await statuses(client, "kite")
    assert min(after - before for before, after in pairwise(slow.asked["kite"])) > 0.39


async def test_a_list_is_asked_for_no_faster_than_the_waiters_want(scripted: Script) -> None:
    ids = ["one", "two", "three"]
    hurry = {"openai-poll-after-ms": "50"}
    listing = (200, hurry, {"object": "list", "data": [job(i) for i in ids], "has_more": False})
    server, client = scripted(Slow(listing=listing))
    await statuses(client, *ids, timeout_seconds=1, poll_interval_seconds=0.4)
    assert 2 <= len(server.asked("GET", "?")) <= 3


async def test_the_local_renderer_is_taken_at_its_word(
    client: VideoClient, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "stall"}])
    with pytest.raises(RenderTimeoutError):
        await watcher_of(client).wait(
            await begin(client), timeout_seconds=0.5, poll_interval_seconds=60
        )
    assert len(renderer.requests("retrieve")) > 3


@pytest.mark.parametrize("trouble", ["status:500", "status:429", "status:408", "html:502", "drop"])
async def test_a_failing_poll_is_ridden_out(
    client: VideoClient, renderer: Renderer, trouble: str
) -> None:
    renderer.faults([{"on": "retrieve", "do": trouble, "times": 3}])
    video = await watcher_of(client).wait(await begin(client), poll_interval_seconds=0.05)
    assert video.status == "completed"
    assert renderer.faults_left() == []


async def test_retry_after_is_waited_for(client: VideoClient, renderer: Renderer) -> None:
    renderer.faults([{"on": "retrieve", "do": "status:429", "headers": {"Retry-After": "1"}}])
    started = monotonic()
    await watcher_of(client).wait(await begin(client), poll_interval_seconds=0.05)
    assert monotonic() - started > 1.0


async def test_no_pause_at_all_is_not_taken_as_leave_to_ask_without_one(scripted: Script) -> None:
    slow = Slow(sick=(429, {"Retry-After": "0"}, {"error": {"message": "slow down"}}))
    _, client = scripted(slow)
    assert await statuses(client, "sick", timeout_seconds=1) == ["RenderTimeoutError"]
    assert len(slow.asked["sick"]) < 10


async def test_a_failing_poll_is_repeated_no_sooner_than_the_waiter_wants(
    scripted: Script, limit: Limit
) -> None:
    limit(backoff_max_seconds=0.1)  # or this takes a minute
    slow = Slow()
    _, client = scripted(slow)
    await statuses(client, "sick", timeout_seconds=1, poll_interval_seconds=0.4)
    assert min(after - before for before, after in pairwise(slow.asked["sick"])) > 0.39


async def test_a_sick_job_neither_stops_nor_slows_the_others(scripted: Script) -> None:
    slow = Slow(polls=8)
    _, client = scripted(slow)
    assert await statuses(client, "kite", "sick", timeout_seconds=2) == [
        "completed",
        "RenderTimeoutError",
    ]
    assert slow.asked["kite"][-1] - slow.asked["kite"][0] < 1.5  # eight polls, seven pauses
    assert 3 < len(slow.asked["sick"]) < 15


async def test_a_job_whose_answer_hangs_keeps_no_other_waiting(scripted: Script) -> None:
    slow = Slow(polls=3)

    def answer(method: str, path: str, body: bytes) -> Reply:
        if path.endswith("sick"):
            Event().wait(1.5)
        return slow(method, path, body)

    _, client = scripted(answer)
    started = monotonic()
    assert await statuses(client, "sick", "kite", timeout_seconds=1) == [
        "RenderTimeoutError",
        "completed",
    ]
    assert slow.asked["kite"][-1] - started < 0.9


@pytest.mark.slow
async def test_a_server_in_trouble_is_not_asked_for_each_of_many_jobs(scripted: Script) -> None:
    asked: list[float] = []

    def answer(method: str, path: str, body: bytes) -> Reply:
        asked.append(monotonic())
        return 429, {"Retry-After": "60"}, {"error": "too many"}

    _, client = scripted(answer)
    begun = monotonic()
    ended = await statuses(client, *(f"kite-{n}" for n in range(40)), timeout_seconds=8)
    assert set(ended) == {"RenderTimeoutError"}
    # The list, and as many as are asked for at once; each once more when its time runs out.
    assert sum(at < begun + 7 for at in asked) <= 9
    assert 40 < len(asked) < 9 + 41 * 4


AN_HOUR = "3600"
BUSY: dict[str, Any] = {"error": {"message": "too many"}}


def in_an_hour() -> str:
    return formatdate(time() + 3600, usegmt=True)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param((429, {"Retry-After": AN_HOUR}, BUSY), id="too many"),
        pytest.param((429, {"Retry-After": in_an_hour()}, BUSY), id="a date"),
        pytest.param((429, {"retry-after-ms": "3600000"}, BUSY), id="milliseconds"),
        pytest.param((503, {"Retry-After": AN_HOUR}, BUSY), id="overloaded"),
        pytest.param((200, {"openai-poll-after-ms": "3600000"}, job("kite")), id="its own pace"),
    ],
)
async def test_a_pause_of_an_hour_hides_no_finished_video(scripted: Script, first: Reply) -> None:
    slow = Slow()

    def answer(method: str, path: str, body: bytes) -> Reply:
        if not slow.asked:
            slow.asked["first"] = [monotonic()]
            return first
        return slow(method, path, body)

    _, client = scripted(answer)
    assert await statuses(client, "kite", timeout_seconds=1) == ["completed"]


async def test_a_pause_of_an_hour_that_one_was_told_does_not_stop_the_next(
    scripted: Script,
) -> None:
    slow = Slow(sick=(429, {"Retry-After": AN_HOUR}, BUSY))
    _, client = scripted(slow)
    assert await statuses(client, "sick", timeout_seconds=0.3) == ["RenderTimeoutError"]
    assert await statuses(client, "kite", timeout_seconds=1) == ["completed"]


async def test_a_list_whose_pace_is_an_hour_hides_no_finished_video(scripted: Script) -> None:
    ids = ["one", "two", "three"]
    pages = iter(["in_progress"])

    def answer(method: str, path: str, body: bytes) -> Reply:
        status = next(pages, "completed")
        listed = [job(i, status) for i in ids]
        told = {"object": "list", "data": listed, "has_more": False}
        return 200, {"openai-poll-after-ms": "3600000"}, told

    _, client = scripted(answer)
    assert await statuses(client, *ids, timeout_seconds=1) == ["completed"] * 3


def test_no_server_puts_a_poll_off_for_more_than_a_minute() -> None:
    asked = RateLimitError("later", retry_after_s=3600.0)
    assert backoff(5.0, 1, asked, limits()) == 60.0
    waiter = Waiter("kite", 5.0, asked_interval_s=5.0, due=0.0, absence=KNOWN)
    waiter.pause(3600.0, now=0.0)
    assert waiter.due == 60.0
    patient = Waiter("kite", 300.0, asked_interval_s=300.0, due=0.0, absence=KNOWN)
    patient.pause(3600.0, now=0.0)
    assert patient.due == 300.0  # as the waiter itself wants it


def test_the_last_look_is_before_the_deadline_and_no_sooner_than_the_waiter_wants() -> None:
    waiter = Waiter(
        "kite", 5.0, asked_interval_s=5.0, due=0.0, absence=KNOWN, ends_at=600.0, last_look=590.0
    )
    waiter.pause(60.0, now=570.0)
    assert waiter.due == 590.0
    waiter.pause(60.0, now=587.0)
    assert waiter.due == 592.0
    waiter.pause(60.0, now=592.0)
    assert waiter.due == 597.0


async def test_a_status_nobody_knows_is_waited_out_and_is_no_success(
    client: VideoClient, renderer: Renderer
) -> None:
    renderer.faults([{"on": "retrieve", "do": "unknown_status", "times": None}])
    with pytest.raises(RenderTimeoutError, match="dreaming"):
        await watcher_of(client).wait(
            await begin(client), timeout_seconds=0.5, poll_interval_seconds=0.05
        )


async def test_a_deadline_leaves_the_job_to_be_waited_for_again(
    client: VideoClient, start_renderer: StartRenderer
) -> None:
    renderer = start_renderer(min_render_seconds=0.6)
    client = VideoClient(remote(renderer.base_url))
    video_id = await begin(client)
    with pytest.raises(RenderTimeoutError, match="prefect-sora resume") as caught:
        await watcher_of(client).wait(video_id, timeout_seconds=0.2, poll_interval_seconds=0.05)
    assert (caught.value.video_id, caught.value.paid) == (video_id, "yes")
    assert isinstance(caught.value, TimeoutError)
    again = await watcher_of(client).wait(video_id, poll_interval_seconds=0.05)
    assert again.status == "completed"
    await client.close()


async def test_a_job_that_no_longer_moves_ends_the_wait_before_its_deadline(
    client: VideoClient, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "stall"}])
    video_id = await begin(client)
    started = monotonic()
    with pytest.raises(RenderStalledError, match="in_progress, 40 %") as caught:
        await watcher_of(client).wait(video_id, poll_interval_seconds=0.05, stall_seconds=0.5)
    assert 0.5 < monotonic() - started < 5
    assert (caught.value.video_id, caught.value.paid) == (video_id, "yes")
    assert "`prefect-sora resume`" in str(caught.value)


async def test_a_job_that_moves_is_not_stalled_however_long_it_takes(scripted: Script) -> None:
    begun = monotonic()

    def answer(method: str, path: str, body: bytes) -> Reply:
        done = monotonic() - begun
        status = "completed" if done > 1.5 else "in_progress"
        return 200, {}, job("kite", status, progress=round(done * 60))

    _, client = scripted(answer)
    video = await watcher_of(client).wait("kite", poll_interval_seconds=0.05, stall_seconds=0.6)
    assert video.status == "completed"


async def test_a_server_that_does_not_answer_is_no_job_that_has_stalled(scripted: Script) -> None:
    _, client = scripted(Slow())
    assert await statuses(client, "sick", timeout_seconds=0.6, stall_seconds=0.1) == [
        "RenderTimeoutError"
    ]


async def test_a_number_of_polls_is_another_way_to_say_the_deadline(
    client: VideoClient, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "stall"}])
    with pytest.raises(RenderTimeoutError, match=r"within 0\.4 s"):
        await watcher_of(client).wait(
            await begin(client), poll_interval_seconds=0.1, max_poll_attempts=4
        )


async def test_an_id_the_server_does_not_know_ends_the_wait(client: VideoClient) -> None:
    with pytest.raises(VideoNotFoundError, match=r"Check the id.*resume KEY --resubmit"):
        await watcher_of(client).wait("video_nobody", poll_interval_seconds=0.05)


NOT_HERE: Reply = (404, {}, {"error": {"message": "no such job"}})


def flapping(*replies: Reply) -> Answer:
    """A server that answers each question about a job with the next of these; then it is done."""
    left: dict[str, Iterator[Reply]] = {}

    def answer(method: str, path: str, body: bytes) -> Reply:
        if path.startswith("/v1/videos?"):
            return page()  # the list shows none of them
        video_id = path.rpartition("/")[2]
        return next(left.setdefault(video_id, iter(replies)), (200, {}, job(video_id, "completed")))

    return answer


async def test_the_404_of_one_replica_of_several_loses_no_paid_video(scripted: Script) -> None:
    _, client = scripted(flapping(*[NOT_HERE] * 5))
    assert await statuses(client, "kite") == ["completed"]


async def test_what_the_list_leaves_out_and_a_replica_does_not_know_is_not_lost_either(
    scripted: Script,
) -> None:
    _, client = scripted(flapping(*[NOT_HERE] * 5))
    assert await statuses(client, "one", "two", "three") == ["completed"] * 3


async def test_replicas_that_know_different_jobs_are_told_of_once_and_lose_none(
    scripted: Script, caplog: pytest.LogCaptureFixture
) -> None:
    known: Reply = (200, {}, job("kite"))
    _, client = scripted(flapping(known, NOT_HERE, known, NOT_HERE, known, *[NOT_HERE] * 20))
    assert await statuses(client, "kite") == ["completed"]
    (told,) = [r.getMessage() for r in caplog.records if "replicas" in r.getMessage()]
    assert "Route all requests of a client to the same one" in told


async def test_a_wait_that_replicas_have_made_fail_says_so(scripted: Script) -> None:
    known: Reply = (200, {}, job("kite"))
    _, client = scripted(flapping(known, NOT_HERE, known, *[NOT_HERE] * 999))
    with pytest.raises(RenderTimeoutError, match="Route all requests") as caught:
        await watcher_of(client).wait("kite", timeout_seconds=1, poll_interval_seconds=0.05)
    assert "`prefect-sora resume`" in str(caught.value)


async def test_a_deadline_before_a_404_can_be_believed_is_a_time_out(scripted: Script) -> None:
    patient = QUICK.model_copy(update={"lost_after_s": 60.0})
    _, client = scripted(flapping(*[NOT_HERE] * 999), profile=patient)
    with pytest.raises(RenderTimeoutError, match="no such job") as caught:
        await watcher_of(client).wait("kite", timeout_seconds=0.5, poll_interval_seconds=0.05)
    assert "--resubmit" not in str(caught.value)


async def test_a_404_that_all_answers_repeat_is_final_and_each_reaches_another_replica(
    scripted: Script,
) -> None:
    server, client = scripted(flapping(*[NOT_HERE] * 999))
    with pytest.raises(VideoNotFoundError, match=r"All \d+ answers of 0.3 s said so") as caught:
        await watcher_of(client).wait("kite", timeout_seconds=9, poll_interval_seconds=0.05)
    assert caught.value.paid == "yes"
    asked = server.asked("GET", "kite")
    assert len(asked) >= 6
    # A connection that is kept would reach the same replica time after time.
    assert [one.headers["connection"] for one in asked[1:]] == ["close"] * (len(asked) - 1)


async def test_a_wrong_key_ends_the_wait_at_once(start_renderer: StartRenderer) -> None:
    renderer = start_renderer(api_key="right")
    client = VideoClient(remote(renderer.base_url))
    with pytest.raises(AuthenticationError, match="api_key"):
        await watcher_of(client).wait("video_1", poll_interval_seconds=0.05)
    await client.close()


async def test_a_server_that_cannot_list_is_asked_for_each(
    client: VideoClient, renderer: Renderer
) -> None:
    renderer.faults([{"on": "list", "do": "status:405", "times": None}])
    ids = [await begin(client, f"kite {n}") for n in range(4)]
    watcher = watcher_of(client)
    videos = await asyncio.gather(*(watcher.wait(i, poll_interval_seconds=0.05) for i in ids))
    assert [v.status for v in videos] == ["completed"] * 4
    assert len(renderer.requests("list")) == 1


@pytest.mark.parametrize(
    "listing",
    [
        pytest.param((401, {}, {"error": {"message": "not with this key"}}), id="forbidden"),
        pytest.param((400, {}, {"error": {"message": "say which provider"}}), id="refused"),
        pytest.param((404, {}, {"error": {"message": "no such path"}}), id="absent"),
    ],
)
async def test_a_refused_list_is_not_asked_for_again(scripted: Script, listing: Reply) -> None:
    server, client = scripted(Slow(polls=3, listing=listing))
    assert await statuses(client, "one", "two", "three") == ["completed"] * 3
    assert len(server.asked("GET", "?")) == 1


@pytest.mark.parametrize(
    "listing",
    [
        pytest.param((500, {}, {"error": {"message": "oops"}}), id="500"),
        pytest.param((429, {"Retry-After": "60"}, {"error": {"message": "later"}}), id="429"),
        pytest.param((200, {}, b"\x8f garbage"), id="garbage"),
        pytest.param((200, {}, []), id="no page"),
        pytest.param(None, id="hangs up"),
    ],
)
async def test_while_a_list_fails_its_jobs_are_asked_for_singly(
    scripted: Script, listing: Reply
) -> None:
    _, client = scripted(Slow(polls=2, listing=listing))
    assert await statuses(client, "one", "two", "three") == ["completed"] * 3


async def test_a_list_that_failed_for_a_moment_is_used_again(scripted: Script) -> None:
    ids = ["one", "two", "three"]
    slow = Slow(polls=99, listing=(500, {}, {"error": {"message": "oops"}}))

    def answer(method: str, path: str, body: bytes) -> Reply:
        if slow.asked:  # singly, after the list had failed
            slow.listing = page(*(job(i, "completed") for i in ids))
        return slow(method, path, body)

    _, client = scripted(answer)
    assert await statuses(client, *ids) == ["completed"] * 3


@pytest.mark.slow
async def test_a_list_that_fails_time_after_time_is_given_up(scripted: Script) -> None:
    server, client = scripted(Slow(polls=99, listing=(500, {}, {"error": {"message": "oops"}})))
    await statuses(client, "one", "two", "three", timeout_seconds=3)
    assert len(server.asked("GET", "?")) == 4


@pytest.mark.parametrize("status", ["", "dreaming", None])
async def test_a_job_that_the_list_says_nothing_of_is_asked_for_singly(
    scripted: Script, status: Any
) -> None:
    shown = page(job("vague", status), job("one"), job("two"))
    slow = Slow(listing=shown)
    _, client = scripted(slow)
    ended = await statuses(client, "vague", "one", "two", "hidden", timeout_seconds=0.7)
    assert (ended[0], ended[3]) == ("completed", "completed")
    assert len(slow.asked["vague"]) == len(slow.asked["hidden"]) == 1


async def test_the_renderer_may_die_and_come_back_while_we_wait(
    start_renderer: StartRenderer, tmp_path: Path
) -> None:
    renderer = start_renderer(min_render_seconds=0.5)
    client = VideoClient(remote(renderer.base_url))
    video_id = await begin(client)
    waiting = asyncio.create_task(watcher_of(client).wait(video_id, poll_interval_seconds=0.05))
    await asyncio.sleep(0.1)  # into the middle of the wait
    await asyncio.to_thread(renderer.restart)
    assert (await waiting).status == "completed"
    await client.close()


def test_one_watcher_serves_a_client() -> None:
    client = VideoClient(remote("http://127.0.0.1:9/v1"))
    assert watcher_of(client) is watcher_of(client)
    assert isinstance(watcher_of(client), Watcher)
