"""`prefect-sora webhooks`: servers tell of their jobs' ends, and the videos come home at once."""

import asyncio
import socket
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter, validators

from prefect_sora.cli import exits, redaction, signals
from prefect_sora.cli.options import SHOWN, STORE, Shown, Whole
from prefect_sora.cli.run import chosen, run_command
from prefect_sora.cli.saved import store_named
from prefect_sora.cli.screen import Screen
from prefect_sora.errors import UnavailableError

if TYPE_CHECKING:
    from prefect_sora.renders.recovery.webhooks.receiver import WebhookReceiver

PORT: Final = 8750
"""Where it listens unless told otherwise. Ours."""


def webhooks(
    *stores: str,
    provider: Annotated[list[str] | None, Parameter(negative="")] = None,
    host: str = "127.0.0.1",
    port: Annotated[Whole, Parameter(validator=validators.Number(gte=0, lte=65535))] = PORT,
    shown: Shown = SHOWN,
) -> int:
    """Receive webhooks until Ctrl-C: what a server has finished is brought into its store.

    PREFECT_SORA_WEBHOOK_SECRET, or a block's webhook_secret, is what the server signs with; while
    it is replaced, the old and the new one with a space between.

    Args:
        stores: Where renders are kept, as --store takes it; without any ./renders.
        provider: Who sends, as other commands take it; given again, another one besides.
        host: Where to listen: for this machine alone, unless told otherwise.
        port: The same; 0 takes any that is free.
        shown: See above.
    """
    named = [*stores] or [STORE]

    def body(screen: Screen) -> int:
        folders = [store_named(name).folder for name in named]
        names: list[str | None] = [*provider] if provider else [None]
        servers = [chosen(name).server() for name in names]
        for server in servers:
            for secret in server.webhooks.secrets if server.webhooks else ():
                redaction.hide(secret.get_secret_value())

        async def served() -> None:
            from prefect_sora.renders.recovery.webhooks.receiver import WebhookReceiver
            from prefect_sora.servers.protocol.detect import recognised

            known = [await recognised(server) for server in servers]
            await _serve(WebhookReceiver(folders, known, kept=screen.kept), host, port, screen)

        try:
            signals.run(served)
        except signals.InterruptedBySignal:
            screen.note("Stopped. What is rendered is still waited for by those who asked for it.")
        return exits.OK

    return run_command(shown, body, named[0], provider[0] if provider else None)


async def _serve(receiver: "WebhookReceiver", host: str, port: int, screen: Screen) -> None:
    """Serve until cancelled.

    Raises:
        UnavailableError: There is no listening there.
    """
    import uvicorn

    from prefect_sora.limits import limits

    await receiver.start()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
        except OSError as error:
            raise UnavailableError(
                f"Cannot listen on {host}:{port}: {error.strerror or error}.",
                never_sent=True,
                next_step="Name another with --host or --port; 0 takes any free port.",
            ) from None
        config = uvicorn.Config(
            receiver,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=limits().webhooks_at_once,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        at = f"[{host}]" if ":" in host else host
        url = f"http://{at}:{listener.getsockname()[1]}/webhooks"
        screen.document({"url": url})
        screen.result(f"Webhooks are received at {url}")
        screen.note("Ctrl-C stops it.")
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await asyncio.shield(serving)
        finally:
            server.should_exit = True
            await serving
            await receiver.close()
