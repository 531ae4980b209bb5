"""Within: a batch is planned within its budget, with what its scope has begun already."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from prefect_sora.errors import BudgetExceededError, SoraError
from prefect_sora.renders.batches.plan import Plan, plan
from prefect_sora.renders.submit.earlier import earlier
from prefect_sora.requests.table import Row
from prefect_sora.servers.server import Server
from prefect_sora.store.ledger import Ledger


async def plan_within(
    rows: Sequence[Row], server: Server, scope: str, ledger: Ledger, **how: Any
) -> Plan:
    """Plan a batch as `plan` does; what its scope has begun or kept costs nothing again.

    Args:
        rows: As in `plan`, and so is the rest.
        server: The same.
        scope: Whom its renders are shared with.
        ledger: The store's records, which are read only where the budget would not do.
        how: What else `plan` takes.

    Raises:
        SoraError: As `plan` says.
    """
    try:
        return plan(rows, server, **how)
    except BudgetExceededError:
        begun = set()
        for row in rows:
            with suppress(SoraError):  # which is told when it is rendered
                state = row.request and await earlier(row.request, server, scope, ledger)
                if state and (state.is_kept or state.is_on_its_way):
                    begun.add(row.number)
        if not begun:
            raise
        return plan(rows, server, **how, begun=begun)
