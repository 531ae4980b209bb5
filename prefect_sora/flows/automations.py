"""Automations: deployed runs that crashed start again by themselves, up to a bound.

A Prefect server without them never notices that a worker and its runs are gone. They apply
to runs with one tag, which deployments hand down to their runs:

silent     A run that no longer tells that it lives has crashed: its worker cannot say so.
crashed    A run that crashed is scheduled again. The number of its runs is the bound.
too often  A run that dies each time before its flow begins is not counted as a run. So
           there is another bound: how often it was scheduled again.

On SQLite, Prefect 3.8 gives up a trigger that has to read before it writes where another
writer comes in between. So what must not be missed is triggered by a single event.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Literal

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

TAG: Final = "prefect-sora"
"""What marks the deployments that are looked after, where no other is named."""

HEARTBEAT: Final = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
"""The setting of a flow's process that says how often it tells that it lives, in seconds."""

SHORTEST_HEARTBEAT_SECONDS: Final = 30
"""Prefect's own minimum."""

# A second run is Rerunning, or Retrying.
_RUNNING: Final = {f"prefect.flow-run.{name}" for name in ("Running", "Rerunning", "Retrying")}
# After these states, a run is rightly silent.
_ENDED: Final = ("Completed", "Failed", "TimedOut", "Cancelled", "Cancelling")
_WAITS: Final = ("Paused", "Suspended", "AwaitingRetry", "Scheduled")
_SILENT: Final = {f"prefect.flow-run.{name}" for name in (*_ENDED, *_WAITS)}
_AGAIN: Final = "It crashed, and is run again."
_PAGE: Final = 200

Change = Literal["created", "updated", "unchanged", "removed"]
Beat = Literal["set", "stands already", "not settable here"]


@dataclass
class Installed:
    """What stands on the server now.

    Attributes:
        automations: What was done to each, by name.
        deployments: Whether each one's processes tell often enough that they live, by name.
        sweeps: Those of the deployments that run the flow `sweep`.
    """

    automations: dict[str, Change] = field(default_factory=dict)
    deployments: dict[str, Beat] = field(default_factory=dict)
    sweeps: list[str] = field(default_factory=list)


def automations(tag: str, runs: int, heartbeat_seconds: int) -> list[AutomationCore]:
    """Describe the automations: after this many runs of a flow run, a crash is its end."""
    alive = {*_RUNNING, "prefect.flow-run.heartbeat"}
    silence = timedelta(seconds=2 * heartbeat_seconds)
    return [
        _automation(
            f"{tag}: a silent run has crashed",
            f"Its process tells every {heartbeat_seconds} s that it lives.",
            _trigger(
                tag, after=alive, expect=alive | _SILENT, posture=Posture.Proactive, within=silence
            ),
            StateType.CRASHED,
            None,
            f"Nothing was heard of it for {silence.seconds} s.",
        ),
        _automation(
            f"{tag}: a crashed run goes on",
            f"At most {runs} runs in all.",
            _trigger(
                tag,
                {"prefect.run-count": [f"{n}" for n in range(runs)]},
                expect={"prefect.flow-run.Crashed"},
            ),
            StateType.SCHEDULED,
            "AwaitingRetry",
            _AGAIN,
        ),
        _automation(
            f"{tag}: a run that crashed too often stays so",
            "It dies before its flow begins.",
            _trigger(
                tag,
                {"prefect.state-message": _AGAIN},
                expect={"prefect.flow-run.AwaitingRetry"},
                # A worker of processes reports each crash twice, the second time about a
                # second later. That undoes what was scheduled in between.
                threshold=2 * runs,
                within=timedelta(days=1),
            ),
            StateType.CRASHED,
            "Crashed too often",
            "It crashed each time before its flow began.",
        ),
    ]


