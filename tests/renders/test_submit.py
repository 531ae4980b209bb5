"""Submit: a render is paid once, whoever asks for it, however often, whatever answer was lost."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE
from time import time

import httpx2
import pytest

from prefect_sora.errors import (
    AuthenticationError,
    InvalidRequestError,
    ModerationError,
    QuotaError,
    RateLimitError,
    RejectedError,
    SoraError,
    StorageError,
    UnavailableError,
    UncertainSubmitError,
)
from prefect_sora.limits import limits
from prefect_sora.renders.submit.adopt import adopt, recover
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.profiles import Profile
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import Server, remote
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.identity import new_owner
from prefect_sora.store.ledger import Ledger
from tests.support.limits import Limit
from tests.support.processes import Forked
from tests.support.renderer import Renderer, StartRenderer, until
from tests.support.renders import a_dead_process, clip, go, left_in_doubt


async def test_the_same_request_in_the_same_scope_is_one_render(
    client: VideoClient, ledger: Ledger, renderer: Renderer
) -> None:
    first = await go(client, ledger)
    again = await go(client, ledger)
    assert again == first
    assert renderer.accepted() == 1


@pytest.mark.parametrize(
    ("request_", "scope"),
    [
        (clip(take=2), "tonight"),
        (clip(), "tomorrow"),
        (clip(prompt="a blue kite"), "tonight"),
        (clip(seconds=2), "tonight"),
    ],
    ids=["another take", "another scope", "another prompt", "another length"],
)
async def test_what_differs_is_another_render(
    client: VideoClient, disk: Ledger, renderer: Renderer, request_: VideoRequest, scope: str
) -> None:
    await go(client, disk)
    await go(client, disk, request_, scope)
    assert renderer.accepted() == 2


async def test_of_many_racing_workers_one_pays_and_all_have_its_job(
    client: VideoClient, ledger: Ledger, renderer: Renderer
) -> None:
    jobs = await asyncio.gather(*(go(client, ledger) for _ in range(10)))
    assert len({job.video_id for job in jobs}) == 1
    assert renderer.accepted() == 1


async def test_the_id_is_recorded_before_it_is_used(client: VideoClient, ledger: Ledger) -> None:
    job = await go(client, ledger)
    state = await ledger.state(job.folder)
    assert state.name == "accepted"
    assert state.accepted is not None
    assert state.accepted.job.video_id == job.video_id


async def test_the_create_carries_the_renders_key(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    job = await go(client, disk)
    (create,) = renderer.requests("create")
    assert create["headers"]["idempotency-key"].startswith(job.key)


@pytest.mark.parametrize(
    "lost",
    ["drop_after", "cut:20", "status:502", "status:504", "status:500", "drop", "garbage", "html"],
)
async def test_a_lost_answer_is_looked_up_before_anything_is_sent_again(
    client: VideoClient, disk: Ledger, renderer: Renderer, lost: str
) -> None:
    renderer.faults([{"on": "create", "do": lost}])
    job = await go(client, disk)
    # Accepted once: adopted where the server took it, sent again where it is shown it did not.
    assert renderer.accepted() == 1
    assert job.adopted is (lost in ("drop_after", "cut:20"))


async def test_twin_takes_in_doubt_adopt_one_job_each(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "drop_after", "times": 2}])
    jobs = await asyncio.gather(go(client, disk, clip(take=1)), go(client, disk, clip(take=2)))
    # Both have one prompt: each adopts one of the two jobs, and neither the other's.
    assert len({job.video_id for job in jobs}) == 2
    assert renderer.accepted() == 2


async def test_a_job_of_another_prompt_is_never_adopted(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    await client.submit(clip(prompt="somebody else's"), None, "x")
    renderer.faults([{"on": "create", "do": "drop"}])
    job = await go(client, disk)
    assert not job.adopted
    assert renderer.accepted() == 2


async def test_a_dead_workers_job_is_adopted(
    client: VideoClient, ledger: Ledger, renderer: Renderer
) -> None:
    await left_in_doubt(client, ledger, owner=a_dead_process())
    video = await client.submit(clip(), None, "the dead worker's")
    job = await go(client, ledger)
    assert (job.video_id, job.attempt, job.adopted) == (video.id, 2, True)
    assert renderer.accepted() == 1


async def test_a_dead_workers_render_that_was_never_sent_is_sent(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    await left_in_doubt(client, disk, owner=a_dead_process())
    job = await go(client, disk)
    assert (job.attempt, job.adopted) == (2, False)
    assert renderer.accepted() == 1


async def test_a_worker_on_another_machine_is_believed_until_its_lease_ends(
    client: VideoClient, ledger: Ledger, renderer: Renderer
) -> None:
    elsewhere = new_owner().model_copy(update={"machine": "another"})
    folder = await left_in_doubt(client, ledger, owner=elsewhere)
    with pytest.raises(SoraError, match="Another worker is submitting"):
        await go(client, ledger, timeout_seconds=0.1)
    state = await ledger.state(folder)
    assert state.reserved is not None
    assert ledger.is_held(state.reserved)
    old = state.reserved.model_copy(update={"at": time() - limits().lease_seconds - 1})
    assert not ledger.is_held(old)
    assert renderer.accepted() == 0


@pytest.fixture
def cannot_list(renderer: Renderer) -> Server:
    return remote(renderer.base_url, profile=Profile(name="blind", can_list=False))


async def test_where_the_server_cannot_list_a_person_decides(
    cannot_list: Server, disk: Ledger, renderer: Renderer
) -> None:
    client = VideoClient(cannot_list)
    renderer.faults([{"on": "create", "do": "drop_after"}])
    for _ in range(3):
        with pytest.raises(UncertainSubmitError, match="--adopt VIDEO_ID") as caught:
            await go(client, disk)
    assert caught.value.paid == "unknown"
    assert renderer.accepted() == 1

    (folder,) = await disk.find(str(caught.value.key))
    video_id = (await client.list_page()).videos[0].id
    adopted = await adopt(await disk.state(folder), client, disk, video_id)
    assert (await go(client, disk)).video_id == adopted.video_id == video_id
    assert renderer.accepted() == 1
    await client.close()


async def test_a_policy_may_pay_again_in_doubt(
    cannot_list: Server, disk: Ledger, renderer: Renderer
) -> None:
    client = VideoClient(cannot_list)
    renderer.faults([{"on": "create", "do": "drop_after"}])
    job = await go(client, disk, in_doubt="resubmit")
    assert not job.adopted
    assert renderer.accepted() == 2
    await client.close()


async def test_recovering_never_pays(client: VideoClient, disk: Ledger, renderer: Renderer) -> None:
    folder = await left_in_doubt(client, disk, owner=a_dead_process())
    assert await recover(await disk.state(folder), client, disk) is None
    assert renderer.accepted() == 0
    assert (await disk.state(folder)).name == "failed"
    # Closed, so the next run makes a new attempt.
    assert (await go(client, disk)).attempt == 3


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("status:400", RejectedError),
        ("status:401", AuthenticationError),
        ("status:403", AuthenticationError),
        ("status:404", RejectedError),
        ("status:429:insufficient_quota", QuotaError),
    ],
)
async def test_a_refusal_is_what_it_is_and_leaves_the_way_free(
    client: VideoClient, disk: Ledger, renderer: Renderer, answer: str, error: type[SoraError]
) -> None:
    renderer.faults([{"on": "create", "do": answer}])
    with pytest.raises(error) as caught:
        await go(client, disk)
    assert caught.value.paid == "no"
    assert caught.value.key
    assert renderer.requests("list") == []
    job = await go(client, disk)
    assert (job.attempt, renderer.accepted()) == (2, 1)


async def test_moderation_is_final(client: VideoClient, disk: Ledger, renderer: Renderer) -> None:
    renderer.faults([{"on": "create", "do": "status:400:moderation_blocked"}])
    for _ in range(2):
        with pytest.raises(ModerationError, match="Change the prompt") as caught:
            await go(client, disk)
        assert caught.value.message.startswith("Refused by moderation (moderation_blocked): ")
        assert caught.value.message.count("Refused by") == 1, "now, and as it was recorded"
    assert len(renderer.requests("create")) == 1


async def test_a_rate_limit_is_waited_out_and_paid_once(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    renderer.faults(
        [{"on": "create", "do": "status:429", "times": 2, "headers": {"Retry-After": "0"}}]
    )
    await go(client, disk)
    assert (len(renderer.requests("create")), renderer.accepted()) == (3, 1)


async def test_a_rate_limit_beyond_the_deadline_ends_in_its_error(
    client: VideoClient, disk: Ledger, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "status:429", "headers": {"Retry-After": "900"}}])
    with pytest.raises(RateLimitError) as caught:
        await go(client, disk, timeout_seconds=1)
    assert (caught.value.retry_after_s, caught.value.paid) == (900, "no")


@pytest.mark.slow
async def test_a_server_that_is_not_there_was_paid_nothing(disk: Ledger) -> None:
    client = VideoClient(remote("http://127.0.0.1:9/v1"))
    with pytest.raises(UnavailableError, match="cannot be reached") as caught:
        await go(client, disk)
    assert (caught.value.never_sent, caught.value.paid) == (True, "no")
    await client.close()


async def test_a_store_that_fails_stops_before_paying(
    client: VideoClient, renderer: Renderer, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        await go(client, Ledger(VideoFolder(str(tmp_path / "file"))))
    assert renderer.requests("create") == []


async def test_a_store_that_fails_after_paying_is_given_time_and_then_the_id_is_told(
    client: VideoClient, renderer: Renderer, tmp_path: Path, limit: Limit
) -> None:
    limit(record_pauses_seconds=[0.05, 0.05])
    ledger = Ledger(VideoFolder(str(tmp_path)))
    (tmp_path / ".claims").write_text("in the way")
    with pytest.raises(StorageError, match="--adopt") as caught:
        await go(client, ledger)
    assert caught.value.paid == "yes"
    (paid,) = (await client.list_page()).videos
    assert caught.value.video_id == paid.id

    (tmp_path / ".claims").unlink()
    job = await go(client, ledger)
    assert (job.video_id, renderer.accepted()) == (paid.id, 1)


async def test_bad_input_sends_nothing_and_writes_nothing(
    client: VideoClient, renderer: Renderer, tmp_path: Path
) -> None:
    ledger = Ledger(VideoFolder(str(tmp_path / "clips")))
    by_the_book = client.server.profile.model_copy(update={"keeps_catalogue": True})
    strict = VideoClient(replace(client.server, profile=by_the_book))
    with pytest.raises(InvalidRequestError):
        await go(strict, ledger, clip(model="sora-2", size="1024x1024", seconds=4))
    with pytest.raises(InvalidRequestError):
        await go(client, ledger, clip(reference=str(tmp_path / "nothing.png")))
    assert renderer.requests() == []
    assert not (tmp_path / "clips").exists()


async def test_a_torn_record_is_a_doubt_and_not_a_licence(
    client: VideoClient, renderer: Renderer, tmp_path: Path
) -> None:
    ledger = Ledger(VideoFolder(str(tmp_path)))
    job = await go(client, ledger)
    (tmp_path / job.folder / "accepted.json").write_bytes(b'{"key": "half')
    again = await go(client, ledger)
    assert (again.video_id, again.adopted) == (job.video_id, True)
    assert renderer.accepted() == 1


WORKER = """
import asyncio, json, sys
from prefect_sora.servers.protocol.connections import connect
from prefect_sora.store.ledger import Ledger
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.server import Server
from prefect_sora.servers.profiles import LOCAL
from prefect_sora.store.backends import VideoFolder
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.renders.submit.submit import submit
from prefect_sora.renders.submit.prepare import identify

