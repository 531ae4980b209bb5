"""`prefect-sora storyboard`: the shots of a file, and the film that they become."""

import asyncio
import json
import sys
from signal import SIGINT
from typing import TYPE_CHECKING, Any

from prefect_sora.cli import exits, prefect_side, providers, stopping
from prefect_sora.cli.interruption import what_goes_on
from prefect_sora.cli.options import DEFAULT_STORE, Flag, MaxCost, Positive, Provider, Shown, Store
from prefect_sora.cli.progress import Display
from prefect_sora.cli.screen import Screen, place, run_command, size_of, usd
from prefect_sora.errors import InvalidRequestError

if TYPE_CHECKING:
    from prefect_sora.films import StoredFilm
    from prefect_sora.storyboards import Storyboard


def storyboard(
    file: str | None = None,
    *,
    schema: Flag = False,
    provider: Provider = None,
    store: Store = DEFAULT_STORE,
    scope: str | None = None,
    max_concurrent: int = 2,
    max_cost: MaxCost = None,
    timeout: Positive | None = None,
    stall: Positive | None = None,
    poll_interval: Positive = 5.0,
    shown: Shown | None = None,
) -> int:
    """Render the shots of a storyboard, and join them into a film.

    Args:
        file: Path or URL of the storyboard, YAML or JSON: docs/storyboards.md.
        schema: Print the JSON schema of such a file, and nothing else.
        provider: See above.
        store: See above.
        scope: Runs that name one scope share their renders. Without it the storyboard's title is
            one: the same command goes on after anything, and a shot that was changed is the
            only one that is paid for anew.
        max_concurrent: How many shots and takes are rendered at once.
        max_cost: See above.
        timeout: Seconds to wait for each shot; past them it stays resumable.
        stall: Seconds that status and progress may stay as they are, in a queue too.
        poll_interval: Shortest pause between two polls, in seconds.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        from prefect_sora import storyboards

        if schema:
            sys.stdout.write(json.dumps(storyboards.schema(), indent=2, ensure_ascii=False) + "\n")
            return exits.OK
        if file is None:
            raise InvalidRequestError(
                "No storyboard is given.",
                next_step="Name its file; --schema prints what stands in one.",
            )
        if max_concurrent < 1:
            raise InvalidRequestError(
                f"--max-concurrent is 1 or more, not {max_concurrent}.",
                next_step="Nothing was sent.",
            )
        board = asyncio.run(storyboards.read(file))
        options = {
            "store": store,
            "scope": scope or _scope_of(board),
            "max_concurrent": max_concurrent,
            "timeout_seconds": timeout,
            "poll_interval_seconds": poll_interval,
            "stall_seconds": stall,
            "max_cost_usd": max_cost,
        }
        film = _filmed(board, providers.choose(provider), options, screen)
        screen.document(film.model_dump())
        _tell(screen, film)
        return exits.OK

    return run_command(shown, body, store, provider)


def _scope_of(board: "Storyboard") -> str:
    return f"storyboard {board.title}"


def _filmed(
    board: "Storyboard", provider: providers.Provider, options: dict[str, Any], screen: Screen
) -> "StoredFilm":
    provider.start()
    asyncio.run(_announce(screen, board, provider, options))
    try:
        with Display(screen) as display:
            flows = prefect_side.load(display, screen.shown.debug)
            block = provider.block()
            display.phase("submitting")

            async def work() -> "StoredFilm":
                with prefect_side.shown_on(display):
                    made: StoredFilm = await flows.storyboard(board, provider=block, **options)
                    return made

            return stopping.run(work)
    except (stopping.InterruptedBySignal, KeyboardInterrupt) as stop:
        message = asyncio.run(what_goes_on(options["store"], provider.name))
        message += " The same command goes on with the film, and pays for nothing twice."
        signum = stop.signum if isinstance(stop, stopping.InterruptedBySignal) else SIGINT
        raise stopping.InterruptedBySignal(signum, message) from None


async def _announce(
    screen: Screen, board: "Storyboard", provider: providers.Provider, options: dict[str, Any]
) -> None:
    from prefect_sora.estimates import estimate

    requests = await board.requests()
    renders = board.renders(requests)
    seconds = sum(request.seconds for request in requests)
    what = f"{len(requests)} shots · {len(renders)} renders · {requests[0].size} · {seconds} s"
    if provider.is_local:
        cost = "$0.00 (local)"
    elif provider.needs_prefect:
        cost = usd(None)
    else:
        cost = f"{estimate(renders, provider.server())}, less what is kept already"
    screen.note(board.title, style="bold")
    told = {"what": what, "who": provider.label, "cost": cost, "scope": options["scope"]}
    for name, value in told.items():
        screen.note(f"  {name:<5} {value}")


def _tell(screen: Screen, film: "StoredFilm") -> None:
    if screen.shown.quiet:
        screen.result(place(film.url))
        return
    screen.result(f"✓ {place(film.url)}  {size_of(film.size_bytes)}", style="green")
    made = "joined as they are" if film.copied_picture else "encoded anew"
    screen.result(
        f"  {film.shots} shots, {made} · {film.width}x{film.height} · {film.duration_seconds:.2f} s"
        f" · cost {usd(film.cost_usd)}"
    )
    screen.result(f"  cuts     {place(film.cut_list_url)}")
    screen.result(f"  pictures {place(film.contact_sheet_url)}")
