"""Original server: the server that an unfinished render was sent to, with the credentials for it.

A server's key is sent to that server alone. A server that the environment does not describe is
not guessed.
"""

import asyncio

from prefect_sora.errors import InvalidRequestError
from prefect_sora.renders.environment import (
    LOCAL_FOLDER_VARIABLE,
    Local,
    NamedProvider,
    described,
    local_folder,
)
from prefect_sora.servers.server import Server
from prefect_sora.store.records import RenderState


class Origins:
    """Finds servers by their identity in the records; each is asked for once.

    Args:
        provider: The one to ask; None: those that the environment describes.
    """

    def __init__(self, provider: NamedProvider | None) -> None:
        self._named = provider
        # Loading a block runs a separate event loop, so it must not run within this one.
        self._server = provider.server() if provider and provider.is_saved else None
        self._local = Local(local_folder())
        self._lock = asyncio.Lock()

    async def server_of(self, state: RenderState, *, by_key: bool) -> Server:
        """Find the server of one render.

        Args:
            state: Where the render stands.
            by_key: The render was asked for by its key, so that the named provider is
                tried whatever the record says: the error then says what differs.

        Raises:
            InvalidRequestError: It is another server than we can reach.
        """
        wanted = state.reserved.server if state.reserved else None
        async with self._lock:
            if self._named is not None:
                if self._server is None:
                    self._server = await asyncio.to_thread(self._named.server)
                server = self._server
                if by_key or wanted in (None, server.identity):
                    return server
                raise _elsewhere(state)
            if wanted is not None and wanted == self._local.identity:
                return await asyncio.to_thread(self._local.server)
        for candidate in described():
            if candidate.server().identity == wanted:
                return candidate.server()
        raise _elsewhere(state)


def _elsewhere(state: RenderState) -> InvalidRequestError:
    wanted = state.reserved.server if state.reserved else ""
    if wanted.startswith("local:"):
        message = "It was sent to a local renderer of another folder."
        step = f"Set {LOCAL_FOLDER_VARIABLE} to that folder."
    elif wanted:
        message = f"It was sent to {wanted}, which nothing here describes."
        step = (
            "Name it with --provider, or set OPENAI_BASE_URL and OPENAI_API_KEY, or the "
            "AZURE_OPENAI variables."
        )
    else:
        message, step = "Its record does not say where it was sent.", "Name it with --provider."
    accepted = state.accepted
    return InvalidRequestError(
        message,
        key=state.key,
        video_id=accepted.job.video_id if accepted else None,
        paid="yes" if accepted else "unknown",
        next_step=step,
    )
