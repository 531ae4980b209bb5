"""Charging: what one call has charged to its budgets, carried on from attempt to attempt.

An attempt that a server refused for the moment is closed, and its charge stands for the one
that follows. To take it back and charge anew each time would cost hundreds of requests to the
store for nothing. Where nobody follows it is taken back, by the next run at the latest.
"""

import logging
from collections.abc import Awaitable, Callable

from prefect_sora.budgets import Budget
from prefect_sora.errors import StorageError
from prefect_sora.identity import new_owner
from prefect_sora.ledger import Ledger
from prefect_sora.records import Reserved
from prefect_sora.shielding import to_its_end
from prefect_sora.spending import take_back

log = logging.getLogger(__name__)


class Charges:
    """The charge of one render, made by one call."""

    def __init__(self, folder: str, ledger: Ledger, budget: Budget | None) -> None:
        self.folder, self.ledger, self.budget = folder, ledger, budget
        self._standing: Reserved | None = None

    def written(self, mine: Reserved) -> Reserved:
        """Add to a reservation what it is charged to, and whose charge it takes over.

        It takes over none but that of the attempt right before it, which is ours: whoever
        begins one between may have taken that charge back.
        """
        if self.budget is None:
            return mine
        limits = self.budget.limits(mine)
        last = self._standing
        follows = last is not None and last.attempt + 1 == mine.attempt
        carried = last.charged_as if last and follows and {*last.charged_to} == {*limits} else None
        update = {"charged_to": (*limits,), "limits_usd": (*limits.values(),)}
        return mine.model_copy(update={**update, "charged_attempt": carried})

    async def make(
        self, mine: Reserved, charge: Callable[[Reserved, Budget], Awaitable[None]]
    ) -> None:
        """Charge an attempt, unless it has taken a charge over.

        Raises:
            SoraError: As `budgets.charge` says; it is not charged.
        """
        if self.budget is None:
            return
        if mine.charged_attempt is None:
            await self.let_go()
            await charge(mine, self.budget)
        self._standing = mine

    def settled(self) -> None:
        """Take note that the charge is owed, or in doubt, or taken back already."""
        self._standing = None

    async def let_go(self) -> None:
        """Take back the charge of an attempt that is closed unpaid, whatever ends the caller."""
        mine, self._standing = self._standing, None
        if mine is not None:
            # A token of its own: a request of the same reservation may still be under way.
            alone = mine.model_copy(update={"owner": new_owner()})
            await to_its_end(alone, self._taken_back(mine))

    async def _taken_back(self, mine: Reserved) -> None:
        try:
            closed = await self.ledger.closed(self.folder, mine.attempt)
        except StorageError as error:
            log.warning("The charge of render %s still counts: %s", mine.key, error)
            return
        if closed and closed.paid == "no":
            await take_back(mine, self.ledger.store)
