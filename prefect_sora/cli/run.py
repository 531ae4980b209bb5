"""Run: how every command begins, starts what it needs, and ends or is interrupted."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from signal import SIGINT
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from prefect_sora.cli import prefect_start, redaction, signals
from prefect_sora.cli.options import Shown, Where
from prefect_sora.cli.progress import Display
from prefect_sora.cli.screen import Screen, show_our_log
from prefect_sora.errors import SoraError
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.renders.environment import NamedProvider, keys, named_provider
from prefect_sora.servers.server import Server
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.identity import title_slug
from prefect_sora.store.ledger import Ledger

if TYPE_CHECKING:
    from prefect_sora.servers.protocol.client import VideoClient

T = TypeVar("T")

INTERRUPTED = (signals.InterruptedBySignal, KeyboardInterrupt)


def run_command(
    shown: Shown,
    body: Callable[[Screen], int],
    store: str | None = None,
    provider: str | None = None,
) -> int:
    """Run a command's body; an error or a signal is told in words and gives the exit code.

    Args:
        shown: What is shown.
        body: What it does.
        store: The store that it works on, as --store took it.
        provider: As --provider took it.
    """
    screen = Screen(shown)
    show_our_log(screen)
    try:
        return body(screen)
    except (Exception, *INTERRUPTED) as error:
        if isinstance(error, SoraError):
            error.known(store=store, provider=provider)
        return screen.failure(error)


def chosen(name: str | None, environ: Mapping[str, str] = os.environ) -> NamedProvider:
    """Find who renders, and hide the keys of all servers that the environment describes.

    Raises:
        InvalidRequestError: As `environment.named_provider` says.
    """
    hide_keys(environ)
    return named_provider(name, environ, _loaded)


def hide_keys(environ: Mapping[str, str] = os.environ) -> None:
    """Hide the keys of all servers that the environment describes from all that is shown."""
    for key in keys(environ):
        redaction.hide(key)


def _loaded(name: str) -> Server:
    from prefect_sora.tasks.providers import provider_of

    async def load() -> Server:
        return await (await provider_of(name)).get_server()

    server = asyncio.run(load())
    redaction.hide(server.api_key.get_secret_value() if server.api_key else None)
    return server


def with_client(server: Server, work: "Callable[[VideoClient], Awaitable[T]]") -> T:
    """Connect to a server that says what it can do, and do some work until a signal."""

    async def connected() -> T:
        from prefect_sora.servers.protocol.connections import connect
        from prefect_sora.servers.protocol.detect import recognised

        return await work(connect(await recognised(server)))

    return signals.run(connected)


def run_flow(
    screen: Screen,
    providers: Sequence[NamedProvider],
    store: str,
    call: Callable[[ModuleType, Any], Awaitable[T]],
    *,
    check: Callable[[NamedProvider | None], Coroutine[Any, Any, None]] | None = None,
    prompt: str | None = None,
    shown_by: type[Display] = Display,
    phase: str = "submitting",
    afterwards: str = "",
) -> T:
    """Run a flow of this package in this process.

    Args:
        screen: Where the run is reported.
        providers: Who renders: the first, and those that are asked next.
        store: Where its records are.
        call: Calls the flow, with the module `flows` and the name or names of providers.
        check: Checks the request before anything is sent. A saved provider is known only once
            Prefect has started: so `check` is then called twice, first with None.
        prompt: When a signal comes, only unfinished renders of this prompt are reported.
        shown_by: What shows the progress.
        phase: What is done first.
        afterwards: What else is said when a signal comes.

    Raises:
        InterruptedBySignal: A signal came; it says what goes on at the server.
    """
    first, names = providers[0], [each.name for each in providers]
    # The renderer takes a second to start, so it starts before Prefect and beside it.
    first.start()
    if check:
        asyncio.run(check(None if first.is_saved else first))
    try:
        with shown_by(screen) as display:
            flows = prefect_start.load(display, screen.shown.debug)
            if check and first.is_saved:
                asyncio.run(check(first))
            from prefect_sora.tasks.artifacts import listening  # which imports Prefect

            display.phase(phase)

            async def work() -> T:
                with listening(display):
                    return await call(flows, names if len(names) > 1 else first.name)

            return signals.run(work)
    except INTERRUPTED as stop:
        message = asyncio.run(_what_goes_on(store, first.name, prompt))
        raise _interrupted(stop, message + afterwards) from None


def run_watched(
    screen: Screen,
    where: Where,
    work: Callable[[Display], Coroutine[Any, Any, T]],
) -> T:
    """Do some work that shows its progress; at a signal, say what is still unfinished.

    Raises:
        InterruptedBySignal: A signal came.
    """
    try:
        with Display(screen) as display:
            return signals.run(lambda: work(display))
    except signals.InterruptedBySignal as stop:
        raise _interrupted(
            stop, asyncio.run(_still_unfinished(where.store, where.provider))
        ) from None


def _interrupted(stop: BaseException, message: str) -> signals.InterruptedBySignal:
    signum = stop.signum if isinstance(stop, signals.InterruptedBySignal) else SIGINT
    return signals.InterruptedBySignal(signum, message)


async def _what_goes_on(store: str, provider: str, prompt: str | None) -> str:
    """Say which renders of this process are unfinished, and how to go on with them."""
    ledger = Ledger(VideoFolder(store))
    try:
        states = await ledger.unfinished(title_slug(prompt) if prompt else None)
    except SoraError as error:
        return f"Stopped. What was begun is in the records of {store}, unless: {error}"
    mine = [s for s in states if s.reserved and s.reserved.owner.is_this_process()]
    if not mine:
        return "Stopped. Nothing was sent, so nothing was paid."
    said = []
    for state in mine:
        go_on = NextStep("wait", key=state.key, store=store, provider=provider)
        if state.accepted:
            job = state.accepted.job
            said.append(
                f"Video {job.video_id} (render {state.key}) goes on rendering at {job.provider} "
                f"and is paid for. {go_on.words()}"
            )
        elif state.is_image:
            said.append(
                f"The picture of render {state.key} may have been made and paid for. To look "
                f"whether it is kept: `{go_on.command}`."
            )
        else:
            said.append(
                f"Render {state.key} may have been accepted. To look for it: `{go_on.command}`."
            )
    return f"Stopped. Nothing was deleted. {' '.join(said)}"


async def _still_unfinished(store: str, provider: str | None) -> str:
    """Say which renders of the store are unfinished when a resume is stopped."""
    states = await Ledger(VideoFolder(store)).unfinished(left=lambda *_: None)
    if not states:
        return "Stopped. Nothing is unfinished."
    keys = ", ".join(state.key for state in states)
    go_on = NextStep("wait", store=store, provider=provider).words()
    return f"Stopped. Nothing was deleted; still unfinished: {keys}. {go_on}"
