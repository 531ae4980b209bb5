"""Helpers: a small clip, submitted or rendered, and what a worker that died leaves behind."""

from typing import Any, Final

from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.renders.finish.options import WaitOptions
from prefect_sora.renders.run import PlainSteps
from prefect_sora.renders.run import render as run
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.renders.submit.prepare import identify
from prefect_sora.renders.submit.submit import submit
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.profiles import LOCAL
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.identity import Owner, new_owner
from prefect_sora.store.ledger import Ledger

POLLING: Final = WaitOptions(poll_interval_seconds=0.05)

SOON: Final = LOCAL.model_copy(update={"submit_grace_s": 0.3, "longest_create_s": 0.6})
"""The local renderer, where no create is under way for long: a doubt is soon over."""


def clip(**fields: Any) -> VideoRequest:
    """Ask for one second of 64x64 pixels."""
    return VideoRequest(
        **{"prompt": "a kite", "model": None, "size": "64x64", "seconds": 1, **fields}
    )


async def go(
    client: VideoClient,
    ledger: Ledger,
    request: VideoRequest | None = None,
    scope: str = "tonight",
    **options: Any,
) -> VideoJob:
    """Submit a request, as every run of it does."""
    prepared = await identify(request or clip(), client, scope)
    passed_on_after = options.pop("passed_on_after", None)
    return await submit(
        prepared, client, ledger, RenderOptions(scope, **options), passed_on_after=passed_on_after
    )


async def render(
    request: VideoRequest, client: VideoClient, ledger: Ledger, scope: str, **options: Any
) -> StoredVideo:
    """Render a request, as every run of it does; its options are those of `RenderOptions`."""
    return await run(request, PlainSteps.on(client, ledger, RenderOptions(scope, **options)))


async def left_in_doubt(
    client: VideoClient, ledger: Ledger, request: VideoRequest | None = None, **changes: Any
) -> str:
    """Leave a reservation as a worker that died between its record and the answer does."""
    prepared = await identify(request or clip(), client, "tonight")
    record = prepared.reservation(client.server, 1, None).model_copy(update=changes)
    assert await ledger.reserve(prepared.folder, record)
    ledger.release(record)
    return prepared.folder


def a_dead_process() -> Owner:
    """Name a process of this machine that does not run."""
    return new_owner().model_copy(update={"pid": 2**22 + 1})
