"""Earlier: what a scope has begun or kept already, found by the records alone."""

from prefect_sora.renders.submit.prepare import load_reference, prepared_of
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.server import Server
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import RenderState


async def earlier(
    request: VideoRequest, server: Server, scope: str, ledger: Ledger
) -> RenderState | None:
    """Read where the render of a request stands that this scope has; None where it has none.

    Raises:
        SoraError: Its picture cannot be loaded, or the store cannot be read.
    """
    reference = await load_reference(request)
    state = await ledger.state(prepared_of(request, server, scope, reference).folder)
    return state if state.reserved else None
