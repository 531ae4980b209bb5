"""The local renderer: OpenAI's video protocol on this machine, with real MP4 files.

It is a process of its own with its state in a folder: the server for those who have no account,
and the double that the tests use. Importing this module loads neither codecs nor a web server.
"""

from collections.abc import Callable
from os import PathLike

from prefect_sora.servers.local.launch.address import RendererAddress, ServerRecord, find_running
from prefect_sora.servers.local.launch.on_demand import ensure_running
from prefect_sora.servers.local.launch.options import (
    KEY_VARIABLE,
    ON_DEMAND,
    WEBHOOK_SECRET_VARIABLE,
    DialectName,
    RendererOptions,
)

__all__ = [
    "KEY_VARIABLE",
    "ON_DEMAND",
    "WEBHOOK_SECRET_VARIABLE",
    "DialectName",
    "RendererAddress",
    "RendererOptions",
    "ServerRecord",
    "ensure_running",
    "find_running",
    "serve",
]


def serve(
    folder: str | PathLike[str],
    options: RendererOptions | None = None,
    *,
    announce: Callable[[RendererAddress, bool], None] | None = None,
) -> RendererAddress:
    """Serve `folder` in this process until a signal ends it, or report who already does.

    Args:
        folder: Where its state is kept; made if missing.
        options: How it behaves.
        announce: Called once with the address, and whether another process serves there.

    Returns:
        The address that was served, or that of the renderer that already runs.

    Raises:
        UnavailableError: Another process holds the folder and does not answer, or there is no
            listening on the host and port.
    """
    from prefect_sora.servers.local.process import serve as run

    return run(folder, options or RendererOptions(), announce)
