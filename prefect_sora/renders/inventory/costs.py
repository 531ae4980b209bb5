"""Costs: what a store has paid, every attempt of a render counted, by day or otherwise.

Films and batches are made of renders that count already.
"""

from collections.abc import AsyncIterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from prefect_sora.renders.inventory.entries import StoreAttempt, StoreEntry
from prefect_sora.renders.inventory.inventory import HasFolder, iterate_store
from prefect_sora.store.backends import VideoFolder

By = Literal["day", "month", "model", "provider", "scope", "kind"]


class Sum(BaseModel):
    """What a group of attempts has cost, in USD."""

    paid: int = Field(default=0, description="How many were charged, or may have been.")
    estimated_usd: float = Field(
        default=0.0, description="By their servers' prices, as far as these are known."
    )
    actual_usd: float = Field(default=0.0, description="By their servers' word, where they say it.")
    told: int = Field(default=0, description="Of how many the server says what it cost.")
    usd: float = Field(
        default=0.0, description="By the server's word, where it is there, else by its prices."
    )
    perhaps_usd: float = Field(
        default=0.0,
        description="What of `usd` is for failed ones, which their server may not have charged.",
    )
    unpriced: int = Field(default=0, description="How many count 0 in `usd`: nobody knows more.")
    in_doubt: int = Field(
        default=0, description="How many were sent without an answer; they are not in `paid`."
    )

    def add(self, attempt: StoreAttempt) -> None:
        """Count one."""
        if attempt.state == "reserved" and attempt.paid == "unknown":
            self.in_doubt += 1
        elif attempt.paid != "no":
            usd = attempt.cost_usd if attempt.actual_usd is None else attempt.actual_usd
            self.paid += 1
            self.told += attempt.actual_usd is not None
            self.unpriced += usd is None
            self.estimated_usd = round(self.estimated_usd + (attempt.cost_usd or 0.0), 6)
            self.actual_usd = round(self.actual_usd + (attempt.actual_usd or 0.0), 6)
            self.usd = round(self.usd + (usd or 0.0), 6)
            if attempt.paid == "unknown":
                self.perhaps_usd = round(self.perhaps_usd + (usd or 0.0), 6)


class StoreCosts(BaseModel):
    """What a store has paid."""

    by: By
    groups: dict[str, Sum] = Field(default={}, description="By the groups' names, in their order.")
    total: Sum = Sum()
    unreadable: tuple[str, ...] = Field(
        default=(), description="Folders that cannot be read, and are not counted."
    )


async def store_costs(
    store: HasFolder | VideoFolder | str | Path, by: By = "day", *, since: float = 0.0
) -> StoreCosts:
    """Sum up what a store has paid: all attempts, the failed and the repeated ones, too.

    Args:
        store: A `VideoStore`, a folder, or a URL that fsspec opens.
        by: What the sums are of; days and months are those of UTC in which an attempt was begun.
        since: What was begun before is left out, Unix seconds.

    Raises:
        StorageError: The store cannot be listed.
    """
    return await summed(iterate_store(store), by, since)


async def summed(entries: AsyncIterable[StoreEntry], by: By, since: float = 0.0) -> StoreCosts:
    """Sum up what the attempts of some entries have cost, as `store_costs` does."""
    groups: dict[str, Sum] = {}
    total, unreadable = Sum(), []
    async for entry in entries:
        if entry.state == "unreadable":
            unreadable.append(entry.folder)
        for attempt in entry.attempts:
            if attempt.at >= since and attempt.paid != "no":
                groups.setdefault(_group(entry, attempt, by), Sum()).add(attempt)
                total.add(attempt)
    in_order = {name: groups[name] for name in sorted(groups)}
    return StoreCosts(by=by, groups=in_order, total=total, unreadable=tuple(unreadable))


def _group(entry: StoreEntry, attempt: StoreAttempt, by: By) -> str:
    if by in ("day", "month"):
        shape = "%Y-%m-%d" if by == "day" else "%Y-%m"
        return f"{datetime.fromtimestamp(attempt.at, UTC):{shape}}"
    return str(getattr(entry, by) or "")
