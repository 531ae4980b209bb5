"""`prefect-sora models`: what the catalogue knows."""

from dataclasses import asdict
from typing import Any

from rich.table import Table

from prefect_sora import catalogue, prices
from prefect_sora.cli import exits
from prefect_sora.cli.options import Shown
from prefect_sora.cli.screen import Screen, run_command, usd


def models(*, shown: Shown | None = None) -> int:
    """List the known models: lengths, sizes, prices, and when services ended them.

    Models that are not listed are sent as they are; their cost is unknown.
    """

    def body(screen: Screen) -> int:
        screen.document([_as_json(model) for model in catalogue.MODELS.values()])
        if not screen.shown.json:
            screen.out.print(_table())
            screen.note(
                "In brackets: listed by one provider, and reported to be refused by OpenAI."
            )
        return exits.OK

    return run_command(shown, body)


def _table() -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("model", "seconds", "size", "USD/s", "ended at"):
        table.add_column(column, no_wrap=True)
    for model in catalogue.MODELS.values():
        ended = [f"{service} {day:%Y-%m-%d}" for service, day in model.ended.items()]
        seconds = " ".join(map(str, model.seconds))
        seconds += f" ({' '.join(map(str, model.disputed_seconds))})" * bool(model.disputed_seconds)
        for row, size in enumerate(model.sizes):
            table.add_row(
                model.name if row == 0 else "",
                seconds if row == 0 else "",
                size,
                usd(prices.usd_per_second([model.name], size)),
                ended[row] if row < len(ended) else "",
            )
    return table


def _as_json(model: catalogue.VideoModel) -> dict[str, Any]:
    return {**asdict(model), "ended": {s: day.isoformat() for s, day in model.ended.items()}}
