"""Doubt: a create whose answer was lost is paid again only where it is shown that it was not."""

import asyncio
import io
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import psutil
import pytest
from PIL import Image

from prefect_sora.errors import SoraError, StorageError, UnavailableError, UncertainSubmitError
from prefect_sora.handles import VideoJob
from prefect_sora.renders.submit.adopt import adopt
from prefect_sora.renders.submit.attempt import Attempt
from prefect_sora.renders.submit.prepare import identify
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.profiles import Profile
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import Server, remote
from prefect_sora.store.identity import new_owner
from prefect_sora.store.ledger import Ledger
from tests.support.limits import Limit
from tests.support.renderer import Renderer
from tests.support.renders import a_dead_process, clip, go, left_in_doubt, render
from tests.support.scripted import Answer, Jobs, Reply, Script

BLIND = Profile(name="blind", can_list=False)


def paged(
    jobs: Jobs, others: list[dict[str, Any]], size: int, *, follows: bool = True, says: bool = True
) -> Answer:
    """A server whose list begins with other jobs, in pages.

    It follows `after` or answers the first page always, and says whether there is more or not.
    """

    def answer(method: str, path: str, body: bytes) -> Reply:
        if not path.startswith("/v1/videos?"):
            return jobs(method, path, body)
        after = parse_qs(urlsplit(path).query).get("after", [None])[0]
        listed = others + jobs.jobs
        begin = [job["id"] for job in listed].index(after) + 1 if after and follows else 0
        page = listed[begin : begin + size]
        more = {"has_more": begin + size < len(listed)} if says else {}
        return 200, {}, {"data": page, **more}

    return answer


def somebody_elses(count: int, age_s: float = 0.0) -> list[dict[str, Any]]:
    """Jobs that cannot be ours: of another size."""
    return [
        {
            "id": f"other{n}",
            "status": "queued",
            "created_at": int(time() - age_s) + n,
            "prompt": "x",
            "size": "8x8",
        }
        for n in range(count)
    ]


async def stopped_or_found(client: VideoClient, ledger: Ledger, **fields: Any) -> VideoJob | None:
    with suppress(UncertainSubmitError):
        return await go(client, ledger, clip(**fields))
    return None


async def test_a_job_that_agrees_in_all_that_is_shown_is_adopted(
    scripted: Script, disk: Ledger
) -> None:
    jobs = Jobs()
    _, client = scripted(jobs)
    job = await go(client, disk)
    assert (job.video_id, job.adopted) == (jobs.jobs[0]["id"], True)


@pytest.mark.parametrize(
    ("echo", "fields"),
    [
        ({"model": "Wan-AI/Wan2.2"}, {"model": "sora-2", "size": "1280x720", "seconds": 4}),
        ({"size": "1280x704"}, {"size": "1280x720"}),
        ({"seconds": "1.04"}, {}),
        ({"prompt": "a kite"}, {"prompt": "a kite\n"}),
        ({"prompt": "A kite, cinematic, enhanced"}, {}),
        ({"prompt": None, "seconds": "3"}, {"seconds": 8, "extra": {"num_frames": 81}}),
    ],
    ids=["model", "size", "seconds", "blanks", "an improved prompt", "frames in place of seconds"],
)
async def test_a_job_shown_otherwise_than_it_was_asked_for_is_a_doubt_at_least(
    scripted: Script, disk: Ledger, echo: Mapping[str, Any], fields: dict[str, Any]
) -> None:
    jobs = Jobs(echo=echo)
    _, client = scripted(jobs)
    await stopped_or_found(client, disk, **fields)
    assert len(jobs.jobs) == 1


@pytest.mark.parametrize("clock", [-300.0, 300.0], ids=["behind", "ahead"])
async def test_a_server_whose_clock_differs_is_read_by_its_own_clock(
    scripted: Script, disk: Ledger, clock: float
) -> None:
    jobs = Jobs(clock=clock)
    _, client = scripted(jobs)
    assert (await go(client, disk)).adopted
    assert len(jobs.jobs) == 1


async def test_behind_a_gateway_with_another_clock_a_person_decides(
    scripted: Script, disk: Ledger
) -> None:
    jobs = Jobs(clock=-300)
    _, client = scripted(lambda *asked: _dated_by_a_gateway(jobs(*asked)))
    assert await stopped_or_found(client, disk) is None
    assert len(jobs.jobs) == 1


def _dated_by_a_gateway(reply: Reply) -> Reply:
    return reply and (reply[0], {}, reply[2])


@pytest.mark.parametrize(
    ("others", "paging"),
    [
        (somebody_elses(5), {"size": 1}),  # more pages than are read
        (somebody_elses(100), {"size": 100, "follows": False, "says": False}),
        (somebody_elses(5), {"size": 5, "follows": False}),
        (somebody_elses(5, age_s=9000), {"size": 3}),
    ],
    ids=["too long", "one page", "the same page again", "oldest first"],
)
async def test_a_list_that_is_not_read_back_to_the_doubt_proves_nothing(
    scripted: Script,
    disk: Ledger,
    limit: Limit,
    others: list[dict[str, Any]],
    paging: dict[str, Any],
) -> None:
    limit(list_pages=3)
    jobs = Jobs()
    _, client = scripted(paged(jobs, others, **paging))
    await stopped_or_found(client, disk)
    assert len(jobs.jobs) == 1


async def test_a_long_list_is_read_to_its_end_though_every_other_page_fails(
    scripted: Script, disk: Ledger, limit: Limit
) -> None:
    limit(list_outage_seconds=4.0)
    jobs, listed = Jobs(), []
    pages = paged(jobs, somebody_elses(30), 10)

    def answer(method: str, path: str, body: bytes) -> Reply:
        if path.startswith("/v1/videos?"):
            listed.append(path)
            if len(listed) % 2:
                return 503, {}, {}
        return pages(method, path, body)

    _, client = scripted(answer)
    assert (await go(client, disk)).adopted
    assert len(jobs.jobs) == 1


async def test_a_list_whose_cursor_was_deleted_is_read_again(
    scripted: Script, disk: Ledger
) -> None:
    # The cursor's job is deleted between two pages: some servers then show an empty page.
    jobs, listed = Jobs(), []

    def answer(method: str, path: str, body: bytes) -> Reply:
        if path.startswith("/v1/videos?"):
            listed.append(path)
            if len(listed) == 1:
                return 200, {}, {"data": somebody_elses(1)}
            if "after=" in path and len(listed) == 2:
                return 200, {}, {"data": []}
        return jobs(method, path, body)

    at_once = Profile(name="at once", submit_grace_s=0.0, longest_create_s=0.0)
    _, client = scripted(answer, at_once)
    assert (await go(client, disk)).adopted
    assert len(jobs.jobs) == 1


async def test_jobs_that_others_hold_are_no_doubt(scripted: Script, disk: Ledger) -> None:
    jobs = Jobs(lose=0)

    def without_prompts(method: str, path: str, body: bytes) -> Reply:
        reply = jobs(method, path, body)
        if reply and "data" in reply[2]:
            shown = [{k: v for k, v in job.items() if k != "prompt"} for job in jobs.jobs]
            return 200, reply[1], {**reply[2], "data": shown}
        return reply

    server, client = scripted(without_prompts)
    for n in range(3):
        await go(client, disk, clip(prompt=f"another {n}"))
    refusals = [None]

    def drop_one(method: str, path: str, body: bytes) -> Reply:
        if method == "POST" and refusals:
            return refusals.pop()
        return without_prompts(method, path, body)

    server.answer = drop_one
    # Nothing is shown but jobs that are claimed: it is sent again, and paid once.
    assert not (await go(client, disk)).adopted
    assert len(jobs.jobs) == 4


async def test_a_create_still_on_its_way_is_waited_for(
    client: VideoClient, server: Server, disk: Ledger, renderer: Renderer
) -> None:
    # The worker dies while the server still reads the request, and accepts it a second later.
    renderer.faults([{"on": "create", "do": "delay:1"}])
    await left_in_doubt(client, disk, owner=a_dead_process())
    dying = asyncio.create_task(client.submit(clip(), None, "the dead worker's"))
    await asyncio.sleep(0.5)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    second = VideoClient(server)
    assert (await go(second, disk)).adopted
    assert renderer.accepted() == 1
    await second.close()


@pytest.mark.slow
async def test_each_of_two_pictures_gets_its_own_video(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    def picture(colour: str) -> bytes:
        data = io.BytesIO()
        Image.new("RGB", (64, 64), colour).save(data, "PNG")
        return data.getvalue()

    # No list shows the picture. The first create is dropped unread, and the one job that could
    # be its own is that of the second, whose answer is still on its way.
    renderer.faults([{"on": "create", "do": "drop"}, {"on": "create", "do": "delay_after:3"}])

    async def one(colour: str) -> VideoJob | BaseException:
        return await go(client, disk, clip(reference=picture(colour)), timeout_seconds=20)

    red = asyncio.create_task(one("red"))
    await asyncio.sleep(0.25)
    blue = asyncio.create_task(one("blue"))
    first, second = await asyncio.gather(red, blue)
    assert isinstance(first, VideoJob)
    assert isinstance(second, VideoJob)
    assert not first.adopted
    assert not second.adopted
    assert renderer.accepted() == 2


async def test_an_adoption_that_broke_off_leaves_the_doubt_as_old_as_it_was(
    client: VideoClient,
    disk: Ledger,
    renderer: Renderer,
    monkeypatch: pytest.MonkeyPatch,
    limit: Limit,
) -> None:
    limit(record_pauses_seconds=[])
    folder = await left_in_doubt(client, disk, at=time() - 300)
    before = await disk.state(folder)
    assert before.reserved is not None
    video = await client.submit(clip(), None, "the lost one's")

    async def broken(*_: object) -> None:
        raise StorageError("down")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "accept", broken)
        with pytest.raises(StorageError):
            await adopt(before, client, disk, video.id)
    after = await disk.state(folder)
    assert after.reserved is not None
    assert after.attempt == 2
    assert after.reserved.in_doubt_since == before.reserved.at
    job = await go(client, disk)
    assert (job.video_id, renderer.accepted()) == (video.id, 1)


async def test_a_torn_reservation_is_of_any_age(
    client: VideoClient, disk: Ledger, renderer: Renderer, limit: Limit
) -> None:
    limit(list_outage_seconds=0.1)
    prepared = await identify(clip(), client, "tonight")
    await disk.store.create(f"{prepared.folder}/reserved.json", b'{"half')
    video = await client.submit(clip(), None, "the lost one's")
    renderer.faults([{"on": "list", "do": "status:503", "times": 3}])
    with pytest.raises(UncertainSubmitError, match="cannot be listed"):
        await go(client, disk)
    renderer.clear_faults()
    state = await disk.state(prepared.folder)
    assert state.reserved is not None
    assert state.reserved.in_doubt_since == 0.0
    job = await go(client, disk)
    assert (job.video_id, renderer.accepted()) == (video.id, 1)


async def test_a_torn_claim_is_a_doubt(
    client: VideoClient, disk: Ledger, renderer: Renderer, tmp_path: Path
) -> None:
    await left_in_doubt(client, disk)
    video = await client.submit(clip(), None, "the lost one's")
    await disk.claim(client.server.identity, video.id, "x")
    (claim,) = (tmp_path / "clips" / ".claims").iterdir()
    claim.write_bytes(b'{"ke')
    with pytest.raises(UncertainSubmitError, match=video.id):
        await go(client, disk)
    assert renderer.accepted() == 1


async def test_an_id_that_was_claimed_and_not_recorded_is_found_without_a_list(
    renderer: Renderer, disk: Ledger
) -> None:
    client = VideoClient(remote(renderer.base_url, profile=BLIND))
    folder = await left_in_doubt(client, disk)
    video = await client.submit(clip(), None, "x")
    key = (await disk.state(folder)).key
    assert await disk.claim(client.server.identity, video.id, key) == key  # killed here
    assert (await go(client, disk)).video_id == video.id
    await client.close()


async def test_an_acceptance_that_is_recorded_late_counts(renderer: Renderer, disk: Ledger) -> None:
    client = VideoClient(remote(renderer.base_url, profile=BLIND))
    prepared = await identify(clip(), client, "tonight")
    first = prepared.reservation(client.server, 1, None)
    second = prepared.reservation(client.server, 2, first.at)  # another machine, after the lease
    for record in (first, second):
        assert await disk.reserve(prepared.folder, record)
        disk.release(record)
    video = await client.submit(clip(), None, "the first one's, after all")
    await disk.claim(client.server.identity, video.id, prepared.key)
    await Attempt(first, prepared.folder, client, disk).accept(video, adopted=False)
    assert (await go(client, disk)).video_id == video.id
    await client.close()


async def test_a_process_that_lives_on_may_have_given_a_render_up(
    client: VideoClient, disk: Ledger
) -> None:
    parent = psutil.Process(os.getppid())
    living = new_owner().model_copy(update={"pid": parent.pid, "started": parent.create_time()})
    await left_in_doubt(client, disk, owner=living, at=time() - 3600)
    assert (await go(client, disk, timeout_seconds=0.5)).attempt == 2


async def test_what_was_given_up_too_long_ago_is_reserved_anew_before_it_is_sent(
    client: VideoClient, disk: Ledger, renderer: Renderer, limit: Limit
) -> None:
    # Looking for the lost job takes longer than others believe a create may take to leave.
    limit(leave_seconds=1.0)
    await left_in_doubt(client, disk, owner=a_dead_process())
    job = await go(client, disk)
    assert (job.attempt, job.adopted, renderer.accepted()) == (3, False, 1)


async def test_nothing_is_sent_after_a_cancellation(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "status:429", "headers": {"Retry-After": "1"}}])
    run = asyncio.create_task(go(client, disk))
    await asyncio.sleep(0.5)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await asyncio.sleep(1.5)
    assert (len(renderer.requests("create")), renderer.accepted()) == (1, 0)
    # Nor is it in doubt: the next run sends at once.
    (folder,) = await disk.folders()
    assert (await disk.state(folder)).name == "failed"


