"""Open renders: which renders of a store are open; reading costs by their number alone.

An attempt is marked before it is reserved, and its marker is removed after the record that
closes it. So a crash between two steps may leave one marker too many, never one too few.
"""

import logging
from collections.abc import Callable, Coroutine, Sequence
from time import monotonic, time
from typing import Any, Final

from prefect_sora.errors import ForeignRecordError, NewerStoreError, StorageError
from prefect_sora.limits import limits
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.backends.concurrency import in_bounds
from prefect_sora.store.backends.walk import folders_and_names, names_starting
from prefect_sora.store.latest_attempt import telling
from prefect_sora.store.open_markers import Marker, Markers
from prefect_sora.store.payments import Cost, Payments, cost_of, periods_of
from prefect_sora.store.reading import Reading, is_render, kinds_of
from prefect_sora.store.records import Failed, RenderState, Reserved
from prefect_sora.store.spending_chain import settle

log = logging.getLogger(__name__)

_FIRST_NAMES: Final = 1000

Left = Callable[[str, StorageError], None]
"""Hears of a render's folder that cannot be read, and why."""

# Stores in which this process has made a reservation, and stores known to be marked.
_entered: set[VideoFolder] = set()
_marked: set[VideoFolder] = set()

# When this process began an attempt: by a clock that never steps, and by the wall clock.
_began: dict[tuple[str, str, int], tuple[float, float]] = {}


class Openings:
    """The open renders of one store, and what its closed renders cost."""

    def __init__(self, records: Reading) -> None:
        self._records, self._store = records, records.store
        self._markers, self._payments = Markers(records.store), Payments(records.store)

    async def begin(self, folder: str, reservation: Reserved) -> None:
        """Mark an attempt that is about to be reserved.

        Raises:
            StorageError: The store refuses, so that nothing may be reserved.
        """
        _began[self._store.root, folder, reservation.attempt] = (monotonic(), time())
        while len(_began) > limits().attempts_remembered:
            del _began[next(iter(_began))]
        if self._store not in _entered:
            await self._enter()
        await self._markers.put(folder, reservation)

    async def begun(self, folder: str, reservation: Reserved, won: bool) -> None:
        """Make sure that the marker stands; remove it where another worker won the reservation."""
        if won:
            await self._mark_again_if_slow(folder, reservation.attempt)
            return
        await self._tried(self._markers.remove(folder, reservation))

    async def accepted(self, folder: str, attempt: int) -> None:
        """Make sure that the marker stands: a sweep may have removed it before a late answer."""
        await self._mark_again_if_slow(folder, attempt)

    async def kept(self, folder: str, attempt: int, cost: Cost, begun: Reserved | None) -> None:
        """Close a render: write down what it cost, and remove its marker."""
        await self._tried(self._kept(folder, attempt, cost, begun))

    async def _kept(
        self, folder: str, attempt: int, cost: Cost, reservation: Reserved | None
    ) -> None:
        _began.pop((self._store.root, folder, attempt), None)
        reservation = reservation or await self._records.reservation(folder, attempt)
        if attempt > 1 or reservation is None:
            await self._close(folder)
            return
        if reservation.request.get("kind") != "existing":
            await self._payments.note(folder, attempt, cost.best_usd, reservation)
            if cost.actual_usd is not None:
                await settle(reservation, cost.actual_usd, self._store)
        await self._markers.remove(folder, reservation)

    async def failed(self, folder: str, record: Failed, reservation: Reserved | None) -> None:
        """Close an attempt: write down what it cost, and remove its marker."""
        await self._tried(self._failed(folder, record, reservation))

    async def _failed(self, folder: str, record: Failed, reservation: Reserved | None) -> None:
        _began.pop((self._store.root, folder, record.attempt), None)
        reservation = reservation or await self._records.reservation(folder, record.attempt)
        if reservation is None:
            return  # the sweep reads more
        if record.video_id and record.paid != "no":
            await self._note(await self._records.among(folder, [record.attempt]))
        # Where an earlier attempt's marker stands, this attempt's marker stays, too: whoever
        # finds the earlier one has to learn that this attempt has failed.
        if record.attempt == 1 or len(await self._markers.of(folder)) <= 1:
            await self._markers.remove(folder, reservation)

    async def marked(self) -> list[str]:
        """List the folders of the renders that are open, or may be."""
        return [*await self._markers.all()]

    async def unfinished(
        self, slug: str | None, *, tidy: bool, left: Left | None
    ) -> list[RenderState]:
        """Find the open renders; `tidy` removes the markers of all others."""
        await self._see_that_all_are_marked(anew=tidy)
        marked = await self._markers.all(slug)

        async def read(folder: str) -> RenderState | None:
            attempts = {marker.attempt for marker in marked[folder]}
            try:
                state = await self._records.among(folder, attempts)
            except StorageError as error:
                if left is None:
                    raise
                left(folder, error)
                return None
            if state and state.is_open:
                return state
            if tidy:
                await self._tried(self._tidy(folder, marked[folder]))
            return None

        states = [state for state in await in_bounds(read, marked) if state]
        return sorted(states, key=lambda state: state.folder)

    async def close(self, folder: str) -> None:
        """Write down what a closed render cost, and remove its markers."""
        await self._tried(self._close(folder))

    async def _close(self, folder: str) -> None:
        if markers := await self._markers.of(folder):
            await self._tidy(folder, markers)

    async def _tidy(self, folder: str, markers: Sequence[Marker]) -> None:
        kinds = kinds_of(await self._store.names(folder))
        # Refused attempts, of which a busy server leaves many, need not be read.
        costly = [n for n, found in kinds.items() if found & {"accepted", "stored"}]
        read = [
            await self._records.among(folder, [n]) for n in sorted({*costly, *sorted(kinds)[-1:]})
        ]
        attempts = [one for one in read if one]
        if attempts and telling(attempts).is_open:
            return
        over = any(one.is_kept for one in attempts)
        closed = {n for n, found in kinds.items() if over or "failed" in found}
        left = [m for m in markers if m.attempt not in closed and not m.is_stale]
        first = min((marker.attempt for marker in left), default=None)
        gone = [m for m in markers if first is None or m.attempt < first]
        videos: set[str] = set()
        for one in attempts:
            # A late answer may have named the video that a later attempt has adopted.
            video_id = one.accepted.job.video_id if one.accepted else ""
            if video_id not in videos or not video_id:
                await self._note(one, attempts)
            videos.add(video_id)
        await self._markers.remove_all(gone)

    async def paid(self, period: str, still_open: Sequence[RenderState]) -> list[float | None]:
        """Read what each attempt of a period cost in USD; None where nobody knows it."""
        if not await self._payments.is_complete():
            await self._note_all()
        paid = await self._payments.of(period)
        for state in still_open:
            cost = cost_of(state)
            if cost.is_paid and period in periods_of(state):
                paid.setdefault((state.folder, state.attempt), cost.best_usd)
        return list(paid.values())

    async def _note(self, state: RenderState | None, all_of_it: Sequence[RenderState] = ()) -> None:
        cost = cost_of(state, all_of_it) if state else Cost(is_paid=False)
        if state is None or not cost.is_paid:
            return
        reserved, periods = state.reserved, periods_of(state)
        await self._payments.note(state.folder, state.attempt, cost.best_usd, reserved, periods)
        if reserved and reserved.charged_to and cost.actual_usd is not None:
            lost: list[int] = []
            if state.accepted and state.accepted.job.adopted:
                before = [
                    o for o in await self._records.attempts(state.folder) if o.name == "reserved"
                ]
                lost = [one.attempt for one in before if one.attempt < state.attempt]
            await settle(reserved, cost.actual_usd, self._store, lost[::-1])

    async def _note_all(self) -> None:
        """Go through all renders of a store that an earlier version began."""
        log.info("What was paid before is counted once: all records of the store are read.")

        async def note(found: tuple[str, list[str]]) -> None:
            folder, names = found
            if is_render(f"{folder}/") and any(n.startswith(("accepted", "stored")) for n in names):
                for state in await self._records.attempts(folder):
                    await self._note(state)

        await in_bounds(note, folders_and_names(self._store))
        await self._payments.complete()

    async def _enter(self) -> None:
        """Write down that a store without renders has nothing unmarked."""
        if await self._markers.looked_at() is None:
            first = await names_starting(self._store, "", at_most=_FIRST_NAMES)
            if len(first) < _FIRST_NAMES and not any(is_render(name) for name in first):
                await self._payments.complete()
                await self._markers.looked(time())
        _entered.add(self._store)

    async def _see_that_all_are_marked(self, *, anew: bool) -> None:
        if self._store in _marked and not anew:
            return
        at, now = await self._markers.looked_at(), time()
        if at is None or (anew and not at <= now < at + limits().look_at_all_seconds):
            await self._mark_all()
            await self._markers.looked(now)
        _marked.add(self._store)

    async def _mark_all(self) -> None:
        """Look at all renders, and mark those that are open and not marked."""
        marked = await self._markers.all()

        async def look(found: tuple[str, list[str]]) -> None:
            folder, names = found
            kinds = kinds_of(names) if is_render(f"{folder}/") else {}
            is_on_its_way = any("accepted" in k and "failed" not in k for k in kinds.values())
            if (
                not kinds
                or any("stored" in found for found in kinds.values())
                or ("failed" in kinds[max(kinds)] and not is_on_its_way)
            ):
                return
            standing = {marker.attempt for marker in marked.get(folder, [])}
            try:
                state = await self._records.state(folder)
                is_open, first = state.is_open, state.attempt
            except (ForeignRecordError, NewerStoreError):
                # Maybe open: whoever reads what is marked tells of it.
                is_open, first = True, min(kinds)
            if is_open and first not in standing:
                for attempt in range(first, max(kinds) + 1):
                    await self._markers.put_again(folder, attempt)

        await in_bounds(look, folders_and_names(self._store))

    async def _mark_again_if_slow(self, folder: str, attempt: int) -> None:
        began, slow_s = _began.get((self._store.root, folder, attempt)), limits().mark_again_seconds
        if began and max(monotonic() - began[0], abs(time() - began[1])) <= slow_s:
            return
        found = [m for m in await self._markers.of(folder) if m.attempt == attempt]
        if not any(time() - marker.begun < slow_s for marker in found):
            await self._markers.put_again(folder, attempt)

    async def _tried(self, work: Coroutine[Any, Any, None]) -> None:
        """Do work that a later sweep would do, too; so its failure is only logged."""
        try:
            await work
        except StorageError as error:
            log.info("A marker that is no longer needed stays for now: %s", error)
