"""`prefect-sora resume`: bring unfinished renders home, from the store's records alone."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from prefect_sora.cli import exits, stopping
from prefect_sora.cli.interruption import still_unfinished
from prefect_sora.cli.options import DEFAULT_STORE, Flag, MaxCost, Positive, Provider, Shown, Store
from prefect_sora.cli.origins import Origins
from prefect_sora.cli.progress import Display
from prefect_sora.cli.screen import Screen, describe, image_lines, kept_lines, run_command
from prefect_sora.errors import InvalidRequestError, SoraError
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.handles import StoredImage, StoredVideo
from prefect_sora.ledger import Ledger
from prefect_sora.records import RenderState
from prefect_sora.storage import VideoFolder

if TYPE_CHECKING:
    from prefect_sora.client import VideoClient
    from prefect_sora.sweeping import Outcome as How


@dataclass(frozen=True)
class Outcome:
    """How the resuming of one render ended."""

    state: RenderState
    how: "How"
    video: StoredVideo | None = None
    error: Exception | None = None
    image: StoredImage | None = None

    @property
    def exit_code(self) -> int:
        """Its share in the command's exit code."""
        if self.how == "skipped":
            return exits.UNDECIDED
        return exits.exit_code(self.error) if self.error else exits.OK

    def as_json(self) -> dict[str, Any]:
        """The outcome as JSON."""
        return {
            "key": self.state.key,
            "outcome": self.how,
            "video": self.video.model_dump() if self.video else None,
            "image": self.image.model_dump() if self.image else None,
            "error": describe(self.error) if self.error else None,
        }


@dataclass(frozen=True)
class _Way:
    adopt_video_id: str | None
    resubmit: bool
    max_cost: float | None
    daily_budget: float | None
    waiting: dict[str, Any]


def resume(
    *keys: str,
    store: Store = DEFAULT_STORE,
    provider: Provider = None,
    adopt: Annotated[str | None, Parameter(negative="")] = None,
    resubmit: Flag = False,
    max_cost: MaxCost = None,
    daily_budget: Annotated[float | None, Parameter(validator=validators.Number(gte=0))] = None,
    timeout: Positive | None = None,
    stall: Positive | None = None,
    poll_interval: Positive = 5.0,
    shown: Shown | None = None,
) -> int:
    """Bring unfinished renders home; nothing is paid again unless --resubmit says so.

    Args:
        keys: Keys of renders, or how they begin; without any, all that are unfinished.
        store: See above.
        provider: See above; without it, the server that the record names.
        adopt: Take this video of the server as the render's outcome.
        resubmit: Send, and pay for, a render that is in doubt or has failed once more.
        max_cost: With --resubmit: see above; without it, what the render was sent under.
        daily_budget: With --resubmit: what the store's renders of one UTC day may cost, in USD;
            without it, what the render was sent under.
        timeout: Seconds to wait for each video; without it 600, and more for clips longer than
            8 s, larger than 720p, or of a pro model.
        stall: Seconds that status and progress may stay as they are, in a queue too.
        poll_interval: Shortest pause between two polls, in seconds.
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
        ledger = Ledger(VideoFolder(store))
        origins = Origins(provider)
        waiting: dict[str, Any] = {
            "timeout_seconds": timeout,
            "poll_interval_seconds": poll_interval,
            "stall_seconds": stall,
        }
        way = _Way(adopt, resubmit, max_cost, daily_budget, waiting)
        try:
            with Display(screen) as display:
                outcomes = stopping.run(lambda: _resumed(keys, ledger, origins, way, display))
        except stopping.InterruptedBySignal as stop:
            message = asyncio.run(still_unfinished(store, provider))
            raise stopping.InterruptedBySignal(stop.signum, message) from None
        for outcome in outcomes:
            if isinstance(outcome.error, SoraError):
                outcome.error.known(store=store, provider=provider)
        screen.document({"renders": [outcome.as_json() for outcome in outcomes]})
        for outcome in outcomes:
            _tell(screen, outcome)
        if not outcomes:
            screen.result(f"Nothing is unfinished in {store}.")
        return next((o.exit_code for o in outcomes if o.exit_code), exits.OK)

    return run_command(shown, body, store, provider)


async def _resumed(
    keys: tuple[str, ...], ledger: Ledger, origins: Origins, way: _Way, display: Display
) -> list[Outcome]:
    if not keys:
        return await _all(ledger, origins, way, display)
    folders = dict.fromkeys([await _folder(key, ledger) for key in keys])
    states = [await ledger.state(folder) for folder in folders]
    return list(
        await asyncio.gather(*(_resume(state, ledger, origins, way, display) for state in states))
    )


async def _all(ledger: Ledger, origins: Origins, way: _Way, display: Display) -> list[Outcome]:
    from prefect_sora.connections import connect
    from prefect_sora.recognising import recognised
    from prefect_sora.sweeping import sweep

    async def client_of(state: RenderState) -> "VideoClient":
        return connect(await recognised(await origins.server_of(state, named=False)))

    swept = await sweep(
        ledger, client_of, follow=display.follower, kept=display.kept, **way.waiting
    )
    return [Outcome(one.state, one.outcome, one.video, one.error, one.image) for one in swept]


async def _resume(
    state: RenderState, ledger: Ledger, origins: Origins, way: _Way, display: Display
) -> Outcome:
    if state.stored:
        return Outcome(state, "kept", video=state.stored.video)
    if state.pictures:
        return Outcome(state, "kept", image=state.pictures.image)
    try:
        server = await origins.server_of(state, named=True)
    except SoraError as error:
        return Outcome(state, "failed", error=error.about(key=state.key))

    from prefect_sora.budgets import Budget
    from prefect_sora.connections import connect
    from prefect_sora.recognising import recognised
    from prefect_sora.resuming import resume
    from prefect_sora.sweeping import outcome_of

    try:
        if state.is_image:
            return Outcome(state, "kept", image=await _picture(state, connect(server), ledger, way))
        video = await resume(
            state,
            connect(await recognised(server)),
            ledger,
            adopt_video_id=way.adopt_video_id,
            resubmit=way.resubmit,
            budget=Budget(way.max_cost, way.daily_budget),
            on_progress=display.follower(state),
            **way.waiting,
        )
    except Exception as error:  # one that fails keeps no other from coming home
        return Outcome(state, outcome_of(error), error=error)
    display.kept(video)
    return Outcome(state, "kept", video=video)


async def _picture(
    state: RenderState, client: "VideoClient", ledger: Ledger, way: _Way
) -> StoredImage:
    from prefect_sora.budgets import Budget
    from prefect_sora.images.resuming import resume

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


def _tell(screen: Screen, outcome: Outcome) -> None:
    if outcome.video is not None:
        path, *facts = kept_lines(outcome.video)
        screen.result(f"✓ {path}", style="green")
        for fact in facts:
            screen.result(f"  {fact}")
    elif outcome.image is not None:
        for line in image_lines(outcome.image):
            screen.result(line)
    elif outcome.error is not None:
        screen.trouble(outcome.error, skipped=outcome.how == "skipped")
