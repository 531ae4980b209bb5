"""Wait: the requests that many waiting renders cost, and what the records add to a render."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import httpx2

from benchmarks.processes import FailedError, local_renderer
from benchmarks.table import Pairs, Row
from prefect_sora.errors import RenderTimeoutError
from prefect_sora.handles import RenderedVideo
from prefect_sora.media import previews
from prefect_sora.renders.finish.fetch import fetch
from prefect_sora.renders.finish.watcher import Watcher
from prefect_sora.renders.run import PlainSteps, render
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.local import RendererAddress, RendererOptions
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import Server, local_server
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger

WAITING = 300
RENDERS = 100

# Three pages of a hundred a round, in place of three hundred requests, is 0.01.
REQUESTS_TARGET = 0.02

SIZES = {
    # As small as a clip of some server may be, and a worst case: 30 ms a render, all told.
    "64x64": (1, 1.15),
    # A sixteenth of the picture that the smallest Sora model makes.
    "320x180": (4, 1.05),
}
"""Seconds, and by how much records may lengthen a batch of it."""

_PACE_SECONDS = 2.0
_WAIT_SECONDS = 11.0
_SUFFIXES = {"thumbnail": ".webp", "spritesheet": ".jpg"}


def measure(rounds: int) -> Iterable[Row]:
    """Count requests once, for they do not vary, and time renders in turn."""
    with TemporaryDirectory() as folder:
        yield asyncio.run(_requests(Path(folder)))
    for size in SIZES:
        with TemporaryDirectory() as folder:
            yield asyncio.run(_records(Path(folder), size, rounds))


async def _requests(folder: Path) -> Row:
    options = RendererOptions(
        control=True, min_render_seconds=3600, poll_after_ms=int(_PACE_SECONDS * 1000)
    )
    with local_renderer(folder, options) as address:
        server = local_server(address)
        client = VideoClient(server)
        jobs = [
            (await client.submit(_clip(index, "64x64"), None, f"waiting-{index}")).id
            for index in range(WAITING)
        ]
        await client.close()
        ours = await _requests_of(server, jobs)
        singly = replace(server, profile=server.profile.model_copy(update={"can_list": False}))
        theirs = await _requests_of(singly, jobs)
    return Row(
        "wait",
        f"watching {WAITING} renders for {_WAIT_SECONDS:g} s by the server's list",
        "by one poll per render and round",
        "requests",
        Pairs((ours,), (theirs,)),
        REQUESTS_TARGET,
    )


async def _requests_of(server: Server, jobs: list[str]) -> float:
    log = f"{server.base_url.removesuffix('/v1')}/requests"
    client = VideoClient(server)
    watcher = Watcher(client)
    async with httpx2.AsyncClient() as http:
        await http.delete(log)
        waits = (
            watcher.wait(job, timeout_seconds=_WAIT_SECONDS, poll_interval_seconds=_PACE_SECONDS)
            for job in jobs
        )
        ends = await asyncio.gather(*waits, return_exceptions=True)
        entries = (await http.get(log)).json()["requests"]
    await asyncio.sleep(1)  # for the answer to the last request, which nobody waits for
    await client.close()
    if not all(isinstance(end, RenderTimeoutError) for end in ends):
        raise FailedError("A wait ended before its time.")
    return float(len(entries))


async def _records(folder: Path, size: str, rounds: int) -> Row:
    ours, theirs = [], []
    seconds, target = SIZES[size]
    with local_renderer(folder / "renderer", RendererOptions()) as address:
        await _with_records(address, folder / "loads what there is to load", size, 2)
        await _without_records(address, folder / "and connects", size, 2)
        for index in range(rounds):
            ours.append(await _with_records(address, folder / f"ours-{index}", size, RENDERS))
            theirs.append(
                await _without_records(address, folder / f"theirs-{index}", size, RENDERS)
            )
    return Row(
        "wait",
        f"{RENDERS} renders of {size} and {seconds} s at once, kept with their records",
        "the same requests, files and pictures without records",
        "s",
        Pairs(tuple(ours), tuple(theirs)),
        target,
    )


async def _with_records(address: RendererAddress, store: Path, size: str, count: int) -> float:
    client, ledger = VideoClient(local_server(address)), Ledger(VideoFolder(str(store)))
    steps = PlainSteps.on(client, ledger, RenderOptions("benchmark"))
    began = perf_counter()
    await asyncio.gather(*(render(_clip(i, size), steps) for i in range(count)))
    took = perf_counter() - began
    await client.close()
    return took


async def _without_records(address: RendererAddress, store: Path, size: str, count: int) -> float:
    client, folder = VideoClient(local_server(address)), VideoFolder(str(store))
    watcher = Watcher(client)
    began = perf_counter()
    await asyncio.gather(*(_by_hand(client, watcher, folder, _clip(i, size)) for i in range(count)))
    took = perf_counter() - began
    await client.close()
    return took


async def _by_hand(
    client: VideoClient, watcher: Watcher, folder: VideoFolder, request: VideoRequest
) -> None:
    """What `render` does, with nothing written down on the way."""
    video_id = (await client.submit(request, None, f"{folder.root}-{request.prompt}")).id
    await watcher.wait(video_id)
    video = RenderedVideo(
        key=video_id, folder=video_id, video_id=video_id, provider="", title="", submitted_at=0
    )
    await fetch(video, client, folder, f"{video_id}/video.mp4")
    for variant in sorted(client.server.profile.variants):
        async with client.content(video_id, variant) as content:
            picture = b"".join([chunk async for chunk in content.chunks])
        await folder.put(f"{video_id}/{variant}{_SUFFIXES[variant]}", picture)
    preview = await asyncio.to_thread(_preview, folder, f"{video_id}/video.mp4")
    await folder.put(f"{video_id}/preview.webp", preview)


def _preview(folder: VideoFolder, name: str) -> bytes:
    with folder.open(name) as file:
        return previews.preview(file)


def _clip(index: int, size: str) -> VideoRequest:
    seconds, _ = SIZES[size]
    return VideoRequest.of(
        prompt=f"fox {index} in the snow", model=None, size=size, seconds=seconds
    )
