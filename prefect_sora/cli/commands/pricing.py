"""Pricing: estimates on the screen, whose prices they use, and for which models."""

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from prefect_sora.cli.screen import Screen, agrees, usd
from prefect_sora.errors import InvalidRequestError
from prefect_sora.renders.environment import PRICES_VARIABLE, NamedProvider
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.estimates import Estimate
from prefect_sora.servers.profiles import AUTO, LOCAL
from prefect_sora.servers.server import Server, remote
from prefect_sora.servers.video_prices import prices_from_json

if TYPE_CHECKING:
    from prefect_sora.renders.batches.plan import Plan


def server_of(provider: NamedProvider | None) -> Server:
    """Find the server whose prices an estimate uses; the local renderer is not started.

    Without a provider the published prices are used, and those that the environment holds.
    """
    if provider is None:
        own = prices_from_json(os.environ.get(PRICES_VARIABLE), PRICES_VARIABLE)
        return remote("https://no-server.invalid/v1", prices=own)
    if provider.is_local:
        return Server("http://127.0.0.1/v1", "local", "local", profile=LOCAL, local=True)
    return asyncio.run(priced(provider.server()))


async def priced(server: Server) -> Server:
    """Read the catalogue of a server that has one, as its profile or its address tells."""
    can = server.by_address if server.profile == AUTO else server.profile
    if can is None or not can.catalog_path:
        return server
    from prefect_sora.servers.protocol.detect import with_catalogue  # it brings an HTTP library

    return await with_catalogue(server)


def agree(usd_: float | None, ask_above: float, max_cost: float | None) -> None:
    """Ask a person on a terminal whether to pay much; in a script nobody is asked.

    Args:
        usd_: What it will cost; None where nobody knows.
        ask_above: From what price on.
        max_cost: What was allowed beforehand.

    Raises:
        InvalidRequestError: Nobody agreed; nothing was sent.
    """
    is_allowed = max_cost is not None and (usd_ or 0.0) <= max_cost
    if usd_ is None or usd_ <= ask_above or is_allowed:
        return
    if agrees(f"This costs {usd(usd_)}. Go on?") is False:
        raise InvalidRequestError(
            f"Not sent: you did not agree to pay {usd(usd_)}.",
            next_step=f"To skip the question: --max-cost {usd_:g}.",
        )


def row_defaults(model: str | None, size: str | None, seconds: int | None) -> dict[str, Any]:
    """The command line's values for fields that a row does not have."""
    given = {"model": model, "size": size, "seconds": seconds}
    fields: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return {**fields, "model": None} if model == "" else fields


def tell(screen: Screen, planned: "Plan") -> None:
    """Show the total of a batch, and the models and sizes that it is made up of."""
    requests = [row.request for row in planned.renders if row.request is not None]
    told = {
        "rows": len(planned.rows),
        "renders": len(requests),
        "duplicates": len(planned.first),
        "broken": [
            {"row": row.number, "where": row.where, "problems": row.problems}
            for row in planned.broken
        ],
    }
    tell_total(screen, requests, planned.estimate, told)


def tell_total(
    screen: Screen, requests: Sequence[VideoRequest], estimate: Estimate, told: dict[str, Any]
) -> None:
    """Show what requests cost together, and the models and sizes that this is made up of.

    Args:
        screen: Where it is shown.
        requests: Those that are rendered.
        estimate: Their prices.
        told: What else the document of --json says.
    """
    groups: dict[tuple[str, str, int], list[float | None]] = {}
    for request, price in zip(requests, estimate.prices, strict=True):
        kind = (request.model or "the server's own", request.size or request.kind)
        groups.setdefault((*kind, request.seconds), []).append(price.usd)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("model", "size", "seconds", "renders", "each", "together"):
        table.add_column(column, no_wrap=True)
    for (model, size, seconds), prices in groups.items():
        each = prices[0]
        total = None if each is None else each * len(prices)
        table.add_row(model, size, f"{seconds}", f"{len(prices)}", usd(each), usd(total))
    if not screen.shown.json:
        screen.out.print(table)
    screen.result(f"{len(requests)} renders: {estimate}", style="bold")
    for why in estimate.whys:
        screen.note(f"unknown: {why}")
    screen.document(
        {
            **told,
            "known_usd": estimate.known_usd,
            "unknown": estimate.unknown,
            "total_usd": estimate.usd,
        }
    )
