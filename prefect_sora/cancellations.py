"""Cancellations: whether a person has cancelled a run, which Prefect's API alone can tell."""

from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.runtime import flow_run as running_flow


async def by_a_person() -> bool:
    """Say whether this flow run, or one that it is part of, was cancelled at Prefect.

    Prefect writes that down before it stops the process. A sibling that failed, a time-out
    or Ctrl-C leaves the run Running, as does a process that is told to end.
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
