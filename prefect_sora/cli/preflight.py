"""Before anything is sent: is the request sound, and does an unfinished twin of it wait?"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import time

from pydantic import ValidationError

from prefect_sora import catalogue
from prefect_sora.cli.providers import Provider
from prefect_sora.errors import StorageError, UnfinishedRenderError
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.handles import StoredVideo
from prefect_sora.identity import request_digest, title_slug
from prefect_sora.ledger import Ledger
from prefect_sora.records import RenderState, Reserved
from prefect_sora.requests import DERIVED, VideoRequest
from prefect_sora.server import Server
from prefect_sora.storage import VideoFolder


@dataclass(frozen=True)
class Order:
    """A request, where its video goes, what it starts from, and who else may render it.

    Attributes:
        keyframe: What an image model draws first, as the first frame.
        image_model: That model.
    """

    request: VideoRequest
    store: str
    scope: str | None = None
    anew: bool = False
    source: StoredVideo | None = None
    others: tuple[Provider, ...] = ()
    keyframe: str | None = None
    image_model: str | None = None


async def check(order: Order, provider: Provider, warn: Callable[[str], None]) -> str | None:
    """Look at the request, its picture and the store.

    Returns:
        The picture's hash, where there is one.

    Raises:
        InvalidRequestError: It cannot be rendered as it stands.
        UnfinishedRenderError: The store holds an unfinished render of the same request.
    """
    request = order.request
    # What one server of several has ended, another may render.
    unknown = provider.is_local or provider.needs_prefect or order.others
    known = None if unknown else provider.server()
    for warning in catalogue.check(request, known.service if known else None):
        warn(warning)
    hashed = None
    if request.reference is not None:
        from prefect_sora.references import prepare

        prepared = await prepare(request.reference, request.pixels, request.fit)
        hashed = prepared.source_sha256
    if not provider.needs_prefect:
        await refuse_a_twin(order, provider, hashed)
    return hashed


async def refuse_a_twin(order: Order, provider: Provider, reference_sha256: str | None) -> None:
    """Stop where another run's render of the same request is unfinished.

    The server is asked for only where there is something to compare: the local
    renderer may still be starting.

    Raises:
        UnfinishedRenderError: It says how to bring that one home, and how to pay anew.
    """
    if order.anew:
        return

    def is_twin(reserved: Reserved, server: Server) -> bool:
        return _is_twin(reserved, order.request, server, reference_sha256)

    await refuse_twins(order.store, order.scope, order.request.prompt, provider, is_twin)


async def refuse_twins(
    store: str,
    scope: str | None,
    prompt: str,
    provider: Provider,
    is_twin: Callable[[Reserved, Server], bool],
) -> None:
    """Stop where another run's render of the same prompt is unfinished and the same; as above."""
    ledger = Ledger(VideoFolder(store))
    try:
        begun = await ledger.unfinished(title_slug(prompt))
    except StorageError as error:
        if scope is not None:  # an earlier run may have paid
            error.about(paid="unknown")
        raise
    unfinished = [
        (state, state.reserved)
        for state in begun
        if state.reserved and state.reserved.scope != scope
    ]
    if not unfinished:
        return
    server = await asyncio.to_thread(provider.server)
    for state, reserved in unfinished:
        if is_twin(reserved, server):
            raise _unfinished(state, reserved, store)


def _is_twin(
    reserved: Reserved, request: VideoRequest, server: Server, reference_sha256: str | None
) -> bool:
    if request.kind not in DERIVED:
        return reserved.request_digest == request_digest(request, server, reference_sha256)
    # It takes its model from its source, which nobody has looked at yet.
    try:
        recorded = VideoRequest.model_validate({**reserved.request, "model": None})
    except ValidationError:  # of a later version, with fields that we do not know
        return False
    return reserved.server == server.identity and recorded == request


def _unfinished(state: RenderState, reserved: Reserved, store: str) -> UnfinishedRenderError:
    accepted = state.accepted
    minutes = max(0.0, time() - reserved.at) / 60
    ago = f"{minutes:.0f} minutes ago" if minutes >= 2 else f"{minutes * 60:.0f} s ago"
    return UnfinishedRenderError(
        f"The store {store} holds an unfinished render of the same request, begun {ago}.",
        key=state.key,
        video_id=accepted.job.video_id if accepted else None,
        paid="yes" if accepted else "unknown",
        next_step=(
            NextStep("resume", store=store),
            "Or render, and pay for, another one: the same command with --anew.",
        ),
    )
