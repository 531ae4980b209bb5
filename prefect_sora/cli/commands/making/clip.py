"""One clip: it is checked before anything is sent, announced, rendered and reported."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import time
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

from prefect_sora.cli import exits
from prefect_sora.cli.commands import pricing
from prefect_sora.cli.commands.making.preflight import (
    doubtful_model,
    has_its_price,
    is_kept,
    is_twin,
    refuse_over,
    refuse_twins,
)
from prefect_sora.cli.options import SHARING, WAITING, Sharing, Waiting
from prefect_sora.cli.run import Making, make
from prefect_sora.cli.saved import NamedStore
from prefect_sora.cli.screen import Screen, place, usd
from prefect_sora.errors import (
    InvalidRequestError,
    SoraError,
    VideoNotFoundError,
)
from prefect_sora.handles import StoredVideo
from prefect_sora.renders.environment import NamedProvider
from prefect_sora.requests.video import DERIVED, VideoRequest, existing
from prefect_sora.servers import estimates, request_checks, video_models
from prefect_sora.servers.profiles import AUTO
from prefect_sora.servers.server import Server

if TYPE_CHECKING:
    from prefect_sora.cli.progress import Display
    from prefect_sora.store.records import Reserved

_NOUNS: Final = {"remix": "a remix", "edit": "an edit", "extend": "an extension"}

_CHAINS: Final = {
    "remix": ("remix_chain", "remixes"),
    "edit": ("edit_chain", "edits"),
    "extend": ("extend_chain", "extensions"),
}
"""Each flow that starts from a finished video, and its parameter that says what to do."""


@dataclass(frozen=True)
class Order:
    """A request, who renders it, where its video goes, and what it starts from.

    Attributes:
        providers: Who renders: the first, and those that are asked next.
        source: The clip that the video starts from, where the store has it.
        keyframe: What an image model draws first, as the first frame.
        image_model: The model that draws the keyframe.
        file: A file that the clip is written to besides.
        prefect: Whether it is a run of Prefect; None: where a Prefect API is configured.
    """

    request: VideoRequest
    providers: tuple[NamedProvider, ...]
    store: NamedStore
    shared: Sharing = SHARING
    waiting: Waiting = WAITING
    max_cost: float | None = None
    source: StoredVideo | None = None
    keyframe: str | None = None
    image_model: str | None = None
    prefect: bool | None = None
    file: Path | None = None


def carry_out(order: Order, screen: Screen) -> int:
    """Render an order, and report the result."""
    began, shared = time(), order.shared
    had = asyncio.run(is_kept(order.request, order.providers[0], order.store, shared.scope))

    async def look(provider: NamedProvider | None) -> None:
        await check(order, provider, screen.warn)
        if provider is not None:  # a saved one's prices are known when its block is loaded
            price = await asyncio.to_thread(_announce, screen, order, had=had)
            if had:
                return
            if doubt := doubtful_model(order.request, price):
                screen.warn(doubt)
            # What starts from another video is priced when that is looked up, before sending.
            told = price is not None or order.request.kind not in DERIVED
            if told and len(order.providers) == 1 and has_its_price(order.request, provider):
                refuse_over(price, order.max_cost, order.shared)
            pricing.agree(price, order.shared.ask_above, order.max_cost)

    async def flow(flows: ModuleType, provider: Any, store: Any) -> StoredVideo:
        return await _flow(flows, order, provider, store)

    async def plainly(display: "Display") -> StoredVideo:
        return await _plainly(order, display)

    making = Making(
        order.providers,
        order.store,
        flow,
        plainly,
        check=look,
        # A remix also keeps its source, under another name: so all renders are looked at.
        prompt=None if order.request.kind in DERIVED else order.request.prompt,
        phase="looking" if had else "submitting",
    )
    try:
        video = make(screen, making, order.prefect)
    except VideoNotFoundError as error:
        if order.source:
            error.advise(
                f"The server no longer has this video; your store has, at {place(order.source.url)}"
                f". {_NOUNS[order.request.kind].capitalize()} needs the server's copy: render "
                "again, or start from a picture of it with --image."
            )
        raise
    screen.document(video.model_dump())
    already = video.created_at < began
    if already and shared.anew:
        screen.warn(
            "--anew passes over unfinished renders only, and this one is kept. To render, and pay "
            f"for, another one: --take {order.request.take + 1}."
        )
    screen.kept(video, already=already)
    from prefect_sora.cli.commands.making.files import copy_out  # which no refusal waits for

    copy_out(f"{video.folder}/video.mp4", order.store.folder, order.file, screen)
    return exits.OK


async def check(order: Order, provider: NamedProvider | None, warn: Callable[[str], None]) -> None:
    """Check the request and its picture; where it is known who renders, the store, too.

    Raises:
        InvalidRequestError: It cannot be rendered as it stands.
        UnfinishedRenderError: The store holds an unfinished render of the same request.
    """
    request, server = order.request, None
    if provider and provider.is_local:
        request_checks.check(request, pricing.server_of(provider))
    # What one server of several no longer offers, another may render.
    if provider and not provider.is_local and len(order.providers) == 1:
        server = await asyncio.to_thread(provider.server)
    for warning in await _by_the_catalogue(request, server):
        warn(warning)
    sha256 = None
    if request.reference is not None:
        from prefect_sora.requests.reference import prepare

        prepared = await prepare(request.reference, request.pixels, request.fit)
        sha256 = prepared.source_sha256
    if provider is None or order.shared.anew:
        return

    def twin(reserved: "Reserved", server: Server) -> bool:
        return is_twin(reserved, request, server, sha256)

    await refuse_twins(order.store, order.shared.scope, request.prompt, provider, twin)


async def _by_the_catalogue(request: VideoRequest, server: Server | None) -> list[str]:
    """Check the request against the catalogue, as far as it holds where it is rendered.

    A server that is not known yet is asked what it is only where the catalogue would refuse.
    """
    if server is None:
        return video_models.check(request, profile=AUTO)
    if server.profile != AUTO:
        return video_models.check(request, server.ends_models, profile=server.profile)
    try:
        return video_models.check(request, server.ends_models)
    except InvalidRequestError:
        from prefect_sora.servers.protocol.detect import recognised  # it brings an HTTP library

        with suppress(SoraError):  # nobody is there: what the catalogue says stands
            known = await recognised(server)
            if not known.profile.keeps_catalogue or known.profile.own_model:
                return []
        raise


def _announce(screen: Screen, order: Order, *, had: bool) -> float | None:
    """Say what begins; return what it costs in USD, where that is known."""
    request, provider = order.request, order.providers[0]
    if request.kind in DERIVED:
        what = f"{_NOUNS[request.kind]} of video {request.source_video_id}"
        what += f" · {request.seconds} s more" if request.kind == "extend" else ""
    else:
        what = f"{request.model or 'its own model'} · {request.size} · {request.seconds} s"
    what += f" · take {request.take}" if request.take > 1 else ""
    server = None if provider.is_local else pricing.server_of(provider)
    price = estimates.price(request, server, order.source).usd if server else 0.0
    if order.keyframe is not None:
        from prefect_sora.renders.images.prepare import first_frame
        from prefect_sora.servers.images import models as image_models

        frame = first_frame(order.keyframe, request, order.image_model)
        what += f" · first frame by {frame.model or 'its own model'}"
        each = 0.0 if provider.is_local else image_models.usd_each(frame, provider.server())
        price = None if price is None or each is None else price + each
    screen.announce(
        request.title,
        what=what,
        who=" · else ".join(each.label for each in order.providers),
        cost="nothing now: it is kept already"
        if had
        else "$0.00 (local)"
        if provider.is_local
        else usd(price),
        into=place(order.store.name),
    )
    return price


async def _plainly(order: Order, display: "Display") -> StoredVideo:
    """Render an order without Prefect, as the flows do it."""
    from prefect_sora.cli.commands.making.plain import (  # which --help need not wait for
        Plainly,
        draw,
    )
    from prefect_sora.renders.images.prepare import first_frame
    from prefect_sora.renders.run import render

    shared, request = order.shared, order.request
    how = Plainly(
        order.providers,
        order.store,
        display,
        shared.scope,
        order.max_cost,
        order.waiting.options,
    )
    steps = how.steps()
    if request.kind in DERIVED:
        source = order.source or await render(existing(str(request.source_video_id)), steps)
        request = request.model_copy(
            update={"model": source.model, "source_video_id": source.video_id}
        )
        if request.kind == "extend":
            video_models.check_extensions(
                1, request.seconds, source.duration_seconds, request.allow_unlisted
            )
        steps = replace(steps.with_maker_of(source), parent_key=source.key)
    elif order.keyframe is not None:
        frame = first_frame(order.keyframe, request, order.image_model)
        picture = await draw(frame, steps, None)
        request = request.model_copy(update={"reference": picture.url})
        steps = replace(steps, parent_key=picture.key)
    return await render(request, steps)


async def _flow(flows: ModuleType, order: Order, provider: Any, store: Any) -> StoredVideo:
    request = order.request
    common = {
        "provider": provider,
        "store": store,
        "scope": order.shared.scope,
        "take": request.take,
        "max_cost_usd": order.max_cost,
        **order.waiting.options,
    }
    if request.kind in DERIVED:
        chain, changes = _CHAINS[request.kind]
        common |= {"source": order.source or request.source_video_id, changes: [request.prompt]}
        common["extra"] = request.extra
        if request.kind == "extend":
            common |= {
                "extension_seconds": request.seconds,
                "allow_unlisted": request.allow_unlisted,
            }
        clips: list[StoredVideo] = await getattr(flows, chain)(**common)
        return clips[-1]
    common |= request.model_dump(include={"model", "size", "seconds", "extra", "allow_unlisted"})
    if order.keyframe is not None:
        made = flows.keyframe_to_video(
            request.prompt, order.keyframe, image_model=order.image_model, **common
        )
    elif request.reference is not None:
        made = flows.image_to_video(request.prompt, request.reference, fit=request.fit, **common)
    else:
        made = flows.text_to_video(request.prompt, **common)
    return cast(StoredVideo, await made)
