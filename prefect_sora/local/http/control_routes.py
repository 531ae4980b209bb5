"""Control routes, for tests: scripted faults, the log of requests, and a fresh start."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from prefect_sora.local.faults.rules import FaultError
from prefect_sora.local.http.gate import Gate
from prefect_sora.local.requests.refusals import Refusal


@dataclass
class ControlRoutes:
    """`/faults`, `/requests` and `/reset`.

    Attributes:
        gate: Has the faults and the log.
        forget: Forgets all jobs, characters and images.
    """

    gate: Gate
    forget: Callable[[], Awaitable[None]]

    def routes(self) -> list[BaseRoute]:
        """All of them, open to this machine alone."""
        return [
            Route("/faults", _local(self.faults), methods=["GET", "POST", "DELETE"]),
            Route("/requests", _local(self.requests), methods=["GET", "DELETE"]),
            Route("/reset", _local(self.reset), methods=["POST"]),
        ]

    async def faults(self, request: Request) -> Response:
        """The scripted faults: what is left and what was met, more of them, none."""
        faults = self.gate.faults
        if request.method == "DELETE":
            faults.rules.clear()
        if request.method == "POST":
            try:
                faults.add(await request.json())
            except (FaultError, ValueError) as error:
                return Refusal(400, str(error)).response()
        left = [fault.as_rule() for fault in faults.rules]
        return JSONResponse({"faults": left, "met": faults.met})

    async def requests(self, request: Request) -> Response:
        """The requests so far, oldest first."""
        if request.method == "DELETE":
            self.gate.requests.clear()
        return JSONResponse({"requests": [*self.gate.requests]})

    async def reset(self, _: Request) -> Response:
        """As new: no jobs, no faults, no requests, nothing accepted."""
        self.gate.reset()
        await self.forget()
        return JSONResponse({"reset": True})


def _local(endpoint: Callable[[Request], Awaitable[Response]]) -> Any:
    async def local(request: Request) -> Response:
        host = request.client.host if request.client else ""
        try:
            near = ip_address(host).is_loopback
        except ValueError:
            near = False
        if not near or "origin" in request.headers:
            return Refusal(403, "Only from this machine, and not from a web page.").response()
        return await endpoint(request)

    return local
