"""Gate: every request of the protocol passes the log, the check of its key and the faults."""

import time
from asyncio import sleep
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from prefect_sora.servers.local.dialects import Dialect
from prefect_sora.servers.local.faults.injection import Drop, inject_after, inject_instead
from prefect_sora.servers.local.faults.rules import FATES, MAKING, Faults
from prefect_sora.servers.local.requests.refusals import Refusal
from prefect_sora.servers.local.state.jobs import Jobs

Endpoint = Callable[[Request], Awaitable[Response]]

# An allow-list: a header that we do not know might be a secret.
_LOGGED_HEADERS = (
    "accept",
    "accept-encoding",
    "content-length",
    "content-type",
    "idempotency-key",
    "range",
    "user-agent",
    "x-litellm-num-retries",
    "x-stainless-retry-count",
)

_REPEATED = frozenset({403, 408, 409, 429, *range(500, 600)})
"""Statuses after which LiteLLM, the only dialect that repeats requests, did so when it was run."""


@dataclass
class Gate:
    """Wraps each endpoint of the protocol.

    Attributes:
        faults: The rules that are left.
        requests: The log, the newest at its end.
        resets: How often all was forgotten.
    """

    jobs: Jobs
    dialect: Dialect
    faults: Faults
    requests: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=20_000))
    resets: int = 0

    def reset(self) -> None:
        """Forget requests and faults; a request that is still delayed gets no answer."""
        self.faults = Faults()
        self.requests.clear()
        self.resets += 1

    def guard(self, operation: str, endpoint: Endpoint, *, keyless: bool = False) -> Endpoint:
        """Wrap an endpoint; one that is `keyless` is open to all who know its address."""

        async def guarded(request: Request) -> Response:
            entry = self._log(operation, request)
            for left in range(self.dialect.retries(operation, request), -1, -1):
                response = await self._answer(operation, endpoint, request, keyless)
                if not left or response.status_code not in _REPEATED:
                    break
            self.dialect.add_headers(request, response)
            entry["operation"] = getattr(request.state, "verb", operation)
            entry["status"] = response.status_code
            return response

        return guarded

    def unrouted(self, request: Request, status: int) -> Response:
        """Answer a request that has no route."""
        entry = self._log("none", request)
        response = self.dialect.unrouted(request, status)
        self.dialect.add_headers(request, response)
        entry["status"] = response.status_code
        return response

    async def _answer(
        self, operation: str, endpoint: Endpoint, request: Request, keyless: bool
    ) -> Response:
        try:
            refuse_web_pages(request)
            if not keyless:
                self.dialect.authenticate(request)
            response = await self._meet_faults(operation, endpoint, request)
        except Refusal as refusal:
            return self.dialect.refuse(refusal, request)
        instead = self.dialect.when_dropped(request) if isinstance(response, Drop) else None
        return instead or response

    def _log(self, operation: str, request: Request) -> dict[str, Any]:
        headers = {
            name: request.headers[name] for name in _LOGGED_HEADERS if name in request.headers
        }
        entry = {
            "operation": operation,
            "method": request.method,
            "path": request.url.path,
            "query": dict(request.query_params),
            "time": time.time(),
            "headers": headers,
            "status": None,
        }
        self.requests.append(entry)
        return entry

    async def _meet_faults(self, operation: str, endpoint: Endpoint, request: Request) -> Response:
        if not self.faults.rules:
            return await endpoint(request)
        met = self.faults.take(operation, await self._prompt_of(operation, request))
        for fault in met:
            if fault.verb == "delay":
                before = self.resets
                await sleep(fault.number)
                if self.resets != before:  # or its job would count among those of the next test
                    return Drop()
                continue
            instead = inject_instead(fault)
            if instead is not None:
                return instead
            if fault.verb in FATES:
                request.state.fate = fault.verb
        response = await endpoint(request)
        for fault in met:
            if fault.verb != "delay":
                return await inject_after(fault, request, response)
            response.headers.update(fault.headers)
        return response

    async def _prompt_of(self, operation: str, request: Request) -> str:
        if operation in MAKING:
            try:
                return (await self.dialect.fields(request)).words
            except Refusal:  # the endpoint will say it
                return ""
        shown = request.path_params.get("video_id", "")
        try:
            job = self.jobs.get(self.dialect.internal_id(shown))
        except Refusal:
            return ""
        return job.prompt if job else ""


def refuse_web_pages(request: Request) -> None:
    """Refuse what a page in somebody's browser sends: any page may post to this machine."""
    if request.method not in ("GET", "HEAD") and "origin" in request.headers:
        raise Refusal(403, "Web pages may not use this server.")
