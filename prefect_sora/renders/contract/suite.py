"""Suite: all behaviours in their order, what they will cost, and how they are tried in turn."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from prefect_sora.errors import SoraError
from prefect_sora.renders.contract import accepted_jobs, creating, failing_jobs
from prefect_sora.renders.contract.trial import (
    BrokenError,
    CountingClient,
    Finding,
    Provoke,
    Trial,
    UntriedError,
    Verdict,
)
from prefect_sora.renders.finish.options import WaitOptions
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers import video_models
from prefect_sora.servers.server import Server
from prefect_sora.servers.video_prices import total_usd
from prefect_sora.store.ledger import Ledger


@dataclass(frozen=True)
class Behaviour:
    """One thing that a server does, or says that it does not.

    Attributes:
        name: For people, and in the table.
        attempt: Tries it; its docstring says what is expected.
    """

    name: str
    attempt: Callable[[Trial], Awaitable[Verdict]]


BEHAVIOURS: Final = (
    Behaviour("create from text", creating.create_from_text),
    Behaviour("resume", creating.resume),
    Behaviour("wait with progress", accepted_jobs.wait_with_progress),
    Behaviour("retrieve", accepted_jobs.retrieve),
    Behaviour("list", accepted_jobs.list_jobs),
    Behaviour("download whole", accepted_jobs.download_whole),
    Behaviour("still", accepted_jobs.still),
    Behaviour("create from image", creating.create_from_image),
    Behaviour("remix", creating.remix),
    Behaviour("edit", creating.edit),
    Behaviour("extend", creating.extend),
    Behaviour("character", creating.character),
    Behaviour("unknown id", accepted_jobs.unknown_id),
    Behaviour("wrong model", creating.wrong_model),
    Behaviour("failing job", failing_jobs.failing_job),
    Behaviour("moderation", failing_jobs.moderation),
    Behaviour("orphan recovery", failing_jobs.orphan_recovery),
    Behaviour("delete", accepted_jobs.delete),
)
"""What is tried, in the order in which each can use what those before it have made."""


def smallest(server: Server, model: str | None) -> tuple[str, int]:
    """Name the size and the seconds of the cheapest clip, as far as they are known.

    A model of the catalogue has its own least. The local renderer takes any size: 64x64. Servers
    with a model of their own take any, too: 256x256, which diffusion models can halve often
    enough (ours). Gateways mostly lead to servers that take Sora's least.
    """
    if server.local:
        return "64x64", 1
    known = video_models.find(model)
    if known is None and server.profile.own_model:
        return "256x256", 1
    least = known or video_models.MODELS["sora-2"]
    return min(least.sizes, key=_pixels), min(least.seconds)


def clips(server: Server, request: VideoRequest) -> list[VideoRequest]:
    """List what is rendered and paid for at most; each stands as a new clip of the same price."""
    longer = request.model_copy(update={"seconds": creating.SHORTEST_EXTENSION})
    derived = {"remix": request, "edit": request, "extend": longer}
    # From text, from an image, and under a wrong model's name if the server ignores the name.
    return [request] * 3 + [derived[kind] for kind in derived if kind in server.profile.derives]


async def check(
    server: Server,
    ledger: Ledger,
    request: VideoRequest,
    *,
    provoke: Provoke | None = None,
    poll_interval_seconds: float = 5.0,
    on_finding: Callable[[Finding], None] | None = None,
) -> list[Finding]:
    """Try all behaviours on a server; what `clips` lists is paid for.

    Args:
        server: With a known profile; `detect.recognised` finds it.
        ledger: The store's records; what is made is kept there.
        request: Model, size and length of the clips, such as those that `smallest` names.
        provoke: Causes faults, where this is a test server; without it, behaviours that need
            faults are not tried.
        poll_interval_seconds: Shortest pause between two requests about a job.
        on_finding: Called with each outcome as it comes.

    Returns:
        One finding for each behaviour, in their order; nothing that a server does raises an error.
    """
    client = CountingClient(server)
    scope = f"contract {uuid4().hex}"
    waiting = WaitOptions(poll_interval_seconds=poll_interval_seconds)
    trial = Trial(server, ledger, request, scope, provoke, waiting, client)
    findings = []
    try:
        for behaviour in BEHAVIOURS:
            findings.append(await _tried(behaviour, trial))
            if on_finding:
                on_finding(findings[-1])
    finally:
        await client.close()
    return findings


async def _tried(behaviour: Behaviour, trial: Trial) -> Finding:
    before = {*trial.costs_usd}
    try:
        outcome, said = await behaviour.attempt(trial)
    except UntriedError as untried:
        outcome, said = "not tried", str(untried)
    except BrokenError as broken:
        outcome, said = "failed", str(broken)
    except SoraError as error:
        outcome, said = "failed", f"{type(error).__name__}: {error}"
    total = total_usd(cost for job, cost in trial.costs_usd.items() if job not in before)
    return Finding(behaviour.name, outcome, said, total)


def _pixels(size: str) -> int:
    width, _, height = size.partition("x")
    return int(width) * int(height)
