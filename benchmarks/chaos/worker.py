"""Worker: a process that renders what it is handed, many at once, until it is killed."""

import asyncio
import logging
import resource
import sys
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.chaos.orders import SCOPE, STRANGER, Answer, Order, Place, request_of
from prefect_sora.errors import SoraError
from prefect_sora.handles import StoredVideo
from prefect_sora.limits import limited
from prefect_sora.renders.recovery.resume import resume
from prefect_sora.renders.run import PlainSteps, render
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.renders.submit.prepare import identify
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger

OPTIONS = RenderOptions(SCOPE, timeout_seconds=300.0, poll_interval_seconds=0.25)

_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024

Render = Callable[[int], Awaitable[StoredVideo]]


def work(orders: Connection, place: Place) -> None:
    """Serve orders until None comes."""
    logging.basicConfig(
        filename=place.log,
        format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    # Whoever waits half a minute for each lost answer is done tomorrow.
    with limited(read_seconds=place.patience_s):
        asyncio.run(_serve(orders, place))


async def _serve(orders: Connection, place: Place) -> None:
    render_one = _flow(place) if place.way == "flow" else _plain(place)
    running: set[asyncio.Task[None]] = set()
    ended = asyncio.Event()

    def receive() -> None:
        try:
            order: Order | None = orders.recv()
        except EOFError:
            order = None
        if order is None:
            asyncio.get_running_loop().remove_reader(orders.fileno())
            ended.set()
            return
        task = asyncio.create_task(_run(order, place, render_one, orders))
        running.add(task)
        task.add_done_callback(running.discard)

    asyncio.get_running_loop().add_reader(orders.fileno(), receive)
    await ended.wait()


async def _run(order: Order, place: Place, render_one: Render, orders: Connection) -> None:
    number = order.number
    try:
        if order.decided:
            await _decide(number, place)
        video = await render_one(number)
    except Exception as error:
        # What is none of ours is a finding, and told as one by its name.
        if not isinstance(error, SoraError):
            logging.exception("Render %d", number)
        answer = Answer(number, _peak(), error=type(error).__name__, message=str(error))
    else:
        answer = Answer(number, _peak(), video_id=video.video_id, sha256=video.sha256)
    orders.send(answer)


async def _decide(number: int, place: Place) -> None:
    """Do what a person does who can see the server: name the job, or say that there is none."""
    client, ledger = VideoClient(place.server), Ledger(VideoFolder(place.store, place.options))
    try:
        prepared = await identify(request_of(number), client, SCOPE)
        state = await ledger.state(prepared.folder)
        if state.name != "reserved":
            return
        truth = (await client.http.get(place.truth)).raise_for_status().json()["jobs"]
        free = [
            job
            for job in truth
            if job["fields"]["prompt"] == prepared.request.prompt
            and await ledger.holder(client.server.identity, job["id"]) in (None, prepared.key)
        ]
        # A twin's job will do where the twin has taken ours.
        free.sort(key=lambda job: not job["idempotency_key"].startswith(prepared.fingerprint))
        await resume(
            state,
            client,
            ledger,
            OPTIONS,
            adopt_video_id=free[0]["id"] if free else None,
            resubmit=not free,
        )
    finally:
        await client.close()


def _plain(place: Place) -> Render:
    client, ledger = VideoClient(place.server), Ledger(VideoFolder(place.store, place.options))
    steps = PlainSteps.on(client, ledger, OPTIONS)

    async def render_one(number: int) -> StoredVideo:
        return await render(request_of(number), steps)

    return render_one


def _flow(place: Place) -> Render:
    from prefect_sora import OpenAICredentials, VideoStore, text_to_video

    strange = place.profile == STRANGER.name
    profile: Any = STRANGER.model_dump(mode="json") if strange else "auto"
    provider = OpenAICredentials(base_url=place.base_url, profile=profile)

    async def render_one(number: int) -> StoredVideo:
        request = request_of(number)
        video: StoredVideo = await text_to_video(
            request.prompt,
            provider,
            VideoStore(url=place.store, storage_options=place.options),
            model=None,
            size=request.size,
            seconds=request.seconds,
            take=request.take,
            scope=SCOPE,
            timeout_seconds=OPTIONS.timeout_seconds,
            poll_interval_seconds=OPTIONS.poll_interval_seconds,
        )
        return video

    return render_one


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT
