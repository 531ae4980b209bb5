"""Preflight: what stops a request before a server is asked: its price, or an unfinished twin."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from time import time
from typing import TYPE_CHECKING

from pydantic import ValidationError

from prefect_sora.cli.commands.pricing import server_of
from prefect_sora.cli.options import Sharing
from prefect_sora.cli.saved import NamedStore
from prefect_sora.cli.screen import usd
from prefect_sora.errors import (
    BudgetExceededError,
    InvalidRequestError,
    SoraError,
    StorageError,
    UnfinishedRenderError,
)
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.renders.environment import NamedProvider
from prefect_sora.renders.environment.providers import Local
from prefect_sora.requests.video import DERIVED, VideoRequest
from prefect_sora.servers import video_models
from prefect_sora.servers.profiles import AUTO
from prefect_sora.servers.server import Server
from prefect_sora.store.identity import request_digest, title_slug

if TYPE_CHECKING:
    from prefect_sora.store.records import RenderState, Reserved


def has_its_price(request: VideoRequest, provider: NamedProvider) -> bool:
    """Whether a price will not change with what the server is found to be."""
    server = provider.server()
    own_model = server.profile == AUTO and server.service is None
    return not (own_model and video_models.find(request.model))


def refuse_over(
    price: float | None, max_cost: float | None, shared: Sharing, a: str = "second"
) -> None:
    """Stop, before a server is asked, where a budget of its own cannot pay for a request.

    What a named scope has begun or kept costs nothing again, so that there the records decide.

    Args:
        price: What it costs in USD; None where nobody knows.
        max_cost: What it may cost.
        shared: With whom it is shared.
        a: What its model is paid by.

    Raises:
        BudgetExceededError: It costs more.
        InvalidRequestError: Nobody knows what it costs.
    """
    if max_cost is None or shared.scope is not None:
        return
    if price is None:
        what = "picture" if a == "picture" else "render"
        raise InvalidRequestError(
            f"The price of this {what} is not known, so --max-cost cannot hold.",
            next_step="Leave --max-cost out, or give the model's price in PREFECT_SORA_PRICES, as "
            f"USD a {a}: PREFECT_SORA_PRICES='{{\"my-model\": 0.04}}'.",
        )
    if price <= max_cost + 1e-6:
        return
    raise BudgetExceededError(
        f"It would cost {usd(price)}, and --max-cost allows {usd(max_cost)}.",
        budget_usd=max_cost,
        spent_usd=0.0,
        asked_usd=price,
        next_step="Raise it, or ask for less.",
    )


async def is_kept(
    request: VideoRequest, provider: NamedProvider, store: NamedStore, scope: str | None
) -> bool:
    """Whether a scope has kept a request before; a server is neither started nor asked.

    What starts from another video, and a saved provider, are not looked up: False.
    """
    if scope is None or request.kind in DERIVED or provider.is_saved:
        return False
    if isinstance(provider, Local):
        server = replace(server_of(provider), identity=provider.identity or "")
    else:
        server = provider.server()
    from prefect_sora.renders.submit.earlier import earlier
    from prefect_sora.store.ledger import Ledger

    with suppress(SoraError):  # which is told when it is rendered
        state = await earlier(request, server, scope, Ledger(store.folder))
        return state is not None and state.is_kept
    return False


def doubtful_model(request: VideoRequest, price: float | None) -> str | None:
    """Say that a model is unknown, and which is most likely meant; None where none is like it."""
    name = request.model
    if price is not None or not name or request.kind in DERIVED or video_models.find(name):
        return None
    near = get_close_matches(name, [*video_models.MODELS], n=1, cutoff=0.75)
    if not near:
        return None
    return f"{name} is no known model. Did you mean {near[0]}? Its price is not known."


async def refuse_twins(
    store: NamedStore,
    scope: str | None,
    prompt: str,
    provider: NamedProvider,
    is_twin: "Callable[[Reserved, Server], bool]",
) -> None:
    """Stop where another run has an unfinished render of the same request.

    The server is needed only where there is something to compare: the local renderer may
    still be starting.

    Raises:
        UnfinishedRenderError: It says how to bring that one home, and how to pay anew.
    """
    from prefect_sora.store.ledger import Ledger

    ledger = Ledger(store.folder)
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
            raise _unfinished(state, reserved, store.name)


def is_twin(
    reserved: "Reserved", request: VideoRequest, server: Server, reference_sha256: str | None
) -> bool:
    """Whether a reservation, on a server, is of the same request."""
    if request.kind not in DERIVED:
        return reserved.request_digest == request_digest(request, server, reference_sha256)
    # Such a request takes its model from its source, which nobody has looked at yet.
    try:
        recorded = VideoRequest.model_validate({**reserved.request, "model": None})
    except ValidationError:  # of a later version, with fields that we do not know
        return False
    return reserved.server == server.identity and recorded == request


def _unfinished(state: "RenderState", reserved: "Reserved", store: str) -> UnfinishedRenderError:
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
            "To render, and pay for, another one: add --anew.",
        ),
    )
