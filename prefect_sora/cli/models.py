"""`prefect-sora models`: what the catalogue knows."""

from dataclasses import asdict
from typing import Any

from rich.table import Table

from prefect_sora import catalogue, prices
from prefect_sora.cli import exits
from prefect_sora.cli.options import Flag, Shown
from prefect_sora.cli.screen import Screen, run_command, usd
from prefect_sora.images import catalogue as image_catalogue


def models(*, images: Flag = False, shown: Shown | None = None) -> int:
    """List the known models: lengths, sizes, prices, and when services ended them.

    Models that are not listed are sent as they are; their cost is unknown.

    Args:
        images: Those that draw pictures, in place of those that render videos.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        if images:
            return _tell_images(screen)
        screen.document([_as_json(model) for model in catalogue.MODELS.values()])
        if not screen.shown.json:
            screen.out.print(_table())
            screen.note(
                "In brackets: listed by one provider, and reported to be refused by OpenAI."
            )
        return exits.OK

    return run_command(shown, body)


def _tell_images(screen: Screen) -> int:
    known = image_catalogue.IMAGE_MODELS.values()
    screen.document(
        [
            {
                **asdict(model),
                "takes": sorted(model.takes),
                "ended": {service: day.isoformat() for service, day in model.ended.items()},
            }
            for model in known
        ]
    )
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("model", "size", "quality", "USD each", "ends at"):
        table.add_column(column, no_wrap=True)
    for model in known:
        priced = [
            (size, level, usd(p)) for level, by in model.usd.items() for size, p in by.items()
        ]
        if not priced:
            levels = " ".join(model.qualities or ("not known",))
            priced = [(size, levels, usd(None)) for size in (model.sizes or ("free",))]
        ends = [f"{service} {day:%Y-%m-%d}" for service, day in model.ended.items()]
        for row, (size, level, price) in enumerate(priced):
            end = ends[row] if row < len(ends) else ""
            table.add_row(model.name if row == 0 else "", size, level, price, end)
    if not screen.shown.json:
        screen.out.print(table)
        screen.note("Of one picture; what it is made from is charged besides.")
    return exits.OK


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
