"""Gate: what every request of the protocol passes: the log, the key, the faults."""

import hmac
import time
from asyncio import sleep
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from prefect_sora.local.faults import FATES, MAKING, Faults
from prefect_sora.local.jobs import Jobs
from prefect_sora.local.options import RendererOptions
from prefect_sora.local.sabotage import Cut, answer_instead, spoil
from prefect_sora.local.wire import Refusal, read_fields

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


@dataclass
class Gate:
    """Wraps each endpoint of the protocol."""

    jobs: Jobs
    options: RendererOptions
    faults: Faults
    requests: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=20_000))
    resets: int = 0

    def reset(self) -> None:
        """Forget requests and faults; what is still delayed gets no answer and does nothing."""
        self.faults = Faults()
        self.requests.clear()
        self.resets += 1

    def guard(self, operation: str, endpoint: Endpoint, *, keyless: bool = False) -> Endpoint:
        """The endpoint as the world meets it; a keyless one has its secret in its address."""

        async def guarded(request: Request) -> Response:
            entry = self._log(operation, request)
            try:
                refuse_web_pages(request)
                if not keyless:
                    self._authenticate(request)
                response = await self._meet_faults(operation, endpoint, request)
            except Refusal as refusal:
                response = refusal.response()
            entry["status"] = response.status_code
            return response

        return guarded

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

    def _authenticate(self, request: Request) -> None:
        key = self.options.api_key
        if not key:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode(), key.encode()):
            raise Refusal(401, "Incorrect API key provided.", code="invalid_api_key")

    async def _meet_faults(self, operation: str, endpoint: Endpoint, request: Request) -> Response:
        if not self.faults.rules:
            return await endpoint(request)
        met = self.faults.take(operation, await self._prompt_of(operation, request))
        for fault in met:
            if fault.verb == "delay":
                before = self.resets
                await sleep(fault.number)
                if self.resets != before:  # or its job would count among those of the next test
                    return Cut()
                continue
            instead = answer_instead(fault)
            if instead is not None:
                return instead
            if fault.verb in FATES:
                request.state.fate = fault.verb
        response = await endpoint(request)
        for fault in met:
            if fault.verb != "delay":
                return await spoil(fault, request, response)
            response.headers.update(fault.headers)
        return response

    async def _prompt_of(self, operation: str, request: Request) -> str:
        if operation in MAKING:
            return (await read_fields(request)).words
        job = self.jobs.get(request.path_params.get("video_id", ""))
        return job.prompt if job else ""


def refuse_web_pages(request: Request) -> None:
    """Refuse what a page in somebody's browser sends: any page may post to this machine."""
    if request.method not in ("GET", "HEAD") and "origin" in request.headers:
        raise Refusal(403, "Web pages may not use this server.")
