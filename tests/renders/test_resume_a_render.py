"""Resuming: that a server has forgotten a paid job is no licence to pay again until it is shown."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from prefect_sora.errors import InvalidRequestError, VideoNotFoundError
from prefect_sora.renders.finish.wait import wait
from prefect_sora.renders.recovery.resume import take_up
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import remote
from prefect_sora.store.ledger import Ledger
from tests.support.renders import POLLING, go
from tests.support.scripted import QUICK, Jobs, Reply, Script


async def test_one_replica_that_does_not_know_a_job_is_no_licence_to_pay_again(
    scripted: Script, disk: Ledger
) -> None:
    jobs, unknown = Jobs(lose=0), 5

    def answer(method: str, path: str, body: bytes) -> Reply:
        nonlocal unknown
        if method == "GET" and "?" not in path and unknown:
            unknown -= 1
            return 404, {}, {"error": {"message": "no such job"}}
        return jobs(method, path, body)

    server, client = scripted(answer)
    job = await go(client, disk)
    again = await take_up(await disk.state(job.folder), client, disk, resubmit=True)
    assert (again.video_id, again.attempt, server.posts()) == (job.video_id, 1, 1)


async def test_what_all_answers_have_forgotten_is_paid_again_where_that_is_asked_for(
    scripted: Script, disk: Ledger
) -> None:
    jobs = Jobs(lose=0)
    server, client = scripted(jobs)
    job = await go(client, disk)
    jobs.jobs.clear()
    again = await take_up(await disk.state(job.folder), client, disk, resubmit=True)
    assert (again.attempt, server.posts()) == (2, 2)


@pytest.fixture
async def strangers(scripted: Script) -> AsyncIterator[tuple[VideoClient, VideoClient, Jobs]]:
    """Two accounts on one address, and what the first of them has there."""
    jobs = Jobs(lose=0)
    server, alice = scripted(jobs, api_key=SecretStr("alices-key"))
    bob = VideoClient(remote(server.base_url, profile=QUICK, api_key=SecretStr("bobs-key")))
    yield alice, bob, jobs
    await bob.close()


async def test_another_account_that_is_not_shown_a_job_proves_nothing_and_pays_nothing(
    strangers: tuple[VideoClient, VideoClient, Jobs], disk: Ledger
) -> None:
    alice, bob, jobs = strangers
    job = await go(alice, disk)
    jobs.jobs.clear()  # as Bob is shown them

    with pytest.raises(InvalidRequestError, match="by another account") as caught:
        await take_up(await disk.state(job.folder), bob, disk, resubmit=True)
    assert caught.value.key == job.key
    assert (await disk.state(job.folder)).name == "accepted"
    assert jobs.jobs == []

    with pytest.raises(VideoNotFoundError, match="by another account") as unknown:
        await wait(job, bob, disk, POLLING)
    assert "--resubmit" not in str(unknown.value)
    assert "key that it was submitted with" in str(unknown.value)
