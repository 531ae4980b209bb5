"""`prefect-sora costs`: what a store has paid, every attempt counted, by day or otherwise."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from rich.table import Table

from prefect_sora.cli import exits, signals
from prefect_sora.cli.commands.store.choosing import CHOICE, Choice
from prefect_sora.cli.options import SHOWN, Shown
from prefect_sora.cli.run import run_command
from prefect_sora.cli.saved import standing, store_named
from prefect_sora.cli.screen import Screen, usd

if TYPE_CHECKING:
    from prefect_sora.renders.inventory.entries import StoreAttempt, StoreEntry

By = Literal["day", "month", "model", "provider", "scope", "kind"]


@dataclass
class Sum:
    """What a group of attempts has cost.

    Attributes:
        paid: How many were charged, or may have been.
        usd: What they cost, as far as their prices are known.
        perhaps_usd: What of it is for failed ones, which their server may not have charged.
        unpriced: How many have no known price.
        in_doubt: How many were sent without an answer, so that nobody knows; not in `paid`.
    """

    paid: int = 0
    usd: float = 0.0
    perhaps_usd: float = 0.0
    unpriced: int = 0
    in_doubt: int = 0

    def add(self, attempt: "StoreAttempt") -> None:
        """Count one."""
        if attempt.state == "reserved" and attempt.paid == "unknown":
            self.in_doubt += 1
        elif attempt.paid != "no":
            self.paid += 1
            self.unpriced += attempt.cost_usd is None
            self.usd = round(self.usd + (attempt.cost_usd or 0.0), 6)
            if attempt.paid == "unknown":
                self.perhaps_usd = round(self.perhaps_usd + (attempt.cost_usd or 0.0), 6)


def costs(*, choice: Choice = CHOICE, by: By = "day", shown: Shown = SHOWN) -> int:
    """Say what a store has paid: all attempts, the failed and the repeated ones, too.

    Args:
        choice: See above.
        by: What the sums are of: days and months are those of UTC in which it was begun.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        begin, store = choice.begin, standing(store_named(choice.store))

        async def found() -> "list[StoreEntry]":
            return [entry async for entry in choice.of(store.folder)]

        entries = signals.run(found)
        groups, total = summed(entries, by, begin or 0.0)
        rows = [{by: name, **asdict(groups[name])} for name in sorted(groups)]
        unread = [entry.folder for entry in entries if entry.state == "unreadable"]
        screen.document(
            {"store": store.name, "costs": rows, "total": asdict(total), "unreadable": unread}
        )
        for folder in unread:
            screen.warn(f"{folder} cannot be read, and is not counted.")
        if not rows:
            screen.result(f"Nothing of this was paid for in the store {choice.store}.")
        elif not screen.shown.json:
            screen.out.print(_table(by, {**{n: groups[n] for n in sorted(groups)}, "all": total}))
        return exits.OK

    return run_command(shown, body, choice.store)


def summed(
    entries: "Iterable[StoreEntry]", by: By, begin: float = 0.0
) -> tuple[dict[str, Sum], Sum]:
    """Sum up what attempts have cost; films and batches are made of renders that count already.

    Args:
        entries: What a store holds.
        by: What the groups are.
        begin: What was begun before is left out, Unix seconds.

    Returns:
        The sums by their group's name, and that of all.
    """
    groups: dict[str, Sum] = {}
    total = Sum()
    for entry in entries:
        for attempt in entry.attempts:
            if attempt.at >= begin and attempt.paid != "no":
                groups.setdefault(_group(entry, attempt, by), Sum()).add(attempt)
                total.add(attempt)
    return groups, total


def _group(entry: "StoreEntry", attempt: "StoreAttempt", by: By) -> str:
    if by in ("day", "month"):
        shape = "%Y-%m-%d" if by == "day" else "%Y-%m"
        return f"{datetime.fromtimestamp(attempt.at, UTC):{shape}}"
    return str(getattr(entry, by) or "")


def _table(by: str, sums: dict[str, Sum]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    columns = (by, "renders paid", "cost", "of it for failed ones", "price unknown", "no answer")
    for column in columns:
        table.add_column(column, justify="left" if column == by else "right", no_wrap=True)
    for name, one in sums.items():
        perhaps = usd(one.perhaps_usd) if one.perhaps_usd else ""
        counts = [str(count or "") for count in (one.unpriced, one.in_doubt)]
        table.add_row(name, str(one.paid), usd(one.usd), perhaps, *counts)
    return table
