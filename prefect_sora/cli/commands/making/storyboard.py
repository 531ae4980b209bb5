"""`prefect-sora storyboard`: the shots of a file, and the film that they become."""

import asyncio
import json
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from prefect_sora.cli import exits
from prefect_sora.cli.commands import pricing
from prefect_sora.cli.options import (
    ASK_ABOVE_USD,
    INTO,
    SHOWN,
    WAITING,
    AskAbove,
    Flag,
    Into,
    MaxCost,
    Prefect,
    Shown,
    Waiting,
    Whole,
)
from prefect_sora.cli.run import Making, chosen_by, make, run_command
from prefect_sora.cli.saved import store_named
from prefect_sora.cli.screen import Screen, costs, place, usd
from prefect_sora.errors import InvalidRequestError
from prefect_sora.renders.environment import NamedProvider

if TYPE_CHECKING:
    from prefect_sora.cli.progress import Display
    from prefect_sora.handles import StoredVideo
    from prefect_sora.renders.film import StoredFilm
    from prefect_sora.renders.run import PlainSteps
    from prefect_sora.requests.storyboard import Storyboard


def storyboard(
    file: str | None = None,
    *,
    schema: Flag = False,
    where: Into = INTO,
    scope: str | None = None,
    max_concurrent: Whole = 2,
    max_cost: MaxCost = None,
    ask_above: AskAbove = ASK_ABOVE_USD,
    waiting: Waiting = WAITING,
    prefect: Prefect = None,
    shown: Shown = SHOWN,
) -> int:
    """Render the shots of a storyboard, and join them into a film.

    Args:
        file: Path or URL of the storyboard, YAML or JSON: docs/storyboards.md.
        schema: Print the JSON schema of such a file, and nothing else.
        where: See above.
        scope: Runs that name one scope share their renders. Without it the storyboard's title is
            one: the same command goes on after anything, and a shot that was changed is the
            only one that is paid for anew.
        max_concurrent: How many shots and takes are rendered at once.
        max_cost: See above.
        ask_above: See above.
        waiting: See above.
        prefect: See above.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        from prefect_sora.requests import storyboard as storyboards

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
                next_step="Give 1 or more.",
            )
        board = asyncio.run(storyboards.read(file))
        renderer, store = chosen_by(where), store_named(where.store)
        shared = scope or f"storyboard {board.title}"

        async def flow(flows: ModuleType, block: Any, folder: Any) -> "StoredFilm":
            film: StoredFilm = await flows.storyboard(
                board,
                provider=block,
                store=folder,
                scope=shared,
                max_concurrent=max_concurrent,
                max_cost_usd=max_cost,
                **waiting.options,
            )
            return film

        async def plainly(display: "Display") -> "StoredFilm":
            from prefect_sora.cli.commands.making.plain import (
                Plainly,  # which --help need not wait for
            )

            how = Plainly([renderer], store, display, shared, max_cost, waiting.options)
            return await _filmed(board, how.steps(), max_concurrent, display)

        renderer.start()
        cost = asyncio.run(_announce(screen, board, renderer, shared))
        pricing.agree(cost, ask_above, max_cost)
        making = Making(
            [renderer],
            store,
            flow,
            plainly,
            afterwards=" The same command goes on with the film, and pays for nothing twice.",
        )
        film = make(screen, making, prefect)
        screen.document(film.model_dump())
        _tell(screen, film)
        from prefect_sora.cli.commands.making.files import copy_out  # which no refusal waits for

        copy_out(f"{film.folder}/film.mp4", store.folder, where.file, screen)
        return exits.OK

    return run_command(shown, body, where.store, where.provider, pays=True)


async def _filmed(
    board: "Storyboard", steps: "PlainSteps", max_concurrent: int, display: "Display"
) -> "StoredFilm":
    """Render the shots, and join them, without Prefect."""
    from prefect_sora.renders.film import audio_of, keep_film, last_frame_of
    from prefect_sora.renders.film.shots import Filming, checked

    folder = steps.ledger.store
    await audio_of(board.audio, folder)
    requests = await checked(board, await steps.ways[0].connect(), steps.options.scope)
    gate = asyncio.Semaphore(max_concurrent)

    async def last_frame(clip: "StoredVideo") -> str:
        return await last_frame_of(clip, folder)

    filming = Filming(board, requests, steps, steps.options.scope, last_frame, gate)
    cuts = await filming.film()
    display.stitching(board.title, len(cuts))
    kept = await keep_film(board.title, cuts, folder, audio=board.audio, **filming.costs())
    return kept.film


async def _announce(
    screen: Screen, board: "Storyboard", provider: NamedProvider, scope: str
) -> float | None:
    """Say what begins; return what all takes cost in USD, as far as that is known."""
    from prefect_sora.servers.estimates import estimate

    requests = await board.requests()
    renders = board.renders(requests)
    seconds = sum(request.seconds for request in requests)
    known_usd: float | None = None
    if provider.is_local:
        cost = "$0.00 (local)"
    elif provider.is_saved:
        cost = usd(None)
    else:
        total = estimate(renders, await pricing.priced(provider.server()))
        cost, known_usd = f"{total}, less what is kept already", total.known_usd
    screen.announce(
        board.title,
        what=f"{len(requests)} shots · {len(renders)} renders · {requests[0].size} · {seconds} s",
        who=provider.label,
        cost=cost,
        scope=scope,
    )
    return known_usd


def _tell(screen: Screen, film: "StoredFilm") -> None:
    screen.file(film.url, film.size_bytes)
    if screen.shown.quiet:
        return
    made = "joined as they are" if film.copied_picture else "encoded anew"
    screen.result(
        f"  {film.shots} shots, {made} · {film.width}x{film.height} · {film.duration_seconds:.2f} s"
        f" · cost {costs(film.cost_usd, film.actual_usd)}"
    )
    screen.result(f"  cuts     {place(film.cut_list_url)}")
    screen.result(f"  pictures {place(film.contact_sheet_url)}")