@pytest.mark.parametrize("cancel", ["asyncio", "anyio"])
async def test_a_create_under_way_is_recorded_though_its_caller_is_cancelled(
    renderer: Renderer, disk: Ledger, cancel: str
) -> None:
    client = VideoClient(remote(renderer.base_url, profile=BLIND))
    renderer.faults([{"on": "create", "do": "delay_after:1"}])
    if cancel == "anyio":  # which cancels again and again
        with anyio.move_on_after(0.4) as scope:
            await go(client, disk)
        assert scope.cancelled_caught
    else:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(go(client, disk), 0.4)
    (folder,) = await disk.folders()
    assert (await disk.state(folder)).name == "accepted"
    assert (await go(client, disk)).attempt == 1
    await client.close()


async def test_a_create_that_outlasts_its_caller_is_nobody_elses_to_send(
    renderer: Renderer, disk: Ledger, limit: Limit
) -> None:
    limit(cancelled_record_seconds=0.2)
    client = VideoClient(remote(renderer.base_url, profile=BLIND))
    renderer.faults([{"on": "create", "do": "delay_after:1.5"}])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(go(client, disk), 0.4)
    job = await go(client, disk)
    assert (job.attempt, job.adopted, renderer.accepted()) == (1, False, 1)
    await client.close()


async def test_the_policy_pays_again_once_and_not_once_a_round(
    renderer: Renderer, disk: Ledger
) -> None:
    client = VideoClient(remote(renderer.base_url, profile=BLIND))
    renderer.faults([{"on": "create", "do": "drop_after", "times": 3}])
    with pytest.raises(UncertainSubmitError) as caught:
        await go(client, disk, in_doubt="resubmit")
    assert (caught.value.paid, renderer.accepted()) == ("unknown", 2)
    await client.close()


async def test_a_server_that_takes_nothing_is_given_up_and_nothing_was_paid(
    scripted: Script, disk: Ledger
) -> None:
    def answer(method: str, path: str, body: bytes) -> Reply:
        return (500, {}, {"error": {"message": "no GPU"}}) if body else (200, {}, {"data": []})

    server, client = scripted(answer)
    with pytest.raises(UnavailableError, match="no GPU") as caught:
        await go(client, disk)
    assert (caught.value.paid, server.posts()) == ("no", 3)


async def test_a_server_that_says_at_once_is_not_hammered(scripted: Script, disk: Ledger) -> None:
    busy = {"error": {"message": "busy"}}
    server, client = scripted(lambda *_: (429, {"Retry-After": "0"}, busy))
    with pytest.raises(SoraError):
        await go(client, disk, timeout_seconds=2)
    assert 2 <= server.posts() <= 3


@pytest.mark.slow
async def test_an_overloaded_server_is_waited_for_until_the_deadline(
    scripted: Script, disk: Ledger
) -> None:
    jobs, refusals = Jobs(lose=0), [503] * 3

    def answer(method: str, path: str, body: bytes) -> Reply:
        if method == "POST" and refusals:
            return refusals.pop(), {"Retry-After": "0.1"}, {"error": {"message": "overloaded"}}
        return jobs(method, path, body)

    server, client = scripted(answer)
    assert not (await go(client, disk)).adopted
    assert (server.posts(), len(jobs.jobs)) == (4, 1)


async def test_an_answer_that_another_render_took_for_its_own_is_not_sent_again(
    scripted: Script, disk: Ledger
) -> None:
    jobs = Jobs(lose=0)

    def answer(method: str, path: str, body: bytes) -> Reply:
        reply = jobs(method, path, body)
        if method == "POST" and reply:
            # A twin that was in doubt is quicker than the answer.
            asyncio.run(disk.claim(client.server.identity, reply[2]["id"], "a-twin"))
        return reply

    server, client = scripted(answer)
    with pytest.raises(UncertainSubmitError, match="a-twin") as caught:
        await go(client, disk)
    assert (caught.value.paid, server.posts()) == ("unknown", 1)


async def test_a_video_that_is_there_already_is_never_in_doubt(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    there = await client.submit(clip(), None, "x")
    request = VideoRequest.model_validate(
        {"kind": "existing", "source_video_id": there.id, "prompt": "what there is"}
    )
    renderer.faults([{"on": "retrieve", "do": "status:404"}])
    with pytest.raises(SoraError, match="404") as caught:
        await go(client, disk, request)
    assert caught.value.key
    assert await disk.unfinished() == []
    kept = await render(request, client, disk, "tonight", poll_interval_seconds=0.05)
    assert (kept.video_id, renderer.accepted()) == (there.id, 1)
