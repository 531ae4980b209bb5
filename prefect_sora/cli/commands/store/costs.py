"""`prefect-sora costs`: what a store has paid, every attempt counted, by day or otherwise."""

from typing import TYPE_CHECKING, Literal

from rich.table import Table

from prefect_sora.cli import exits, signals
from prefect_sora.cli.commands.store.choosing import CHOICE, Choice
from prefect_sora.cli.options import SHOWN, Flag, Shown
from prefect_sora.cli.run import run_command
from prefect_sora.cli.saved import standing, store_named
from prefect_sora.cli.screen import Screen, usd
from prefect_sora.errors import InvalidRequestError
from prefect_sora.errors.shown import as_csv

if TYPE_CHECKING:
    from prefect_sora.renders.inventory.costs import StoreCosts

By = Literal["day", "month", "model", "provider", "scope", "kind"]


def costs(
    *,
    choice: Choice = CHOICE,
    by: By = "day",
    csv: Flag = False,
    shown: Shown = SHOWN,
) -> int:
    """Say what a store has paid: all attempts, the failed and the repeated ones, too.

    What a server says that a render cost counts in place of the estimate, and both are shown.

    Args:
        choice: See above.
        by: What the sums are of: days and months are those of UTC in which it was begun.
        csv: Print the sums as CSV, without their total.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        if csv and shown.json:
            raise InvalidRequestError("--csv and --json are two forms.", next_step="Choose one.")
        begin, store = choice.begin, standing(store_named(choice.store))

        async def found() -> "StoreCosts":
            from prefect_sora.renders.inventory.costs import summed

            return await summed(choice.of(store.folder), by, begin or 0.0)

        paid = signals.run(found)
        rows = [{by: name, **one.model_dump()} for name, one in paid.groups.items()]
        total, unread = paid.total.model_dump(), [*paid.unreadable]
        screen.document({"store": store.name, "costs": rows, "total": total, "unreadable": unread})
        for folder in unread:
            screen.warn(f"{folder} cannot be read, and is not counted.")
        if csv:
            screen.result(as_csv([by, *total], rows).rstrip("\n"))
        elif not rows:
            screen.result(f"Nothing of this was paid for in the store {choice.store}.")
        elif not screen.shown.json:
            screen.out.print(_table(paid))
        return exits.OK

    return run_command(shown, body, choice.store)


def _table(paid: "StoreCosts") -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    columns = (paid.by, "renders", "estimated", "real", "price told by server", "cost")
    for column in (*columns, "of this, failed", "price unknown", "in doubt"):
        table.add_column(column, justify="left" if column == paid.by else "right", no_wrap=True)
    for name, one in {**paid.groups, "all": paid.total}.items():
        real = (usd(one.actual_usd), f"{one.told}") if one.told else ("", "")
        perhaps = usd(one.perhaps_usd) if one.perhaps_usd else ""
        counts = [str(count or "") for count in (one.unpriced, one.in_doubt)]
        money = (usd(one.estimated_usd), *real, usd(one.usd))
        table.add_row(name, str(one.paid), *money, perhaps, *counts)
    return table