async def main(base_url, root, options):
    server = Server(base_url=base_url, identity="test", label="test", profile=LOCAL)
    client = connect(server)
    request = VideoRequest(prompt="a kite", model=None, size="64x64", seconds=1)
    prepared = await identify(request, client, "tonight")
    ledger = Ledger(VideoFolder(root, options))
    job = await submit(prepared, client, ledger, RenderOptions("tonight"))
    print(job.video_id)

asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])))
"""


Worker = Callable[[], Forked]


@pytest.fixture
def worker(renderer: Renderer, folder: VideoFolder) -> Iterator[Worker]:
    """Start processes that submit the same; none of them outlives the test."""
    started: list[Forked] = []

    def start() -> Forked:
        told = (renderer.base_url, folder.root, json.dumps(dict(folder.options)))
        started.append(Forked(["-c", WORKER, *told], stdout=PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("folder", ["disk", "s3"], indirect=True)
def test_of_racing_processes_one_pays(worker: Worker, renderer: Renderer) -> None:
    workers = [worker() for _ in range(4)]
    printed = {w.communicate(timeout=60)[0] for w in workers}
    assert {w.returncode for w in workers} == {0}
    assert len(printed) == 1
    assert renderer.accepted() == 1


@pytest.mark.parametrize("folder", ["disk", "s3"], indirect=True)
def test_killed_after_the_server_accepted_and_run_again_it_is_one_job(
    worker: Worker, renderer: Renderer
) -> None:
    renderer.faults([{"on": "create", "do": "delay_after:30"}])
    first = worker()
    until(lambda: renderer.accepted() == 1, "the server accepted it", 60)
    first.kill()
    first.wait()

    second = worker()
    out, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    assert renderer.accepted() == 1
    videos = httpx2.get(f"{renderer.base_url}/videos").json()["data"]
    assert out.strip() == videos[0]["id"]


async def test_no_key_stands_in_records_errors_or_logs(
    disk: Ledger, start_renderer: StartRenderer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    renderer = start_renderer(api_key="sk-canary-right")
    from pydantic import SecretStr

    wrong = VideoClient(remote(renderer.base_url, api_key=SecretStr("sk-canary-wrong")))
    with pytest.raises(AuthenticationError) as caught:
        await go(wrong, disk)
    right = VideoClient(remote(renderer.base_url, api_key=SecretStr("sk-canary-right")))
    job = await go(right, disk)

    records = [
        await disk.store.read(f"{job.folder}/{name}") for name in await disk.store.names(job.folder)
    ]
    seen = f"{caught.value!r} {caught.value} {records} {job!r} {right.server!r} {caplog.text}"
    assert "canary" not in seen
    await wrong.close()
    await right.close()
