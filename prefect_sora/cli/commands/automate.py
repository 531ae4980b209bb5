"""`prefect-sora automate`: have deployed runs come back by themselves after a crash."""

import asyncio
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter, validators

from prefect_sora.cli import exits, prefect_start
from prefect_sora.cli.options import SHOWN, Flag, Shown
from prefect_sora.cli.run import run_command
from prefect_sora.cli.screen import Screen
from prefect_sora.errors import InvalidRequestError

if TYPE_CHECKING:
    from prefect_sora.flows.automations import Installed

_CONSOLE_LEVEL: Final = "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"


def automate(
    *,
    tag: str = "prefect-sora",
    runs: Annotated[int, Parameter(validator=validators.Number(gte=2))] = 4,
    heartbeat: Annotated[int, Parameter(validator=validators.Number(gte=30))] = 30,
    remove: Flag = False,
    shown: Shown = SHOWN,
) -> int:
    """Have deployed runs that crashed come back by themselves, without paying again.

    Sets up automations on the Prefect server that PREFECT_API_URL or the profile names, for
    runs of deployments with the tag; doing it again brings them up to date.

    Args:
        tag: Deployments with this tag are looked after, and no others.
        runs: How often a flow run is run in all before a crash is its end.
        heartbeat: Seconds between two signs of life of a flow's process.
        remove: Take the automations away.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        if not screen.shown.debug:
            os.environ.setdefault(_CONSOLE_LEVEL, "CRITICAL")
        done = asyncio.run(_work(tag, runs, heartbeat, remove))
        screen.document({"tag": tag, **asdict(done)})
        if remove:
            screen.result(f"{len(done.automations)} automations removed.")
        else:
            _tell(screen, done, tag, heartbeat)
        return exits.OK

    return run_command(shown, body)


async def _work(tag: str, runs: int, heartbeat: int, remove: bool) -> "Installed":
    if not prefect_start.is_configured():
        raise InvalidRequestError(
            "automate needs a Prefect server that goes on running, and none is named.",
            next_step="Set PREFECT_API_URL, such as to http://127.0.0.1:4200/api.",
        )
    from prefect import get_client

    from prefect_sora.flows import automations

    async with get_client() as api:
        if remove:
            return await automations.remove(api, tag=tag)
        return await automations.install(api, tag=tag, runs=runs, heartbeat_seconds=heartbeat)


def _tell(screen: Screen, done: "Installed", tag: str, heartbeat: int) -> None:
    from prefect_sora.flows.automations import HEARTBEAT

    for name, change in done.automations.items():
        screen.result(f"✓ {name}: {change}", style="green")
    for name, beat in done.deployments.items():
        screen.result(f"  {name}: {HEARTBEAT}={heartbeat} {beat}")
    if "not settable here" in done.deployments.values():
        screen.warn(
            f"Set {HEARTBEAT}={heartbeat} in the environment of the processes that run the "
            "deployments marked so: without it, runs that are well are taken for crashed."
        )
    if "set" in done.deployments.values():
        screen.note(
            "What was set holds until the next `prefect deploy`: write it into prefect.yaml, "
            "as job_variables of the work_pool, to have it for good."
        )
    if not done.deployments:
        screen.warn(f"No deployment has the tag {tag}: give it to those that are to come back.")
    if not done.sweeps:
        screen.warn(
            "No deployment with the tag runs the flow prefect_sora.flows.sweep, which brings home "
            "what no run comes back for: docs/recovery.md says how."
        )
