"""Read an answer that is no success: which error it is, and what the server said."""

import contextlib
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Final

import httpx2

from prefect_sora.errors import (
    AuthenticationError,
    ModerationError,
    QuotaError,
    RateLimitError,
    RejectedError,
    RetiredModelError,
    SoraError,
    UnavailableError,
    VideoNotFoundError,
)
from prefect_sora.errors.next_steps import CHANGE_THE_PROMPT, Advice, NextStep
from prefect_sora.requests.video import DERIVED
from prefect_sora.servers import openai_sdk as openai
from prefect_sora.servers.protocol.error_bodies import Failure, read_failure
from prefect_sora.servers.protocol.http.arrivals import REFUSED, json_of
from prefect_sora.servers.protocol.payment_outcome import has_ended
from prefect_sora.servers.server import Server

RENDER_ELSEWHERE: Final = (
    "Name another model of this server, or a server that still renders (SGLang, "
    "vLLM-Omni, FastVideo, a gateway), or use the local renderer."
)

_NEVER_SENT: Final = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,  # it let nothing through
    httpx2.LocalProtocolError,  # our request is no valid HTTP
    httpx2.UnsupportedProtocol,
    httpx2.InvalidURL,
)

_DONE: Final = {
    "create": "take the request",
    "retrieve": "say how the video stands",
    "list": "list its videos",
    "content": "send the video",
    "delete": "delete the video",
    "character": "make the character",
    "models": "list its models",
}
"""What a verb of the protocol asks a server to do."""

_NUMBER: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")
"""A count as headers hold it: more digits than any time has are nonsense. Ours."""


def error_of(
    server: Server, error: "openai.APIError", *, verb: str, video_id: str | None = None
) -> SoraError:
    """Turn what the SDK raised into our own error.

    Args:
        server: Who was asked.
        error: What the SDK raised.
        verb: A kind of `requests.Kind`, retrieve, list, content, delete, character or models.
        video_id: The video it was about.
    """
    if isinstance(error, openai.APIStatusError):
        return status_error(server, error.response, verb=verb, video_id=video_id)
    return no_answer(server, error.__cause__ or error)


def no_answer(
    server: Server, cause: BaseException, *, left: bool | None = None
) -> UnavailableError:
    """Say that no answer came, and whether the request can have been read at all.

    Args:
        server: Who was asked.
        cause: What was raised in place of an answer.
        left: Whether the request had begun to leave; None: the cause alone tells.
    """
    never_sent = left is False or isinstance(cause, _NEVER_SENT)
    # The error quotes a header that cannot be sent, escaped: a key in it would not be recognised.
    quotable = isinstance(cause, httpx2.HTTPError) or isinstance(cause, openai.APIError)  # noqa: SIM101 - the SDK is imported for the second
    quotable &= not isinstance(cause, httpx2.LocalProtocolError)
    said = server.redacted(str(cause)) if quotable else ""
    steps: Advice = ("Check base_url, and that the server runs.", NextStep("doctor"))
    if isinstance(cause, httpx2.ProxyError):
        steps = (
            "The proxy of HTTPS_PROXY or ALL_PROXY did not let it through: NO_PROXY, or another."
        )
    if said == "All connection attempts failed":
        said = "nobody listens there"
    what = "cannot be reached" if never_sent else "broke the connection before it had answered"
    if isinstance(cause, httpx2.TimeoutException):
        what = "cannot be reached in time" if never_sent else "did not answer in time"
    return UnavailableError(
        f"{_named(server)} {what}: {said or type(cause).__name__}.",
        never_sent=never_sent,
        next_step=steps,
    )


def not_the_protocol(
    server: Server,
    response: httpx2.Response,
    *,
    verb: str,
    wanted: str = "a video job",
    is_an_api: bool = True,
) -> UnavailableError | RejectedError:
    """Say that an answer came with a status of success, but without what was asked for.

    Args:
        server: Who was asked.
        response: What came.
        verb: What was asked, as in `error_of`.
        wanted: What should have come.
        is_an_api: Something at this address is known to answer as an API.
    """
    kind = response.headers.get("content-type", "no type").partition(";")[0][:100]
    message = f"{_named(server)} answered {response.status_code} with {kind}, not with {wanted}."
    if kind != "text/html" or verb in ("retrieve", "list") or is_an_api:
        # A proxy in passing trouble sends a page; the server behind it may go on.
        return UnavailableError(
            message,
            status=response.status_code,
            next_step=("Check that base_url is a video API's.", NextStep("doctor")),
        )
    # The page comes from a login or a website: the request went no further.
    return RejectedError(
        message,
        status=response.status_code,
        next_step="Point base_url at the API itself, such as https://host/v1.",
    )


