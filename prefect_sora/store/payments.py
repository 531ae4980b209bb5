"""Payments: empty files whose names tell what was paid in each period outside of any budget.

```text
<store>/.paid/day-2026-11-21/<folder>~<attempt>~0.800000   made when the attempt is closed
<store>/.paid/run-<hash of the scope>/…                    the same of one run
<store>/.paid/complete.json                                no closed attempt is missing
```

A new budget reads the names of its period. Open attempts have no file here, and attempts that a
budget counts already need none.
"""

import asyncio
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel

from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.records import SCHEMA, Failed, RenderState, Reserved, read_record

FOLDER: Final = ".paid"

_COMPLETE: Final = f"{FOLDER}/complete.json"
_UNKNOWN: Final = "unknown"
_COST: Final = re.compile(rf"\d+\.\d+|{_UNKNOWN}")


def run_of(scope: str) -> str:
    """Name the period of all renders that share a scope."""
    return f"run-{hashlib.sha256(scope.encode()).hexdigest()[:16]}"


def day_of(at: float) -> str:
    """Name the UTC day of a moment, in Unix seconds."""
    return f"day-{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


def periods_of(state: RenderState) -> set[str]:
    """Name the periods that an attempt falls into, as far as its records tell."""
    if state.reserved:
        return {run_of(state.reserved.scope), day_of(state.reserved.at)}
    return {day_of(state.accepted.at)} if state.accepted else set()


@dataclass(frozen=True)
class Cost:
    """What an attempt cost.

    Attributes:
        is_paid: Whether it was paid for, or may have been.
        usd: Estimated, by its server's prices, in USD; None where these are not known.
        actual_usd: What the server says, in USD; None where it does not say.
    """

    is_paid: bool
    usd: float | None = None
    actual_usd: float | None = None

    @property
    def best_usd(self) -> float | None:
        """The server's word, else the estimate."""
        return self.usd if self.actual_usd is None else self.actual_usd


def cost_of(state: RenderState, all_of_it: Iterable[RenderState] = ()) -> Cost:
    """Say what an attempt cost, from its records: how it ended, not how it was accepted.

    Args:
        state: The attempt.
        all_of_it: All attempts of the render: another may have adopted, and ended, the same job.
    """
    if state.pictures:
        return Cost(True, state.pictures.image.cost_usd, state.pictures.image.actual_usd)
    accepted, stored, failed = state.accepted, state.stored, state.failed
    if accepted is None or accepted.job.kind == "existing" or (failed and failed.paid == "no"):
        return Cost(False)
    job = accepted.job
    told: list[VideoJob | StoredVideo | Failed] = []
    for one in (state, *all_of_it):
        end = one.stored.video if one.stored else one.failed
        if end and one.accepted and one.accepted.job.video_id == job.video_id:
            told.append(end)
    actual = [one.actual_usd for one in told or [job] if one.actual_usd is not None]
    # In records of earlier versions only the kept video has the price.
    usd = stored.video.cost_usd if job.cost_usd is None and stored else job.cost_usd
    return Cost(True, usd, actual[0] if actual else None)


class Payments:
    """What a store has paid for."""

    def __init__(self, store: VideoFolder) -> None:
        self._store = store

    async def note(
        self,
        folder: str,
        attempt: int,
        usd: float | None,
        reservation: Reserved | None,
        periods: set[str] | None = None,
    ) -> None:
        """Write down what a closed attempt cost, for the periods whose budgets do not count it.

        Args:
            folder: The render's.
            attempt: Which attempt.
            usd: Its cost; None where that is not known.
            reservation: Its reservation, which says what budgets count it.
            periods: What it counts for; None: the run and the day of its reservation.

        Raises:
            StorageError: The store refuses.
        """
        if usd == 0:
            return
        if periods is None and reservation:
            periods = {run_of(reservation.scope), day_of(reservation.at)}
        cost = _UNKNOWN if usd is None else f"{usd:.6f}"
        charged = reservation.charged_to if reservation else ()
        await asyncio.gather(
            *(
                self._store.put(f"{FOLDER}/{period}/{folder}~{attempt}~{cost}", b"")
                for period in sorted((periods or set()) - set(charged))
            )
        )

    async def of(self, period: str) -> dict[tuple[str, int], float | None]:
        """Read what a period has paid: USD by the render's folder and attempt.

        Raises:
            StorageError: The store refuses.
        """
        paid: dict[tuple[str, int], float | None] = {}
        for name in await self._store.names(f"{FOLDER}/{period}"):
            folder, attempt, cost = (*name.split("~"), "", "")[:3]
            if attempt.isdigit() and _COST.fullmatch(cost):
                usd = None if cost == _UNKNOWN else float(cost)
                known = paid.get((folder, int(attempt)))
                paid[folder, int(attempt)] = known if usd is None else usd
        return paid

    async def is_complete(self) -> bool:
        """Whether every closed attempt is among the names."""
        name = _COMPLETE
        return read_record(_Complete, await self._store.read(name), name) is not None

    async def complete(self) -> None:
        """Write down that every closed attempt is among the names."""
        await self._store.put(_COMPLETE, _Complete().model_dump_json().encode())


class _Complete(BaseModel):
    schema_version: int = SCHEMA
