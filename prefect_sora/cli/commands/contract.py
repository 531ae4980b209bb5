"""`prefect-sora doctor --contract`: what a server keeps of the contract, tried on the server."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from prefect_sora.cli import exits, signals
from prefect_sora.cli.options import Where
from prefect_sora.cli.redaction import safe
from prefect_sora.cli.run import chosen_by, with_client
from prefect_sora.cli.saved import store_named
from prefect_sora.cli.screen import Screen, agrees, usd
from prefect_sora.errors import InvalidRequestError
from prefect_sora.renders.contract import Finding, check, clips, smallest
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.estimates import Estimate, estimate
from prefect_sora.servers.server import Server
from prefect_sora.servers.video_prices import total_usd
from prefect_sora.store.ledger import Ledger

if TYPE_CHECKING:
    from prefect_sora.servers.protocol.client import VideoClient

_STYLES: Final = {"held": "green", "failed": "red", "in doubt": "yellow", "not tried": "dim"}


def contract(
    screen: Screen,
    where: Where,
    *,
    model: str | None,
    size: str | None,
    seconds: int | None,
    yes: bool,
) -> int:
    """Say what the trial will cost, ask, try all behaviours, and report each outcome.

    Returns:
        The exit code: 1 where a behaviour failed.

    Raises:
        InvalidRequestError: It would cost something, or nobody knows what, and nobody said yes.
    """
    server = with_client(chosen_by(where).server(), _server_of)
    least_size, least_seconds = smallest(server, model)
    request = VideoRequest.of(
        prompt="A red kite over a green hill.",
        model=model,
        size=size or least_size,
        seconds=seconds or least_seconds,
    )
    asked = clips(server, request)
    cost = estimate(asked, server)
    screen.note(
        f"{server.label}, taken for {server.profile.name}: up to {len(asked)} clips of "
        f"{request.size} and {request.seconds} s or more; estimated cost: {cost}."
    )
    _agreed(cost, yes)
    if not screen.shown.json:
        screen.result(_line("behaviour", "outcome", "cost", "what was seen"), style="bold")
    findings: list[Finding] = signals.run(
        lambda: check(
            server,
            Ledger(store_named(where.store).folder),
            request,
            poll_interval_seconds=0.5 if server.local else 5.0,
            on_finding=lambda finding: _tell(screen, finding),
        )
    )
    failed = sum(finding.outcome == "failed" for finding in findings)
    untried = sum(finding.outcome == "not tried" for finding in findings)
    screen.result(f"{failed} failed, {untried} not tried; {_spent(findings)}.")
    screen.document(_document(server, cost, findings))
    return exits.FAILED if failed else exits.OK


async def _server_of(client: "VideoClient") -> Server:
    return client.server


def _agreed(cost: Estimate, yes: bool) -> None:
    """Go on where the trial is free, or where somebody agrees to pay.

    Raises:
        InvalidRequestError: Nobody does.
    """
    if yes or cost.usd == 0:
        return
    if (agreed := agrees("Go on?")) is None:
        raise InvalidRequestError(
            f"The contract renders clips (estimated cost: {cost}), and nobody is here to agree.",
            next_step="--yes agrees.",
        )
    if not agreed:
        raise InvalidRequestError("Nobody agreed.")


def _tell(screen: Screen, finding: Finding) -> None:
    line = _line(finding.behaviour, finding.outcome, usd(finding.cost_usd), finding.said)
    screen.result(line, style=_STYLES.get(finding.outcome))


def _line(behaviour: str, outcome: str, cost: str, said: str) -> str:
    return f"{behaviour:<18}  {outcome:<9}  {cost:<7}  {said}"


def _spent(findings: list[Finding]) -> str:
    cost = total_usd(finding.cost_usd for finding in findings)
    return "what it cost is not known" if cost is None else f"it cost {usd(cost)}"


def _document(server: Server, cost: Estimate, findings: list[Finding]) -> dict[str, Any]:
    return {
        "ok": all(finding.outcome != "failed" for finding in findings),
        "server": server.label,
        "profile": server.profile.name,
        "estimated_usd": cost.usd,
        "behaviours": [{**asdict(finding), "said": safe(finding.said)} for finding in findings],
    }