def status_error(
    server: Server,
    response: httpx2.Response,
    *,
    verb: str,
    video_id: str | None = None,
    is_an_api: bool = True,
) -> SoraError:
    """Turn an answer with an error status into the error that it is.

    Its arguments are those of `error_of` and `not_the_protocol`.
    """
    status, body = response.status_code, json_of(response)
    failure = read_failure(body) or Failure()
    said = failure.message.strip() or response.reason_phrase or "no reason given"
    about: dict[str, Any] = {
        "status": status,
        "code": failure.code,
        "request_id": response.headers.get("x-request-id", "")[:200] or None,
        "video_id": video_id,
    }
    message = f"{_named(server)} {_refusal(status, verb, video_id)} ({status}): {said[:500]}"
    asks_for_a_video = verb == "create" or verb in DERIVED
    costs = asks_for_a_video or verb == "character"
    unclear = costs and status not in REFUSED and is_an_api
    if failure.is_moderation and (not (unclear or status >= 500) or failure.is_coded_moderation):
        return ModerationError(
            message, code=failure.code, video_id=video_id, next_step=CHANGE_THE_PROMPT
        )
    pauses = status == 402 and failure.names(*server.profile.transient_402)
    pauses |= status in server.profile.refusing_statuses and has_ended(response, body)
    if not pauses and (status == 402 or (status in (400, 403, 429) and failure.is_quota)):
        about["next_step"] = "Add credit or raise the quota at the provider; waiting is no use."
        return QuotaError(message, **about)
    if asks_for_a_video and _is_retired(status, failure, verb):
        return RetiredModelError(message, next_step=RENDER_ELSEWHERE)
    # LiteLLM without a database answers so to a key that it does not know (1.109.1).
    if status in (401, 403) or failure.type == "no_db_connection":
        about["next_step"] = (
            "Check api_key, and that it may use this model.",
            NextStep("doctor"),
        )
        return AuthenticationError(message, **about)
    if status == 429 or pauses:
        about["next_step"] = "Wait, then run the same again; fewer renders at a time need no wait."
        return RateLimitError(message, retry_after_s=retry_after_s(response.headers), **about)
    # new-api says so with a 503, before it looks for a server that could render.
    refused = status in (400, 404, 422) or failure.is_coded_unknown_model
    if asks_for_a_video and refused and failure.is_about_the_model:
        about["next_step"] = (
            "Name a model, or on Azure a deployment, that this server has; a deployment made "
            "minutes ago may need some more."
        )
        return RejectedError(message, **about)
    about_a_video = verb in ("retrieve", "content", "delete") or verb in DERIVED
    if about_a_video and (status in (404, 410) or failure.is_unknown_video):
        about["next_step"] = (
            f"Check the video's id, and that this server has {verb}."
            if verb in DERIVED
            else "Check the id, and that this is the server that it was made on."
        )
        return VideoNotFoundError(message, **about)
    if unclear or status in (408, 409) or status >= 500:
        about["next_step"] = ("Run the same again in a while.", NextStep("doctor"))
        return UnavailableError(
            message,
            ended=has_ended(response, body),
            retry_after_s=retry_after_s(response.headers),
            **about,
        )
    about["next_step"] = _instead(status, verb, server)
    return RejectedError(message, **about)


def _refusal(status: int, verb: str, video_id: str | None) -> str:
    """Say in plain words what the server did not do."""
    if status == 401:
        return "refused the key"
    if status in (404, 410) and video_id and verb in ("retrieve", "content", "delete"):
        return f"does not know {video_id}"
    return f"could not {_DONE.get(verb, f'do this {verb}')}"


def _instead(status: int, verb: str, server: Server) -> str:
    if status in (301, 302, 303, 307, 308):
        return "The address leads elsewhere: name the place itself as the server's address."
    if status not in (404, 405):
        return "Change the request as the server says."
    if verb == "create" and server.base_url.endswith("/v1"):
        return f"There is no video service at {server.base_url}: ask its owner for the address."
    if verb == "create":
        return (
            f"There is no video service at {server.base_url}: the address of most servers ends in "
            f"/v1, such as {server.base_url}/v1."
        )
    return f"This server has no {verb}."


def _is_retired(status: int, failure: Failure, verb: str) -> bool:
    """Say whether the model, and not a remix's source, is gone for good."""
    if status == 410 and verb == "create":
        return True
    return status in (400, 403, 404, 410) and failure.is_retirement


def _named(server: Server) -> str:
    return f"The video server {server.base_url}"


def poll_after_s(headers: Mapping[str, str]) -> float | None:
    """Read the pace that the server itself asks for, in seconds."""
    asked_ms = _count(headers.get("openai-poll-after-ms"))
    return None if asked_ms is None else max(0.05, asked_ms / 1000)


def clock_ahead_s(headers: Mapping[str, str]) -> float | None:
    """Read how far the server's clock is ahead of ours, in seconds, to the second."""
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return parsedate_to_datetime(headers.get("date", "")).timestamp() - time()
    return None


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Read how long to wait, in seconds, from a count or a date (RFC 9110, 10.2.3)."""
    asked_ms = _count(headers.get("retry-after-ms"))
    if asked_ms is not None:
        return asked_ms / 1000
    value = headers.get("retry-after") or headers.get("llm_provider-retry-after") or ""
    asked = _count(value)
    if asked is not None:
        return asked
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    return None


def _count(text: str | None) -> float | None:
    """Read a number of plain digits, with a fraction or without; anything else gives None."""
    text = (text or "").strip()
    return float(text) if _NUMBER.fullmatch(text) else None
