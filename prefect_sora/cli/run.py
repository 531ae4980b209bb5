"""Run: how every command begins, starts what it needs, and ends or is interrupted."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from signal import SIGINT
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from prefect_sora.cli import keys, prefect_start, redaction, saved, signals
from prefect_sora.cli.options import Into, Shown, Where
from prefect_sora.cli.saved import NamedStore
from prefect_sora.cli.screen import Screen, show_our_log, usd
from prefect_sora.errors import InvalidRequestError, SoraError
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.renders import environment
from prefect_sora.renders.environment import NamedProvider, named_provider
from prefect_sora.servers.profiles import HOSTED
from prefect_sora.servers.server import Server
from prefect_sora.servers.video_prices import prices_from_json

if TYPE_CHECKING:
    from prefect_sora.cli.progress import Display
    from prefect_sora.servers.protocol.client import VideoClient

T = TypeVar("T")

_ADDRESS: Final = re.compile(r"(localhost|[\w-]+(\.[\w-]+)+|[\w.-]+:\d+)(:\d+)?(/[\w./-]*)?")
"""A URL without its scheme: a host with a dot or a port. Ours."""

INTERRUPTED = (signals.InterruptedBySignal, KeyboardInterrupt)


def run_command(
    shown: Shown,
    body: Callable[[Screen], int],
    store: str | None = None,
    provider: str | None = None,
    *,
    pays: bool = False,
) -> int:
    """Run a command's body; an error or a signal is told in words and gives the exit code.

    Args:
        shown: What is shown.
        body: What it does.
        store: The store that it works on, as --store took it.
        provider: As --provider took it.
        pays: Whether it can cost anything.
    """
    screen = Screen(shown, pays=pays)
    show_our_log(screen)
    try:
        return body(screen)
    except (Exception, *INTERRUPTED) as error:
        if isinstance(error, SoraError):
            error.free = provider == "local"
            error.known(
                store=store,
                provider=provider or environment.named_anywhere(),
                profile=environment.named_profile(),
            )
        return screen.failure(error)


def chosen(
    name: str | None,
    api_key: str | None = None,
    environ: MutableMapping[str, str] = os.environ,
    profile: str | None = None,
) -> NamedProvider:
    """Find who renders, and hide the keys of all servers that the environment describes.

    Args:
        name: As --provider took it.
        api_key: As --api-key took it; the process, and what it starts, uses it from now on.
        environ: What describes the servers.
        profile: As --profile took it; the same.

    Raises:
        InvalidRequestError: As `environment.named_provider` and `keys.use` say.
    """
    if api_key is not None:
        keys.use(api_key, name, environ)
    if profile is not None:
        environ[environment.PROFILE_VARIABLE] = profile
    hide_keys(environ)
    # Also where they are not needed: a mistake in them is told at once.
    prices_from_json(environ.get(environment.PRICES_VARIABLE), environment.PRICES_VARIABLE)
    if name and _ADDRESS.fullmatch(name):
        raise _meant(name, f"http://{name.rstrip('/')}" + "/v1" * ("/" not in name))
    complete = saved.provider_name(name, environ)
    like = get_close_matches(complete or "", ("local", "openai", "azure", *HOSTED), n=1)
    if like and complete not in like:
        raise _meant(str(complete), like[0])
    found = named_provider(complete, environ, saved.load_server)
    if profile is not None and not environment.takes_profile(found):
        raise InvalidRequestError(
            f"--profile goes with openai or a URL, and not with {found.name}.",
            next_step="Leave it out: what that is, is known, or its block says it.",
        )
    return found


def chosen_by(where: Where | Into) -> NamedProvider:
    """Find who renders, as the options say it; see `chosen`."""
    return chosen(where.provider, where.api_key, profile=where.profile)


def _meant(name: str, like: str) -> InvalidRequestError:
    return InvalidRequestError(f"{name!r} is no provider.", next_step=f"Did you mean {like}?")


def hide_keys(environ: Mapping[str, str] = os.environ) -> None:
    """Hide the keys of all servers that the environment describes from all that is shown."""
    for key in environment.keys(environ):
        redaction.hide(key)


def with_client(server: Server, work: "Callable[[VideoClient], Awaitable[T]]") -> T:
    """Connect to a server that says what it can do, and do some work until a signal."""

    async def connected() -> T:
        from prefect_sora.servers.protocol.connections import connect
        from prefect_sora.servers.protocol.detect import recognised

        return await work(connect(await recognised(server)))

    return signals.run(connected)


@dataclass(frozen=True)
class Making(Generic[T]):
    """What a command makes, in the two ways in which it can be made.

    Attributes:
        providers: Who renders: the first, and those that are asked next.
        store: Where it is kept.
        flow: Calls the flow, with the module `flows`, the names of providers and the store.
        plainly: Makes the same without Prefect.
        check: Checks the request before anything is sent. A saved provider takes a while to be
            loaded: so `check` is then called twice, first with None.
        prompt: When a signal comes, only unfinished renders of this prompt are reported.
        batch: Whether its renders are shown together, and not each.
        phase: What is done first.
        afterwards: What else is said when a signal comes.
    """

    providers: Sequence[NamedProvider]
    store: NamedStore
    flow: Callable[[ModuleType, Any, Any], Awaitable[T]]
    plainly: "Callable[[Display], Awaitable[T]]"
    check: Callable[[NamedProvider | None], Coroutine[Any, Any, None]] | None = None
    prompt: str | None = None
    batch: bool = False
    phase: str = "submitting"
    afterwards: str = ""


def make(screen: Screen, making: Making[T], prefect: bool | None) -> T:
    """Make what a command makes: as a run of Prefect, or without it.

    Args:
        screen: Where it is reported.
        making: What is made.
        prefect: Whether it is a run; None: where a Prefect API is configured.

    Raises:
        InterruptedBySignal: A signal came; it says what goes on at the server.
    """
    first, check = making.providers[0], making.check
    try:
        if check:
            asyncio.run(check(None if first.is_saved else first))
        # The renderer takes a second to start, so it starts beside what is imported next.
        first.start()
        as_run = prefect_start.is_configured() if prefect is None else prefect
        from prefect_sora.cli.progress import BatchDisplay, Display  # what no refusal waits for

        with (BatchDisplay if making.batch else Display)(screen) as display:
            if as_run:
                return _as_run(screen, making, display)
            if check and first.is_saved:
                asyncio.run(check(first))
            display.phase(making.phase)
            return signals.run(lambda: _awaited(making.plainly(display)))
    except INTERRUPTED as stop:
        name = first.name if first.name != "openai" else environment.named_anywhere()
        message = asyncio.run(_what_goes_on(making.store, name, making.prompt))
        raise _interrupted(stop, message + making.afterwards) from None


def _as_run(screen: Screen, making: Making[T], display: "Display") -> T:
    first, names = making.providers[0], [each.name for each in making.providers]
    flows = prefect_start.load(display, screen.shown.debug)
    if making.check and first.is_saved:
        asyncio.run(making.check(first))
    from prefect_sora.tasks.artifacts import listening  # which imports Prefect

    display.phase(making.phase)

    async def work() -> T:
        with listening(display):
            provider = names if len(names) > 1 else first.name
            return await making.flow(flows, provider, making.store.for_flows)

    return signals.run(work)


async def _awaited(work: Awaitable[T]) -> T:
    return await work


def run_watched(
    screen: Screen,
    store: NamedStore,
    provider: str | None,
    work: "Callable[[Display], Coroutine[Any, Any, T]]",
) -> T:
    """Do some work that shows its progress; at a signal, say what is still unfinished.

    Raises:
        InterruptedBySignal: A signal came.
    """
    from prefect_sora.cli.progress import Display

    try:
        with Display(screen) as display:
            return signals.run(lambda: work(display))
    except signals.InterruptedBySignal as stop:
        raise _interrupted(stop, asyncio.run(_still_unfinished(store, provider))) from None


def _interrupted(stop: BaseException, message: str) -> signals.InterruptedBySignal:
    signum = stop.signum if isinstance(stop, signals.InterruptedBySignal) else SIGINT
    return signals.InterruptedBySignal(signum, message)


async def _what_goes_on(store: NamedStore, provider: str | None, prompt: str | None) -> str:
    """Say which renders of this process are unfinished, and how to go on with them."""
    from prefect_sora.store.identity import title_slug
    from prefect_sora.store.ledger import Ledger

    ledger = Ledger(store.folder)
    try:
        states = await ledger.unfinished(title_slug(prompt) if prompt else None)
    except SoraError as error:
        return f"Stopped. What was begun is in the records of {store.name}, unless: {error}"
    mine = [s for s in states if s.reserved and s.reserved.owner.is_this_process()]
    if not mine:
        return "Stopped. Nothing was sent, so nothing was paid."
    said = []
    for state in mine:
        go_on = NextStep("wait", key=state.key, store=store.name, provider=provider)
        if state.accepted:
            job = state.accepted.job
            said.append(
                f"Video {job.video_id} (render {state.key}) goes on rendering at {job.provider} "
                f"and {_counts(job.cost_usd)}. {go_on.words()}"
            )
        elif state.is_image:
            said.append(
                f"The picture of render {state.key} may have been made and charged. To look "
                f"whether it is kept: `{go_on.command}`."
            )
        else:
            said.append(
                f"Render {state.key} may have been accepted. To look for it: `{go_on.command}`."
            )
    return f"Stopped. Nothing was deleted. {' '.join(said)}"


def _counts(cost_usd: float | None) -> str:
    """Say whether a render that goes on costs anything."""
    if cost_usd == 0:
        return "is free"
    return "counts as paid" + (f" ({usd(cost_usd)})" if cost_usd is not None else "")


async def _still_unfinished(store: NamedStore, provider: str | None) -> str:
    """Say which renders of the store are unfinished when a resume is stopped."""
    from prefect_sora.store.ledger import Ledger

    states = await Ledger(store.folder).unfinished(left=lambda *_: None)
    if not states:
        return "Stopped. Nothing is unfinished."
    keys = ", ".join(state.key for state in states)
    go_on = NextStep("wait", store=store.name, provider=provider).words()
    return f"Stopped. Nothing was deleted; still unfinished: {keys}. {go_on}"
