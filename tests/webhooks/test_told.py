"""Told: servers call a receiver that listens, and whoever waits elsewhere goes on."""

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any

import pytest

from prefect_sora.errors import UncertainSubmitError
from prefect_sora.renders.finish.options import WaitOptions
from prefect_sora.renders.finish.wait import wait
from prefect_sora.renders.recovery.webhooks.receiver import WebhookReceiver
from prefect_sora.renders.submit.prepare import identify
from prefect_sora.servers.access.webhooks import mark
from prefect_sora.servers.profiles import OPENROUTER
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.connections import connect
from prefect_sora.servers.server import Server, remote
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.open_markers import Closings
from tests.support.limits import Limit
from tests.support.renderer import Renderer, StartRenderer
from tests.support.renders import SOON, clip, go, left_in_doubt
from tests.support.webhooks import PLAIN, SECRET, listening, openrouter, post, standard, webhooks
from tests.webhooks.test_receiver import eventually, home, recorded

UNHURRIED = WaitOptions(poll_interval_seconds=600)


def routed(renderer: Renderer, url: str | None = None) -> Server:
    """The renderer as OpenRouter, which calls `url`."""
    profile = OPENROUTER.model_copy(update={"submit_grace_s": 0.3, "longest_create_s": 0.3})
    server = remote(renderer.base_url, profile=profile, prices=(("*", "*", 0.05),))
    return replace(server, webhooks=webhooks(PLAIN, url=url))


@pytest.fixture
def router(start_renderer: StartRenderer) -> Renderer:
    """OpenRouter, which signs its webhooks."""
    return start_renderer(dialect="openrouter", webhook_secret=PLAIN)


async def test_who_waits_elsewhere_goes_on_when_the_receiver_has_brought_it_home(
    start_renderer: StartRenderer, disk: Ledger, limit: Limit
) -> None:
    limit(closed_look_disk_seconds=0.05)
    here = Server(base_url="", identity="test", label="test", profile=SOON, local=True)
    receiving: list[Server] = []

    async def server() -> Server:
        return receiving[0]

    async with listening(taking := WebhookReceiver([disk.store], [server])) as url:
        renderer = start_renderer(
            webhook=url, webhook_secret=SECRET, poll_after_ms=0, min_render_seconds=1.0
        )
        here = replace(here, base_url=renderer.base_url, webhooks=webhooks(url=url))
        receiving.append(replace(here, webhooks=webhooks()))
        job = await go(connect(here), disk)
        begun = monotonic()

        rendered = await wait(job, connect(here), disk, UNHURRIED)
        assert monotonic() - begun < 30
        assert rendered.video_id == job.video_id
        await home(disk, job.folder)
        await taking.close()
    # The first question of who waits, the receiver's, and the one after it is home.
    assert len(renderer.requests("retrieve")) == 3


async def test_a_create_whose_answer_is_lost_is_named_by_the_call_to_its_address(
    router: Renderer, disk: Ledger
) -> None:
    receiver = WebhookReceiver([disk.store], [routed(router)])
    async with listening(receiver) as url:
        router.faults([{"on": "create", "do": "drop_after"}])
        with pytest.raises(UncertainSubmitError) as told:
            await go(connect(routed(router, url)), disk, clip(model="local/kite"))
        (folder,) = [one for one in await disk.folders() if one.endswith(str(told.value.key))]
        await home(disk, folder)
        assert router.accepted() == 1
        await go(connect(routed(router)), disk, clip(model="local/kite"))
        assert router.accepted() == 1
        await receiver.close()


async def test_a_call_without_the_right_token_gives_a_render_no_job(
    router: Renderer, disk: Ledger, limit: Limit
) -> None:
    limit(webhook_looks_seconds=[])
    server = routed(router)
    client = connect(server)
    request = clip(model="local/kite")
    folder = await left_in_doubt(client, disk, request)
    reserved = await disk.reservation(folder, 1)
    assert reserved is not None
    made = await client.submit(request, None, "somebody's")
    receiver = WebhookReceiver([disk.store], [server])
    key, token = folder[-12:], reserved.owner.token
    for wrong in (
        mark(key, 1, token[:-1] + ("0" if token[-1] != "0" else "1")),
        mark(key, 2, token),
        mark("0123456789ab", 1, token),
        "../../etc/passwd",
        "",
    ):
        sent = openrouter(made.id)
        assert await post(receiver, sent, f"?render={wrong}") == 204
    assert await disk.claims_of(server.identity, key) == []
    assert await recorded(disk) == []
    assert await post(receiver, openrouter(made.id), f"?render={mark(key, 1, token)}") == 204
    await home(disk, folder)
    assert router.accepted() == 1
    await receiver.close()


async def test_a_server_without_a_secret_of_its_own_calls_nobody(
    start_renderer: StartRenderer, disk: Ledger, limit: Limit
) -> None:
    renderer = start_renderer(dialect="openrouter")
    receiver = WebhookReceiver([disk.store], [routed(renderer)])
    async with listening(receiver) as url:
        job = await go(connect(routed(renderer, url)), disk, clip(model="local/kite"))
        await wait(job, connect(routed(renderer)), disk, WaitOptions(poll_interval_seconds=0.05))
        assert await recorded(disk) == []


async def test_an_address_changes_no_render(router: Renderer, disk: Ledger) -> None:
    with_url, without = (routed(router, url) for url in ("http://127.0.0.1:9/webhooks", None))
    request = clip(model="local/kite")
    keys = {(await identify(request, connect(each), "x")).key for each in (with_url, without)}
    assert len(keys) == 1


async def test_one_look_at_the_markers_serves_all_who_wait(limit: Limit) -> None:
    limit(closed_look_seconds=0.05)
    looks: list[str] = []

    class Counted(VideoFolder):
        async def _do(self, name: str, *args: Any, **how: Any) -> Any:
            looks.append(name)
            return await super()._do(name, *args, **how)

    closings = Closings(Counted("memory://one-look"))
    told: list[int] = []
    all_told = asyncio.Event()

    def tell(number: int) -> None:
        told.append(number)
        if len(told) == 300:
            all_told.set()

    with ExitStack() as waiting:
        for number in range(300):
            waiting.enter_context(closings.told(f"kite-{number:012x}", partial(tell, number)))
        async with asyncio.timeout(10):
            await all_told.wait()
    assert sorted(told) == [*range(300)]
    assert looks == [".open"]


async def test_events_of_both_schemes_come_to_one_receiver(
    router: Renderer, renderer: Renderer, client: VideoClient, disk: Ledger, server: Server
) -> None:
    local = replace(server, webhooks=webhooks())
    receiver = WebhookReceiver([disk.store], [local, routed(router)])
    one = await go(client, disk)
    other = await go(connect(routed(router)), disk, clip(model="local/kite"))
    renderer.finished(one.video_id)

    async def ended() -> bool:
        return (await connect(routed(router)).retrieve(other.video_id)).status == "completed"

    await eventually(ended, "it is finished")
    assert await post(receiver, standard(one.video_id)) == 204
    assert await post(receiver, openrouter(other.video_id)) == 204
    await home(disk, one.folder)
    await home(disk, other.folder)
    await receiver.close()
