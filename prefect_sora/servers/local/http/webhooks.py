"""Webhooks: whoever wants to know is told that a job has ended, signed as its dialect signs."""

import asyncio
import hashlib
import hmac
import json
import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from prefect_sora.errors import InvalidRequestError
from prefect_sora.servers.local.launch.options import RendererOptions
from prefect_sora.servers.local.state.jobs import Job

log = logging.getLogger(__name__)

PAUSES_SECONDS: Final = (0.2, 1.0, 5.0, 20.0)
"""Before it is told again where it was not answered with 2xx. Ours; OpenAI goes on for days."""

_ANSWER_SECONDS: Final = 10.0


@dataclass
class Webhooks:
    """Tells of jobs' ends, where the options name an address or a secret.

    Raises:
        InvalidRequestError: Nothing can be signed with the secret.
    """

    options: RendererOptions
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        try:
            signed(b"", "", self.options)
        except Exception:  # the library's own, and base64's
            raise InvalidRequestError(
                "The webhook secret is not as Standard Webhooks has it.",
                next_step="Give whsec_ and base64 behind it, such as whsec_c2VjcmV0IG9mIG1pbmU=.",
            ) from None

    def tell(self, job: Job) -> None:
        """Begin to tell of a job that has ended."""
        url = self.options.webhook
        if self.options.webhook_secret and job.callback_url:
            url = job.callback_url
        if url and self.options.webhook_scheme:
            task = asyncio.create_task(self._tell(url, job))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Tell no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _tell(self, url: str, job: Job) -> None:
        own_id, body = _event(job, self.options)
        import httpx2  # what takes a while, and most renderers need not

        async with httpx2.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False) as client:
            for pause_seconds in (*PAUSES_SECONDS, None):
                headers = signed(body, own_id, self.options)
                try:
                    answer = await client.post(url, content=body, headers=headers)
                    if answer.is_success:
                        return
                    why = f"status {answer.status_code}"
                except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                    why = type(error).__name__
                log.info("The end of %s was told in vain: %s", job.id, why)
                if pause_seconds is not None:
                    await asyncio.sleep(pause_seconds)
        log.warning("The end of job %s could not be told: %s", job.id, why)


def _event(job: Job, options: RendererOptions) -> tuple[str, bytes]:
    """The id and the body of the event of a job's end."""
    now = time.time()
    if options.webhook_scheme == "openrouter":
        own_id = f"{job.id}-{job.status}"
        data: dict[str, Any] = {"id": job.id, "status": job.status, "model": job.model}
        data |= {"generation_id": None, "error": job.error["message"] if job.error else None}
        kind = f"video.generation.{job.status}"
        event = {"type": kind, "created_at": datetime.fromtimestamp(now, UTC).isoformat()}
        return own_id, json.dumps({**event, "data": data}).encode()
    own_id = f"evt_{hashlib.sha256(f'{job.id}-{job.status}'.encode()).hexdigest()[:32]}"
    thin: dict[str, Any] = {
        "id": own_id,
        "object": "event",
        "created_at": int(now),
        "type": f"video.{job.status}",
        "data": {"id": job.id},
    }
    return own_id, json.dumps(thin).encode()


def signed(body: bytes, own_id: str, options: RendererOptions) -> dict[str, str]:
    """The headers of an event, signed now where there is a secret."""
    headers, secret = {"content-type": "application/json"}, options.webhook_secret
    stamp = int(time.time())
    if options.webhook_scheme == "openrouter":
        headers["x-openrouter-idempotency-key"] = own_id
        if secret:
            message = f"{stamp},".encode() + body
            digest = hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
            headers["x-openrouter-signature"] = f"t={stamp},v1={digest}"
        return headers
    headers |= {"webhook-id": own_id, "webhook-timestamp": str(stamp)}
    if secret:
        from standardwebhooks import Webhook

        at = datetime.fromtimestamp(stamp, UTC)
        headers["webhook-signature"] = Webhook(secret).sign(own_id, at, body.decode())
    return headers
