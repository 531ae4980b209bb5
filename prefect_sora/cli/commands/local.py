"""`prefect-sora local`: the renderer of this machine, in the foreground."""

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from prefect_sora.cli import exits
from prefect_sora.cli.options import SHOWN, Flag, Shown
from prefect_sora.cli.run import run_command
from prefect_sora.cli.screen import Screen
from prefect_sora.errors import InvalidRequestError
from prefect_sora.renders.environment import local_folder
from prefect_sora.servers.local import (
    KEY_VARIABLE,
    WEBHOOK_SECRET_VARIABLE,
    DialectName,
    RendererAddress,
    RendererOptions,
    serve,
)
from prefect_sora.servers.local.launch.options import SIGNING
from prefect_sora.servers.profiles import HOSTED


def local(
    *,
    folder: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    speed: float | None = None,
    min_render_seconds: float = 0.0,
    parallel: int = 2,
    ttl: float | None = None,
    idle_exit: float | None = None,
    poll_after_ms: int = 200,
    dialect: DialectName = "openai",
    models: str | None = None,
    cloud: Flag = False,
    webhook: str | None = None,
    webhook_secret: str | None = None,
    idempotency: Flag = False,
    control: Annotated[bool, Parameter(negative="", show=False)] = False,
    faults: Annotated[str | None, Parameter(show=False)] = None,
    shown: Shown = SHOWN,
) -> int:
    """Run the local renderer until Ctrl-C: OpenAI's video protocol with real MP4 files.

    PREFECT_SORA_LOCAL_KEY sets a key that its clients must send, and
    PREFECT_SORA_LOCAL_WEBHOOK_SECRET what its webhooks are signed with.

    Args:
        folder: Where its jobs are kept; PREFECT_SORA_LOCAL_FOLDER or ~/.prefect-sora/renderer.
        host: Where to listen.
        port: 0 takes the folder's last port if it is free, else any.
        speed: Simulated pace: a job takes ten times its seconds, divided by this.
        min_render_seconds: No job takes less.
        parallel: Jobs rendered at once.
        ttl: Seconds from a job's end until its video is forgotten; its dialect's way without it.
        idle_exit: Seconds without work after which it ends.
        poll_after_ms: Advice to pollers; 0 gives none.
        dialect: Which server it behaves like.
        models: Names of the models it serves, with commas; else the dialect's own.
        cloud: Finished videos lie at URLs of their own, as in SGLang's cloud storage mode, or
            where OpenRouter has kept a copy.
        webhook: A URL to tell of each job's end, as OpenAI and OpenRouter do.
        webhook_secret: What that is signed with: whsec_ and base64, or for openrouter any word.
        idempotency: Honour a repeated Idempotency-Key.
        control: For tests: /faults, /requests and /reset.
        faults: For tests: scripted faults, as JSON or a file of it.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        if webhook and dialect not in SIGNING:
            raise InvalidRequestError(
                f"The server that {dialect} is like sends no webhooks.",
                next_step=f"Those that do: {', '.join(SIGNING)}.",
            )
        options = RendererOptions(
            host=host,
            port=port,
            speed=speed,
            min_render_seconds=min_render_seconds,
            parallel=parallel,
            ttl=ttl,
            idle_exit=idle_exit,
            poll_after_ms=poll_after_ms,
            dialect=dialect,
            models=models,
            cloud=cloud,
            webhook=webhook,
            webhook_secret=webhook_secret or os.environ.get(WEBHOOK_SECRET_VARIABLE) or None,
            idempotency=idempotency,
            control=control,
            faults=faults,
            api_key=os.environ.get(KEY_VARIABLE) or None,
        )

        def announce(address: RendererAddress, already: bool) -> None:
            _announce(screen, address, already, options)

        serve(folder or local_folder(), options, announce=announce)
        return exits.OK

    return run_command(shown, body)


def _announce(
    screen: Screen, address: RendererAddress, already: bool, options: RendererOptions
) -> None:
    screen.document({"base_url": address.base_url, "pid": address.pid, "already": already})
    verb = "already runs" if already else "answers"
    screen.result(f"The local renderer {verb} at {address.base_url} (pid {address.pid})")
    like = HOSTED.get(options.dialect)
    key = str(like.key_variable) if like else "OPENAI_API_KEY"
    screen.note(f"Point any client of {like.name if like else 'OpenAI'}'s video protocol at it:")
    value = f"${KEY_VARIABLE}" if options.api_key else "none"
    screen.note(f"  export {key.replace('_API_KEY', '_BASE_URL')}={address.base_url} {key}={value}")
    named = f" --provider {like.name} --model MODEL" if like else ""
    screen.note(f'  prefect-sora render "a red kite over a park"{named}')
    if not already:
        screen.note("Ctrl-C stops it.")
