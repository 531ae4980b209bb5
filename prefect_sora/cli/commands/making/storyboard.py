"""`prefect-sora storyboard`: the shots of a file, and the film that they become."""

import asyncio
import json
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from prefect_sora.cli import exits
from prefect_sora.cli.options import SHOWN, WAITING, WHERE, Flag, MaxCost, Shown, Waiting, Where
from prefect_sora.cli.run import chosen, run_command, run_flow
from prefect_sora.cli.screen import Screen, place, size_of, usd
from prefect_sora.errors import InvalidRequestError
from prefect_sora.renders.environment import NamedProvider

if TYPE_CHECKING:
    from prefect_sora.renders.film import StoredFilm
    from prefect_sora.requests.storyboard import Storyboard


def storyboard(
    file: str | None = None,
    *,
    schema: Flag = False,
    where: Where = WHERE,
    scope: str | None = None,
    max_concurrent: int = 2,
    max_cost: MaxCost = None,
    waiting: Waiting = WAITING,
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
        waiting: See above.
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
                next_step="Nothing was sent.",
            )
        board = asyncio.run(storyboards.read(file))
        renderer, shared = chosen(where.provider), scope or f"storyboard {board.title}"

        async def call(flows: ModuleType, block: Any) -> "StoredFilm":
            film: StoredFilm = await flows.storyboard(
                board,
                provider=block,
                store=where.store,
                scope=shared,
                max_concurrent=max_concurrent,
                max_cost_usd=max_cost,
                **waiting.options,
            )
            return film

        renderer.start()
        asyncio.run(_announce(screen, board, renderer, shared))
        film = run_flow(
            screen,
            [renderer],
            where.store,
            call,
            afterwards=" The same command goes on with the film, and pays for nothing twice.",
        )
        screen.document(film.model_dump())
        _tell(screen, film)
        return exits.OK

    return run_command(shown, body, where.store, where.provider)


async def _announce(
    screen: Screen, board: "Storyboard", provider: NamedProvider, scope: str
) -> None:
    from prefect_sora.servers.estimates import estimate

    requests = await board.requests()
    renders = board.renders(requests)
    seconds = sum(request.seconds for request in requests)
    if provider.is_local:
        cost = "$0.00 (local)"
    elif provider.is_saved:
        cost = usd(None)
    else:
        cost = f"{estimate(renders, provider.server())}, less what is kept already"
    screen.announce(
        board.title,
        what=f"{len(requests)} shots · {len(renders)} renders · {requests[0].size} · {seconds} s",
        who=provider.label,
        cost=cost,
        scope=scope,
    )


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
