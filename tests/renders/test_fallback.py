"""Fallback: the next server is asked only where the one before has certainly not made it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from prefect_sora.errors import (
    ModerationError,
    ReferenceImageError,
    RejectedError,
    RenderFailedError,
    SoraError,
    UncertainSubmitError,
)
from prefect_sora.handles import VideoJob
from prefect_sora.renders.fallback import on_the_first
from prefect_sora.renders.run import PlainSteps, render
from prefect_sora.renders.submit.candidates import Way
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.renders.submit.submit import AskedVideo
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import Server
from prefect_sora.servers.video_prices import read_prices
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.server_turns import PassedOnError, pass_on
from tests.support.renderer import Renderer, StartRenderer
from tests.support.renders import clip, go
from tests.support.scripted import QUICK, Jobs, Script

Clients = Callable[[Server], Way]


@pytest.fixture
def second(start_renderer: StartRenderer) -> Renderer:
    """The server that is asked where the first will not."""
    return start_renderer()


@pytest.fixture
async def to() -> AsyncIterator[Clients]:
    """Connect to a server each time it is asked."""
    made: list[VideoClient] = []

    def connecting(server: Server) -> Way:
        async def connect() -> VideoClient:
            made.append(VideoClient(server))
            return made[-1]

        return Way(server, connect)

    yield connecting
    for client in made:
        await client.close()


@pytest.fixture
def both(server: Server, second: Renderer, to: Clients) -> list[Way]:
    """Two servers, the first of them preferred."""
    other = replace(server, base_url=second.base_url, identity="second", label="second")
    return [to(server), to(other)]


async def submitted(
    servers: list[Way], ledger: Ledger, request: VideoRequest | None = None
) -> VideoJob:
    return await on_the_first(
        servers, AskedVideo(request or clip(), ledger, RenderOptions("tonight"))
    )


async def test_the_first_is_asked_and_no_other(
    renderer: Renderer, second: Renderer, both: list[Way], disk: Ledger
) -> None:
    job = await submitted(both, disk)
    assert (job.provider, renderer.accepted(), second.requests()) == ("test", 1, [])


@pytest.mark.parametrize(
    "refusal", ["status:400", "status:401", "status:402", "status:404", "status:500"]
)
async def test_the_next_is_asked_where_the_first_has_refused(
    renderer: Renderer, second: Renderer, both: list[Way], disk: Ledger, refusal: str
) -> None:
    renderer.faults([{"on": "create", "do": refusal, "times": 9}])
    job = await submitted(both, disk)
    assert (job.provider, renderer.accepted(), second.accepted()) == ("second", 0, 1)


async def test_a_later_run_finds_it_where_it_went_and_asks_the_first_nothing(
    renderer: Renderer, second: Renderer, both: list[Way], disk: Ledger
) -> None:
    renderer.faults([{"on": "create", "do": "status:400"}])
    first = await submitted(both, disk)
    renderer.clear_faults()
    renderer.forget_requests()
    again = await submitted(both, disk)
    assert again == first
    assert (renderer.requests("create"), second.accepted()) == ([], 1)


@pytest.mark.slow
async def test_the_next_is_asked_where_the_first_cannot_be_reached(
    server: Server, second: Renderer, both: list[Way], to: Clients, disk: Ledger
) -> None:
    nobody = to(replace(server, base_url="http://127.0.0.1:9/v1", identity="nobody"))
    job = await submitted([nobody, both[1]], disk)
    assert (job.provider, second.accepted()) == ("second", 1)


async def test_what_the_first_has_accepted_without_an_answer_stays_there(
    renderer: Renderer, second: Renderer, both: list[Way], disk: Ledger
) -> None:
    renderer.faults([{"on": "create", "do": "drop_after"}])
    job = await submitted(both, disk)
    assert (job.provider, job.adopted) == ("test", True)
    assert (renderer.accepted(), second.requests()) == (1, [])


async def test_no_other_is_asked_while_nobody_can_tell(
    renderer: Renderer, server: Server, second: Renderer, both: list[Way], to: Clients,
    disk: Ledger,
) -> None:  # fmt: skip
    mute = to(replace(server, profile=QUICK.model_copy(update={"can_list": False}), local=False))
    renderer.faults([{"on": "create", "do": "drop_after"}])
    for _ in range(2):
        with pytest.raises(UncertainSubmitError):
            await submitted([mute, both[1]], disk)
    assert (renderer.accepted(), second.requests()) == (1, [])


@pytest.mark.parametrize(
    ("request_", "fault", "error"),
    [
        (clip(), "status:400:moderation_blocked", ModerationError),
        (clip(reference=b"no picture"), "stall", ReferenceImageError),
    ],
    ids=["moderation", "a picture that is none"],
)
async def test_what_is_wrong_with_the_request_is_not_tried_elsewhere(
    renderer: Renderer, second: Renderer, both: list[Way], disk: Ledger,
    request_: VideoRequest, fault: str, error: type[SoraError],
) -> None:  # fmt: skip
    renderer.faults([{"on": "create", "do": fault}])
    with pytest.raises(error):
        await submitted(both, disk, request_)
    assert second.requests() == []


async def test_the_error_of_the_last_is_told_and_it_is_asked_again_next_time(
    renderer: Renderer, second: Renderer, both: list[Way], disk: Ledger
) -> None:
    for each in (renderer, second):
        each.faults([{"on": "create", "do": "status:400"}])
    with pytest.raises(RejectedError) as refused:
        await submitted(both, disk)
    assert second.base_url in str(refused.value)
    assert (await submitted(both, disk)).provider == "second"


async def test_once_passed_on_no_other_worker_can_have_it_accepted_there(
    renderer: Renderer, client: VideoClient, disk: Ledger
) -> None:
    renderer.faults([{"on": "create", "do": "status:400"}])
    with pytest.raises(RejectedError):
        await go(client, disk)
    [folder] = await disk.folders()
    assert await pass_on(folder, disk)
    with pytest.raises(PassedOnError):
        await go(client, disk, passed_on_after=0)
    assert renderer.accepted() == 0


async def test_what_is_accepted_or_being_sent_is_not_passed_on(
    renderer: Renderer, client: VideoClient, disk: Ledger
) -> None:
    job = await go(client, disk)
    assert not await pass_on(job.folder, disk)
    assert (await go(client, disk, passed_on_after=0)).video_id == job.video_id


async def test_a_job_that_has_failed_for_nothing_is_rendered_by_the_next(
    renderer: Renderer, second: Renderer, both: list[Way], disk: Ledger
) -> None:
    renderer.faults([{"on": "create", "do": "fail"}])
    steps = PlainSteps(both, disk, RenderOptions("tonight", poll_interval_seconds=0.05))
    video = await render(clip(), steps)
    assert (video.provider, renderer.accepted(), second.accepted()) == ("second", 1, 1)


async def test_a_job_that_has_failed_and_may_have_cost_something_is_not_rendered_again(
    scripted: Script, second: Renderer, both: list[Way], disk: Ledger, to: Clients
) -> None:
    failing = Jobs(lose=0, echo={"status": "failed", "error": {"message": "no luck"}})
    server, client = scripted(failing, prices=read_prices({"*": 0.10}))
    ways = [to(client.server), both[1]]
    steps = PlainSteps(ways, disk, RenderOptions("tonight", poll_interval_seconds=0.05))
    with pytest.raises(RenderFailedError) as caught:
        await render(clip(), steps)
    assert (caught.value.paid, server.posts(), second.accepted()) == ("unknown", 1, 0)


async def test_workers_that_race_pay_one_server_once(
    renderer: Renderer, second: Renderer, both: list[Way], disk: Ledger
) -> None:
    # Some of them see the first refuse, and others could see it accept.
    renderer.faults([{"on": "create", "do": "status:400", "times": 1}])
    jobs = await asyncio.gather(*(submitted(both, disk) for _ in range(12)))
    assert len({job.video_id for job in jobs}) == 1
    assert renderer.accepted() + second.accepted() == 1
