"""Worker: a process that renders what it is handed, many at once, until it is killed."""

import asyncio
import logging
import resource
import sys
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection

from benchmarks.chaos.orders import SCOPE, Answer, Place, request_of
from prefect_sora import transport
from prefect_sora.client import VideoClient
from prefect_sora.errors import SoraError
from prefect_sora.handles import StoredVideo
from prefect_sora.ledger import Ledger
from prefect_sora.rendering import render
from prefect_sora.storage import VideoFolder

TIMEOUT_SECONDS = 300.0
POLL_SECONDS = 0.25

_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024

Render = Callable[[int], Awaitable[StoredVideo]]


def work(orders: Connection, place: Place) -> None:
    """Serve orders until None comes."""
    logging.basicConfig(
        filename=place.log,
        format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    # Final for all but this: whoever waits half a minute for each lost answer is done tomorrow.
    assert transport.READ_TIMEOUT_SECONDS  # noqa: S101 - a name that is gone would be set in vain
    setattr(transport, "READ_TIMEOUT_SECONDS", place.patience_s)  # noqa: B010
    asyncio.run(_serve(orders, place))


async def _serve(orders: Connection, place: Place) -> None:
    render_one = _flow(place) if place.way == "flow" else _plain(place)
    running: set[asyncio.Task[None]] = set()
    ended = asyncio.Event()

    def receive() -> None:
        try:
            number: int | None = orders.recv()
        except EOFError:
            number = None
        if number is None:
            asyncio.get_running_loop().remove_reader(orders.fileno())
            ended.set()
            return
        task = asyncio.create_task(_run(number, render_one, orders))
        running.add(task)
        task.add_done_callback(running.discard)

    asyncio.get_running_loop().add_reader(orders.fileno(), receive)
    await ended.wait()


async def _run(number: int, render_one: Render, orders: Connection) -> None:
    try:
        video = await render_one(number)
    except Exception as error:
        # What is none of ours is a finding, and told as one by its name.
        if not isinstance(error, SoraError):
            logging.exception("Render %d", number)
        answer = Answer(number, _peak(), error=type(error).__name__, message=str(error))
    else:
        answer = Answer(number, _peak(), video_id=video.video_id, sha256=video.sha256)
    orders.send(answer)


def _plain(place: Place) -> Render:
    client, ledger = VideoClient(place.server), Ledger(VideoFolder(place.store, place.options))

    async def render_one(number: int) -> StoredVideo:
        return await render(
            request_of(number),
            client,
            ledger,
            SCOPE,
            timeout_seconds=TIMEOUT_SECONDS,
            poll_interval_seconds=POLL_SECONDS,
        )

    return render_one


def _flow(place: Place) -> Render:
    from prefect_sora import OpenAICredentials, VideoStore, text_to_video

    async def render_one(number: int) -> StoredVideo:
        request = request_of(number)
        video: StoredVideo = await text_to_video(
            request.prompt,
            OpenAICredentials(base_url=place.base_url),
            VideoStore(url=place.store, storage_options=place.options),
            model=None,
            size=request.size,
            seconds=request.seconds,
            take=request.take,
            scope=SCOPE,
            timeout_seconds=TIMEOUT_SECONDS,
            poll_interval_seconds=POLL_SECONDS,
        )
        return video

    return render_one


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT
