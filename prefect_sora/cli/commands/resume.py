"""`prefect-sora resume`: bring unfinished renders home, from the store's records alone."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from cyclopts import Parameter, validators

from prefect_sora.cli import exits
from prefect_sora.cli.options import SHOWN, WAITING, WHERE, Flag, MaxCost, Shown, Waiting, Where
from prefect_sora.cli.progress import Display
from prefect_sora.cli.run import chosen_by, hide_keys, run_command, run_watched
from prefect_sora.cli.saved import standing, store_named
from prefect_sora.cli.screen import Screen, describe
from prefect_sora.errors import (
    AuthenticationError,
    InvalidRequestError,
    ModerationError,
    RenderFailedError,
    SoraError,
    UnavailableError,
)
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.handles import StoredImage
from prefect_sora.renders.recovery.original_server import Origins
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import RenderState

if TYPE_CHECKING:
    from prefect_sora.renders.recovery.sweep import Swept
    from prefect_sora.servers.protocol.client import VideoClient


_Error = TypeVar("_Error", bound=SoraError)


@dataclass(frozen=True)
class _Way:
    adopt_video_id: str | None
    resubmit: bool
    max_cost: float | None
    daily_budget: float | None
    waiting: dict[str, Any]


def resume(
    *keys: str,
    where: Where = WHERE,
    adopt: Annotated[str | None, Parameter(negative="")] = None,
    resubmit: Flag = False,
    max_cost: MaxCost = None,
    daily_budget: Annotated[float | None, Parameter(validator=validators.Number(gte=0))] = None,
    waiting: Waiting = WAITING,
    shown: Shown = SHOWN,
) -> int:
    """Bring unfinished renders home; nothing is paid again unless --resubmit says so.

    Args:
        keys: Keys of renders, or how they begin; without any, all that are unfinished.
        where: See above.
        adopt: Take this video of the server as the render's outcome.
        resubmit: Send, and pay for, a render that is in doubt or has failed once more.
        max_cost: What --resubmit may cost, in USD; without it, what the render was sent under.
        daily_budget: What the store's renders of one UTC day may cost, in USD, with --resubmit;
            without it, what the render was sent under.
        waiting: See above.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        if adopt is not None and (len(keys) != 1 or resubmit):
            raise InvalidRequestError(
                "--adopt takes one KEY, and no --resubmit.",
                next_step=NextStep("adopt"),
            )
        if resubmit and not keys:
            raise InvalidRequestError(
                "--resubmit pays again, so each render has to be named.",
                next_step=NextStep("resubmit"),
            )
        store = standing(store_named(where.store))
        ledger = Ledger(store.folder)
        hide_keys()
        origins = Origins(chosen_by(where) if where.provider else None)
        daily = store.daily_budget_usd if daily_budget is None else daily_budget
        way = _Way(adopt, resubmit, max_cost, daily, waiting.options)
        outcomes = run_watched(
            screen,
            store,
            where.provider,
            lambda display: _resumed(keys, ledger, origins, way, display),
        )
        for outcome in outcomes:
            _nothing_left(outcome.error)
            if isinstance(outcome.error, SoraError):
                outcome.error.known(store=where.store, provider=where.provider)
        screen.document({"renders": [_as_json(outcome) for outcome in outcomes]})
        for outcome in outcomes:
            _tell(screen, outcome)
        if not outcomes:
            screen.result(f"Nothing is unfinished in {where.store}.")
        codes = (_exit_code(outcome, waiting.strict) for outcome in outcomes)
        return next(filter(None, codes), exits.OK)

    return run_command(shown, body, where.store, where.provider, pays=True)


async def _resumed(
    keys: tuple[str, ...], ledger: Ledger, origins: Origins, way: _Way, display: Display
) -> "list[Swept]":
    if not keys:
        return await _all(ledger, origins, way, display)
    folders = dict.fromkeys([await _folder(key, ledger) for key in keys])

    async def one(folder: str) -> "Swept":
        from prefect_sora.renders.recovery.sweep import Swept

        try:
            state = await ledger.state(folder)
        except SoraError as error:  # one that cannot be read keeps no other from coming home
            return Swept(RenderState(folder), "failed", error=error)
        return await _resume(state, ledger, origins, way, display)

    return list(await asyncio.gather(*map(one, folders)))


async def _all(ledger: Ledger, origins: Origins, way: _Way, display: Display) -> "list[Swept]":
    from prefect_sora.renders.finish.options import WaitOptions
    from prefect_sora.renders.recovery.sweep import sweep
    from prefect_sora.servers.protocol.connections import connect
    from prefect_sora.servers.protocol.detect import recognised

    async def client_of(state: RenderState) -> "VideoClient":
        return connect(await recognised(await origins.server_of(state, by_key=False)))

    return await sweep(
        ledger,
        client_of,
        WaitOptions(**way.waiting),
        follow=display.follower,
        kept=display.kept,
    )


async def _resume(
    state: RenderState, ledger: Ledger, origins: Origins, way: _Way, display: Display
) -> "Swept":
    from prefect_sora.renders.recovery.sweep import Swept, outcome_of

    if state.stored:
        error = _not_again(state, way, state.stored.video.video_id)
        return Swept(state, "failed" if error else "kept", video=state.stored.video, error=error)
    if state.pictures:
        error = _not_again(state, way, None)
        return Swept(state, "failed" if error else "kept", image=state.pictures.image, error=error)
    try:
        server = await origins.server_of(state, by_key=True)
    except SoraError as error:
        return Swept(state, "failed", error=_as_before(error, state))

    from prefect_sora.renders.finish.options import WaitOptions
    from prefect_sora.renders.recovery.resume import resume
    from prefect_sora.renders.submit.options import Budget
    from prefect_sora.servers.protocol.connections import connect
    from prefect_sora.servers.protocol.detect import recognised

    try:
        if state.is_image:
            return Swept(state, "kept", image=await _picture(state, connect(server), ledger, way))
        video = await resume(
            state,
            connect(await recognised(server)),
            ledger,
            WaitOptions(**way.waiting),
            adopt_video_id=way.adopt_video_id,
            resubmit=way.resubmit,
            budget=Budget(way.max_cost, way.daily_budget),
            on_progress=display.follower(state),
        )
    except (UnavailableError, AuthenticationError) as error:
        told = error if way.resubmit else _as_before(error, state)
        return Swept(state, outcome_of(told), error=told)
    except Exception as error:  # one that fails keeps no other from coming home
        return Swept(state, outcome_of(error), error=error)
    display.kept(video)
    return Swept(state, "kept", video=video)


def _not_again(state: RenderState, way: _Way, video_id: str | None) -> InvalidRequestError | None:
    """Say that a kept render is neither sent again nor given another video; None: neither is asked.

    Its own video is its outcome already.
    """
    if not way.resubmit and way.adopt_video_id in (None, video_id):
        return None
    return InvalidRequestError(
        f"It is kept already: nothing was {'sent' if way.resubmit else 'adopted'}.",
        key=state.key,
        video_id=video_id,
        paid="yes",
        next_step="For another one: your `prefect-sora render` command with --take 2 and the same "
        "--scope.",
    )


def _as_before(error: _Error, state: RenderState) -> _Error:
    """Say what was paid before: a server that is not reached now has taken nothing back."""
    if state.is_open and error.paid == "no":
        error.about(paid="yes" if state.accepted else "unknown")
    return error.about(key=state.key)


async def _picture(
    state: RenderState, client: "VideoClient", ledger: Ledger, way: _Way
) -> StoredImage:
    from prefect_sora.renders.images.resume import resume
    from prefect_sora.renders.submit.options import Budget

    if way.adopt_video_id:
        raise InvalidRequestError(
            "It is a picture: no video can be its outcome.",
            key=state.key,
            paid="unknown",
            next_step=NextStep("resubmit"),
        )
    budget = Budget(way.max_cost, way.daily_budget)
    return await resume(state, client, ledger, resubmit=way.resubmit, budget=budget)


async def _folder(key: str, ledger: Ledger) -> str:
    found = await ledger.find(key)
    if not found:
        raise InvalidRequestError(
            f"The store {ledger.store.root} has no render whose key begins with {key!r}.",
            next_step=(
                NextStep("resume", "Without a key all that are unfinished are meant:"),
                "--store names another store.",
            ),
        )
    if len(found) > 1:
        raise InvalidRequestError(
            f"{len(found)} renders begin with {key!r}: {', '.join(sorted(found)[:5])}.",
            next_step="Give more of the key.",
        )
    return found[0]


def _nothing_left(error: Exception | None) -> None:
    """Say of a render that has failed that to resume it again is of no use."""
    if isinstance(error, RenderFailedError) and not isinstance(error, ModerationError):
        again = [step for step in error.steps if step.kind == "resubmit"]
        error.advise("There is nothing to bring home.", *again)


def _tell(screen: Screen, outcome: "Swept") -> None:
    if outcome.error is None and outcome.video is not None:
        screen.kept(outcome.video)
    elif outcome.error is None and outcome.image is not None:
        screen.kept_pictures(outcome.image)
    elif outcome.error is not None:
        screen.trouble(outcome.error, skipped=outcome.outcome == "skipped")


def _exit_code(outcome: "Swept", strict: bool) -> int:
    """Say what exit code it gives the command."""
    if outcome.outcome == "skipped":
        return exits.UNDECIDED
    if strict and outcome.video and outcome.video.differences:
        return exits.FAILED
    return exits.exit_code(outcome.error) if outcome.error else exits.OK


def _as_json(outcome: "Swept") -> dict[str, Any]:
    return {
        "key": outcome.key,
        "outcome": outcome.outcome,
        "video": outcome.video.model_dump() if outcome.video else None,
        "image": outcome.image.model_dump() if outcome.image else None,
        "error": describe(outcome.error) if outcome.error else None,
    }
