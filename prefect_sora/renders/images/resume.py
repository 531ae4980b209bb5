"""Resume: carry an unfinished image render home, from its records alone."""

from prefect_sora.errors import InvalidRequestError, SoraError
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.handles import StoredImage
from prefect_sora.renders.images.keep import bring_home, uncertain
from prefect_sora.renders.images.prepare import prepare_again
from prefect_sora.renders.images.submit import draw
from prefect_sora.renders.submit.options import Budget, RenderOptions, budget_of
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import RenderState


async def resume(
    state: RenderState,
    client: VideoClient,
    ledger: Ledger,
    *,
    resubmit: bool = False,
    budget: Budget | None = None,
) -> StoredImage:
    """Bring one image render home; nothing is paid unless `resubmit` says so.

    `budget` is what may be spent on that, in place of what the records say it was sent under.

    Raises:
        BudgetExceededError: The budget does not allow to pay again; nothing was sent.
        UncertainSubmitError: Nobody can tell whether it was drawn.
        RenderFailedError: It was refused or failed.
        SoraError: As `draw` says.
    """
    with ledger.about(state.key):
        if home := await bring_home(state, client, ledger):
            return home
        if state.reserved is None:
            raise InvalidRequestError(
                "The store holds no readable record of this render.",
                paid="unknown",
                next_step=NextStep("again"),
            )
        if state.reserved.server != client.server.identity:
            raise InvalidRequestError(
                f"It was sent to {state.reserved.provider}, not to {client.server.label}.",
                paid=state.failed.paid if state.failed else "unknown",
                next_step="Name that server with --provider.",
            )
        if not resubmit:
            raise state.failed.error() if state.failed else uncertain(state.key)
        prepared = await prepare_again(state.reserved, client)
        allowed = budget_of(state.reserved, budget)
    options = RenderOptions(prepared.scope, in_doubt="resubmit", budget=allowed)
    try:
        return await draw(prepared, client, ledger, options)
    except SoraError as error:
        if error.paid == "no":  # this time; what was sent before may have cost something
            error.about(paid=state.failed.paid if state.failed else "unknown")
        raise
