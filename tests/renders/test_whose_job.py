"""Whose job: what a server lists is taken only by the render that made it, and never paid anew."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from time import time
from typing import Any, Final

import pytest
from pydantic import SecretStr

from prefect_sora.errors import SoraError, UncertainSubmitError
from prefect_sora.handles import VideoJob
from prefect_sora.renders.finish.options import WaitOptions
from prefect_sora.renders.recovery.sweep import client_among, sweep
from prefect_sora.renders.submit.adopt import adopt, recover
from prefect_sora.renders.submit.attempt import Attempt
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.profiles import AZURE, Profile
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import RenderState, Reserved
from tests.support.renders import a_dead_process, clip, go, left_in_doubt
from tests.support.scripted import Jobs, Reply, Script

SORA: Final[dict[str, Any]] = {"model": "sora-2", "size": "1280x720", "seconds": 4}
OVERNIGHT_SECONDS: Final = 8 * 3600


def shown(request: VideoRequest, video_id: str = "video_lost", **changes: Any) -> dict[str, Any]:
    """A job as a server lists it that repeats what was asked for; None leaves a field out."""
    job = {
        "id": video_id,
        "object": "video",
        "status": "queued",
        "created_at": int(time()),
        "prompt": request.prompt,
        "model": request.model,
        "size": request.size,
        "seconds": f"{request.seconds}" if request.kind == "create" else None,
        **changes,
    }
    return {name: value for name, value in job.items() if value is not None}


async def ended(client: VideoClient, ledger: Ledger, request: VideoRequest) -> VideoJob | None:
    """Run it again; None where a person has to decide."""
    with suppress(UncertainSubmitError):
        return await go(client, ledger, request)
    return None


@pytest.mark.parametrize(
    ("asked", "listed", "adopted"),
    [
        ("sora-2", "sora-2-pro", False),
        ("sora-2-pro", "sora-2", False),
        ("sora-2", "sora-2-pro-2025-10-06", False),
        ("sora-2", "sora-2-2025-10-06", True),
        ("sora-2-2025-10-06", "sora-2", True),
        ("sora-2-2025-10-06", "sora-2-2025-12-08", False),
    ],
)
async def test_a_name_that_only_begins_alike_is_another_model(
    scripted: Script, disk: Ledger, asked: str, listed: str, adopted: bool
) -> None:
    jobs = Jobs(lose=0)
    server, client = scripted(jobs)
    request = clip(**{**SORA, "model": asked})
    await left_in_doubt(client, disk, request, owner=a_dead_process())
    jobs.jobs.append(shown(request, model=listed))
    job = await ended(client, disk, request)
    assert (job is not None, server.posts()) == (adopted, 0)


def of(kind: str, source: str, **fields: Any) -> VideoRequest:
    return VideoRequest.model_validate(
        {"prompt": "make it night", "kind": kind, "source_video_id": source, **fields}
    )


@pytest.mark.parametrize(
    ("mine", "theirs", "hides"),
    [
        (of("extend", "clip_a"), of("extend", "clip_b"), {}),
        (of("edit", "clip_a"), of("edit", "clip_b"), {}),
        (of("edit", "clip_a"), of("extend", "clip_a"), {}),
        (clip(characters=("alice",)), clip(characters=("bob",)), {}),
        (clip(extra={"seed": 1}), clip(extra={"seed": 2}), {}),
        (clip(seconds=1), clip(seconds=2), {"seconds": None}),
        (clip(size="64x64"), clip(size="128x64"), {"size": None}),
        (clip(**SORA), clip(**{**SORA, "model": "sora-2-pro"}), {"model": None}),
        (clip(prompt="a kite"), clip(prompt="A kite!"), {"prompt": "A kite, cinematic"}),
    ],
    ids=[
        "an extension of another clip",
        "an edit of another clip",
        "an edit and an extension of one clip",
        "other characters",
        "another seed",
        "a list without seconds",
        "a list without sizes",
        "a list without models",
        "an improved prompt",
    ],
)
async def test_what_two_lost_renders_could_own_is_nobodys_without_a_person(
    scripted: Script,
    disk: Ledger,
    mine: VideoRequest,
    theirs: VideoRequest,
    hides: Mapping[str, Any],
) -> None:
    jobs = Jobs(lose=0)
    server, client = scripted(jobs)
    await left_in_doubt(client, disk, mine, owner=a_dead_process())
    folder = await left_in_doubt(client, disk, theirs, owner=a_dead_process())
    jobs.jobs.append(shown(theirs, "video_theirs", **hides))

    assert await ended(client, disk, mine) is None
    assert server.posts() == 0

    # A person gives it to whose it is, and then the other is free to be sent.
    await adopt(await disk.state(folder), client, disk, "video_theirs")
    job = await go(client, disk, mine)
    assert (job.video_id != "video_theirs", server.posts()) == (True, 1)


async def test_each_of_a_dead_workers_lost_renders_finds_its_own_job(
    scripted: Script, disk: Ledger
) -> None:
    # Nine were accepted and the tenth was not; the server is one that might improve prompts.
    jobs = Jobs(lose=0)
    server, client = scripted(jobs)
    requests = [clip(prompt=f"shot {n} of a kite over a park") for n in range(10)]
    for request in requests:
        await left_in_doubt(client, disk, request, owner=a_dead_process())
    for n, request in enumerate(requests[:9]):
        jobs.jobs.insert(0, shown(request, f"video_{n}"))

    tenth = await go(client, disk, requests[9])
    assert (tenth.adopted, server.posts()) == (False, 1)
    for n, request in enumerate(requests[:9]):
        assert (await go(client, disk, request)).video_id == f"video_{n}"
    assert server.posts() == 1


async def test_two_shapes_of_one_prompt_each_find_their_own_job(
    scripted: Script, disk: Ledger
) -> None:
    jobs = Jobs(lose=0)
    server, client = scripted(jobs)
    wide, tall = clip(size="128x64"), clip(size="64x128")
    for request, video_id in ((wide, "video_wide"), (tall, "video_tall")):
        await left_in_doubt(client, disk, request, owner=a_dead_process())
        jobs.jobs.insert(0, shown(request, video_id))
    assert (await go(client, disk, wide)).video_id == "video_wide"
    assert (await go(client, disk, tall)).video_id == "video_tall"
    assert server.posts() == 0


@pytest.mark.parametrize(
    "clock",
    [
        lambda at: at * 1000,
        lambda _: 0,
        lambda _: -1,
        lambda at: at + OVERNIGHT_SECONDS,
        lambda at: at - OVERNIGHT_SECONDS,
        lambda at: at - 14 * 3600,
        lambda at: at + 10 * 365 * 86400,
        lambda at: at - 3 * 86400,
        lambda _: "yesterday",
    ],
    ids=[
        "milliseconds",
        "zero",
        "negative",
        "local time, ahead",
        "local time, behind",
        "the other side of the earth",
        "years ahead",
        "days behind",
        "words",
    ],
)
async def test_a_job_with_the_same_prompt_is_never_anothers_for_its_time_alone(
    scripted: Script, disk: Ledger, clock: Any
) -> None:
    jobs = Jobs(lose=0)
    server, client = scripted(jobs)
    await left_in_doubt(client, disk, owner=a_dead_process())
    jobs.jobs.append(shown(clip(), created_at=clock(int(time()))))
    await ended(client, disk, clip())
    assert server.posts() == 0


@pytest.mark.parametrize("minutes", [-60, -20, 20, 60])
async def test_a_reservation_stamped_by_a_clock_that_was_set_right_is_not_paid_again(
    scripted: Script, disk: Ledger, minutes: int
) -> None:
    jobs = Jobs(lose=0)
    server, client = scripted(jobs)
    await left_in_doubt(client, disk, owner=a_dead_process(), at=time() + minutes * 60)
    jobs.jobs.append(shown(clip()))
    await ended(client, disk, clip())
    assert server.posts() == 0


async def test_a_job_of_a_server_on_local_time_is_found_on_a_later_page(
    scripted: Script, disk: Ledger
) -> None:
    # Newest first by its own clock, which is eight hours behind: ours is on the second page.
    jobs = Jobs(lose=0)
    now = int(time())
    others = [
        shown(clip(size="96x96", prompt="x"), f"o{n}", created_at=now - 7200) for n in range(3)
    ]
    jobs.jobs = [*others, shown(clip(), created_at=now - OVERNIGHT_SECONDS)]

    def paged(method: str, path: str, body: bytes) -> Reply:
        if not path.startswith("/v1/videos?"):
            return jobs(method, path, body)
        page = jobs.jobs[3:] if "after=" in path else jobs.jobs[:3]
        return 200, {}, {"data": page, "has_more": "after=" not in path}

    server, client = scripted(paged)
    await left_in_doubt(client, disk, owner=a_dead_process())
    await ended(client, disk, clip())
    assert server.posts() == 0


async def test_absence_proves_nothing_once_the_server_may_have_forgotten(
    scripted: Script, disk: Ledger
) -> None:
    at_once = AZURE.model_copy(update={"submit_grace_s": 0.1, "longest_create_s": 0.1})
    server, client = scripted(Jobs(lose=0), at_once)
    await left_in_doubt(client, disk, owner=a_dead_process(), at=time() - 2 * 86_400)
    with pytest.raises(UncertainSubmitError, match="24 hours") as caught:
        await go(client, disk)
    assert (caught.value.paid, server.posts()) == ("unknown", 0)


async def test_an_older_doubt_is_settled_where_the_server_forgets_nothing(
    scripted: Script, disk: Ledger
) -> None:
    durable = Profile(
        name="durable", submit_grace_s=0.1, longest_create_s=0.1, remembers_seconds=None
    )
    server, client = scripted(Jobs(lose=0), durable)
    await left_in_doubt(client, disk, owner=a_dead_process(), at=time() - 30 * 86_400)
    assert not (await go(client, disk)).adopted
    assert server.posts() == 1


async def test_another_accounts_list_proves_nothing(scripted: Script, disk: Ledger) -> None:
    jobs = Jobs(lose=0)

    def listed_by_key(method: str, path: str, body: bytes) -> Reply:
        if path.startswith("/v1/videos?") and "key-b" in server.seen[-1].headers["authorization"]:
            return 200, {}, {"object": "list", "data": [], "has_more": False}
        return jobs(method, path, body)

    server, theirs = scripted(listed_by_key, api_key=SecretStr("key-b"))
    ours = VideoClient(_with_key(theirs, "key-a"))
    folder = await left_in_doubt(ours, disk, owner=a_dead_process())
    jobs.jobs.append(shown(clip()))

    with pytest.raises(UncertainSubmitError, match="another key"):
        await recover(await disk.state(folder), theirs, disk)
    assert (await disk.state(folder)).name == "reserved"
    assert (await go(ours, disk)).video_id == "video_lost"
    assert server.posts() == 0
    await ours.close()


def _with_key(client: VideoClient, key: str) -> Any:
    from dataclasses import replace

    return replace(client.server, api_key=SecretStr(key))


async def test_a_list_that_lacks_what_the_server_has_accepted_proves_nothing(
    scripted: Script, disk: Ledger
) -> None:
    # Two replicas with a memory of their own: this one made another render of the store.
    jobs = Jobs(lose=0)
    server, client = scripted(jobs)
    await go(client, disk, clip(prompt="accepted by the other replica"))
    jobs.jobs.clear()
    await left_in_doubt(client, disk, owner=a_dead_process(), at=time() - 5)
    assert await ended(client, disk, clip()) is None
    assert server.posts() == 1


async def test_lists_of_replicas_that_know_different_jobs_prove_nothing(
    scripted: Script, disk: Ledger
) -> None:
    jobs, listed = Jobs(lose=0), []
    elsewhere = shown(clip(prompt="somebody else's", size="96x96"), "video_other")

    def by_turns(method: str, path: str, body: bytes) -> Reply:
        if path.startswith("/v1/videos?"):
            listed.append(path)
            return 200, {}, {"data": [elsewhere] if len(listed) % 2 else [], "has_more": False}
        return (200, {}, elsewhere) if "video_other" in path else jobs(method, path, body)

    server, client = scripted(by_turns)
    await left_in_doubt(client, disk, owner=a_dead_process())
    assert await ended(client, disk, clip()) is None
    assert server.posts() == 0


async def test_an_entry_that_cannot_be_read_may_be_the_job(scripted: Script, disk: Ledger) -> None:
    jobs = Jobs(lose=0)
    server, client = scripted(jobs)
    await left_in_doubt(client, disk, owner=a_dead_process())
    jobs.jobs.append({"video": "in a form of its own"})
    assert await ended(client, disk, clip()) is None
    assert server.posts() == 0


@pytest.mark.parametrize(
    ("changes", "adopted"),
    [
        ({"remixed_from_video_id": ""}, True),
        ({"status": "deleted"}, False),
        ({"prompt": "A kite, cinematic", "size": "80x80"}, False),
        ({"prompt": "Ein Drachen", "model": "Wan-AI/Wan2.2"}, False),
    ],
    ids=["an empty source", "deleted", "improved and rounded", "translated for its own model"],
)
async def test_what_a_gateway_makes_of_a_job_is_no_licence_to_pay_again(
    scripted: Script, disk: Ledger, changes: dict[str, Any], adopted: bool
) -> None:
    jobs = Jobs(lose=0)
    server, client = scripted(jobs)
    request = clip(model="a-model")
    await left_in_doubt(client, disk, request, owner=a_dead_process())
    jobs.jobs.append(shown(request, **changes))
    assert (await ended(client, disk, request) is not None, server.posts()) == (adopted, 0)


@pytest.mark.slow
async def test_ten_sweeps_of_a_standing_doubt_add_nothing_to_the_store(
    scripted: Script, disk: Ledger
) -> None:
    jobs = Jobs(lose=0)
    server, client = scripted(jobs)
    folder = await left_in_doubt(client, disk, owner=a_dead_process())
    jobs.jobs.append(shown(clip(), size="80x80"))

    async def client_of(state: RenderState) -> VideoClient:
        return await client_among([client], state)

    for _ in range(10):
        (one,) = await sweep(disk, client_of, WaitOptions(timeout_seconds=1.0))
        assert one.outcome == "in_doubt"
    assert await disk.store.names(folder) == ["reserved.json"]
    assert server.posts() == 0


async def test_an_answer_that_comes_after_a_sweep_has_closed_the_doubt_counts(
    scripted: Script, disk: Ledger
) -> None:
    jobs = Jobs(lose=0)
    _, client = scripted(jobs)
    folder = await left_in_doubt(client, disk, owner=a_dead_process())
    state = await disk.state(folder)
    assert state.reserved is not None
    assert await recover(state, client, disk) is None
    # The worker's machine slept, and wakes.
    jobs.jobs.append(shown(clip(), "video_late"))
    late = await client.retrieve("video_late")
    await disk.claim(client.server.identity, late.id, state.key)
    await Attempt(state.reserved, folder, client, disk).accept(late, adopted=False)
    assert (await go(client, disk)).video_id == "video_late"


async def test_of_two_sweeps_at_once_both_find_the_same_and_neither_adds_an_attempt(
    scripted: Script, disk: Ledger
) -> None:
    jobs = Jobs(lose=0)
    server, client = scripted(jobs)
    folder = await left_in_doubt(client, disk, owner=a_dead_process())
    jobs.jobs.append(shown(clip()))
    state = await disk.state(folder)
    found = await asyncio.gather(
        recover(state, client, disk), recover(state, client, disk), go(client, disk)
    )
    assert {job.video_id for job in found if job} == {"video_lost"}
    assert server.posts() == 0
    assert (await disk.state(folder)).name == "accepted"


async def test_a_sweep_that_finds_that_another_has_just_reserved_says_so(
    scripted: Script, disk: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = scripted(Jobs(lose=0))
    folder = await left_in_doubt(client, disk, owner=a_dead_process())
    before = await disk.state(folder)
    taken: list[Reserved] = []

    async def client_of(state: RenderState) -> VideoClient:
        assert before.reserved is not None
        taken.append(before.reserved.model_copy(update={"attempt": 2}))
        return client

    is_held = Ledger.is_held

    def reserves_now(record: Reserved) -> bool:
        held = is_held(record)
        if record.attempt == 1 and taken:  # between our look and our next one
            path = f"{disk.store.root}/{folder}/reserved-2.json"
            with open(path, "w") as file:  # another process, which lives
                file.write(taken[0].model_dump_json())
        return held

    monkeypatch.setattr(Ledger, "is_held", staticmethod(reserves_now))
    (one,) = await sweep(disk, client_of, WaitOptions(timeout_seconds=1.0))
    assert isinstance(one.error, SoraError)
    assert "Another worker" in one.error.message
    assert one.outcome == "waiting"