async def install(
    api: PrefectClient, *, tag: str = TAG, runs: int = 4, heartbeat_seconds: int = 30
) -> Installed:
    """Set all automations up, or bring them up to date; doing it again changes nothing.

    Args:
        api: The Prefect server.
        tag: Whose runs: those of deployments with this tag.
        runs: How often a flow run is run in all before a crash is its end.
        heartbeat_seconds: How often its process tells that it lives.
    """
    done = Installed()
    for wanted in automations(tag, runs, heartbeat_seconds):
        standing = await api.read_automations_by_name(wanted.name)
        for extra in standing[1:]:
            await api.delete_automation(extra.id)
        if not standing:
            await api.create_automation(wanted)
            done.automations[wanted.name] = "created"
        elif _same(standing[0], wanted):
            done.automations[wanted.name] = "unchanged"
        else:
            await api.update_automation(standing[0].id, wanted)
            done.automations[wanted.name] = "updated"
    async for deployment, flow in _deployments(api, tag):
        name = f"{flow}/{deployment.name}"
        done.deployments[name] = await _beat(api, deployment, heartbeat_seconds)
        if flow == "sweep":
            done.sweeps.append(name)
    return done


async def remove(api: PrefectClient, *, tag: str = TAG) -> Installed:
    """Remove the automations; how often processes tell that they live stays as it is."""
    done = Installed()
    for each in automations(tag, 2, SHORTEST_HEARTBEAT_SECONDS):
        for standing in await api.read_automations_by_name(each.name):
            await api.delete_automation(standing.id)
            done.automations[each.name] = "removed"
    return done


async def _deployments(
    api: PrefectClient, tag: str
) -> AsyncIterator[tuple[DeploymentResponse, str]]:
    """Read all deployments with the tag, page by page, each with the name of its flow."""
    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[tag]))
    offset = 0
    while page := await api.read_deployments(deployment_filter=tagged, limit=_PAGE, offset=offset):
        for deployment in page:
            yield deployment, (await api.read_flow(deployment.flow_id)).name
        offset += len(page)


async def _beat(api: PrefectClient, deployment: DeploymentResponse, seconds: int) -> Beat:
    """Have a deployment's processes tell often enough that they live, where it can say so."""
    variables = dict(deployment.job_variables or {})
    env = variables.get("env") or {}
    if str(env.get(HEARTBEAT)) == f"{seconds}":
        return "stands already"
    if deployment.work_pool_name is None or not isinstance(env, dict):
        return "not settable here"
    pool = await api.read_work_pool(deployment.work_pool_name)
    known = pool.base_job_template.get("variables", {}).get("properties", {})
    if "env" not in known:
        return "not settable here"
    variables["env"] = {**env, HEARTBEAT: f"{seconds}"}
    await api.update_deployment(deployment.id, DeploymentUpdate(job_variables=variables))
    return "set"


def _trigger(tag: str, labels: dict[str, Any] | None = None, **fields: Any) -> EventTrigger:
    return EventTrigger(
        match=ResourceSpecification(
            {"prefect.resource.id": "prefect.flow-run.*", **(labels or {})}
        ),
        match_related=ResourceSpecification(
            {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{tag}"}
        ),
        for_each={"prefect.resource.id"},
        **{"posture": Posture.Reactive, "threshold": 1, **fields},
    )


def _automation(
    name: str, why: str, trigger: EventTrigger, state: StateType, state_name: str | None, said: str
) -> AutomationCore:
    made = AutomationCore(
        name=name,
        description=f"{why} Set up by `prefect-sora automate`.",
        enabled=True,
        trigger=trigger,
        actions=[ChangeFlowRunState(state=state, name=state_name, message=said)],
    )
    # An update sends only fields that were set, so the kind of a trigger has to be set. It
    # refuses an owner, even none.
    return AutomationCore.model_validate(made.model_dump(mode="json", exclude={"owner_resource"}))


def _same(standing: AutomationCore, wanted: AutomationCore) -> bool:
    return bool(_plain(standing) == _plain(wanted))


def _plain(automation: AutomationCore) -> Any:
    """What decides what an automation does; sets have no order, and the server adds ids."""
    trigger = automation.trigger.model_dump(mode="json", exclude={"id"})
    actions = [action.model_dump(mode="json") for action in automation.actions]
    return automation.enabled, automation.description, _sorted(trigger), _sorted(actions)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(each) for name, each in value.items()}
    return sorted(map(repr, map(_sorted, value))) if isinstance(value, list) else value
