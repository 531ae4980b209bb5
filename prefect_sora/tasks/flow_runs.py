"""Flow runs: what Prefect knows of the run that renders: its scope, its name, who cancelled it."""

import asyncio
import os
from collections.abc import Callable
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.context import TaskRunContext
from prefect.runtime import flow_run as running_flow

from prefect_sora.errors.next_steps import speak_to
from prefect_sora.requests.video import title


async def run_scope() -> str:
    """Name the run that this render belongs to: the root flow run, through all retries."""
    # Reading the chain of parents asks the API, so it goes to a thread.
    root = await asyncio.to_thread(running_flow.get_root_flow_run_id)
    if root:
        return str(root)
    context = TaskRunContext.get()
    return str(context.task_run.id) if context else "none"


def in_a_deployed_run() -> bool:
    """Whether a worker has started this process for a flow run, which can be retried."""
    return "PREFECT__FLOW_RUN_ID" in os.environ


if in_a_deployed_run():
    speak_to("run")


async def by_a_person() -> bool:
    """Say whether somebody cancelled this flow run, or one that it is part of, at Prefect.

    Prefect records this before it stops the process. After a sibling's failure, a time-out or
    Ctrl-C, or when its process is told to end, the run stays Running.
    """
    run_id = UUID(running_flow.id) if running_flow.id else None
    async with get_client() as api:
        while run_id:
            run = await api.read_flow_run(run_id)
            if run.state_type in (StateType.CANCELLING, StateType.CANCELLED):
                return True
            if run.parent_task_run_id is None:
                return False
            run_id = (await api.read_task_run(run.parent_task_run_id)).flow_run_id
    return False


def task_named(step: str, parameter: str) -> Any:
    """Name task runs for the timeline by a parameter: `submit · a red kite over…`."""

    def name(parameters: dict[str, Any]) -> str:
        # Prefect passes what a future came to; its runtime still has the future itself.
        return f"{step} · {_shown(parameters[parameter])}"

    return name


def flow_named(step: str) -> Callable[[], str]:
    """Name flow runs by their prompt, or by the video that they start from."""

    def name() -> str:
        parameters = running_flow.parameters
        return f"{step} · {_shown(parameters.get('prompt') or parameters.get('source'))}"

    return name


def _shown(value: object) -> str:
    named = None if isinstance(value, str) else getattr(value, "title", None)
    return title(str(named or value))
