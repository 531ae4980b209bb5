"""Payment outcome: what an answer to a request that costs money says of the money.

Gateways may stand between us and the server, and answer in its place while it goes on. So only
two kinds of answer settle a request. One is a status that says that the request was not begun:
no gateway sends it for a request that it has passed on. The other is the server's own word
that it has ended with the request.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import httpx2

from prefect_sora.errors import UnavailableError
from prefect_sora.servers.protocol.error_bodies import read_failure

REFUSED: Final = frozenset(
    # RFC 9110, 15.4 and 15.5, and RFC 6585; 451 is RFC 7725. Left out: 408, 409, 425 and 499
    # (nginx), because the request may be under way; 424, because a server behind failed; 302
    # and 303, because they also answer a form that was carried out.
    {301, 307, 308}
    | {400, 401, 402, 403, 404, 405, 406, 407, 410, 411, 412, 413, 414, 415, 416, 417}
    | {421, 422, 423, 426, 428, 429, 431, 451}
)
"""Statuses after which nothing was begun, whoever answers."""

_ENDED: Final = frozenset({500, 501, 503})
"""Statuses of a server that has ended with a request, where it says so itself. 502 and 504
tell of another server (RFC 9110, 15.6)."""


async def read_answer(response: httpx2.Response, max_bytes: int) -> httpx2.Response:
    """Read an answer to its end, decoded; a refusal may break off before.

    Raises:
        UnavailableError: It is longer than `max_bytes`.
        httpx2.HTTPError: It broke off.
    """
    data = bytearray()
    try:
        async for chunk in response.aiter_bytes(64 * 1024):
            data += chunk
            if len(data) > max_bytes:
                raise UnavailableError("The answer has no end: it was cut off.")
    except httpx2.HTTPError:
        if response.status_code not in REFUSED:
            raise
    coded = ("content-encoding", "content-length", "transfer-encoding")
    headers = {name: value for name, value in response.headers.items() if name not in coded}
    return httpx2.Response(response.status_code, headers=headers, content=bytes(data))


def has_ended(response: httpx2.Response, body: object) -> bool:
    """Say whether the server itself has ended with the request, not a gateway that gave up waiting.

    Args:
        response: An answer with an error status.
        body: Its body, read as JSON; None where it is none.
    """
    if response.status_code not in _ENDED or not is_the_protocols(body):
        return False
    failure = read_failure(body)
    return failure is not None and not failure.is_second_hand


def is_the_protocols(body: object) -> bool:
    """Say whether an error has a shape in which video servers are known to answer.

    The shapes are OpenAI's and vLLM's `error` object, which LiteLLM and new-api repeat;
    FastAPI's `detail`, if it stands alone (beside a title it is a gateway's problem, RFC 9457);
    and TensorRT-LLM's flat object. Gateways write an `error` that is a text; servers do so only
    in a 401.
    """
    if not isinstance(body, Mapping):
        return False
    error = body.get("error")
    if isinstance(error, Mapping):
        return isinstance(error.get("message"), str) and bool(error["message"])
    if set(body) == {"detail"}:
        return isinstance(body["detail"], (str, list)) and bool(body["detail"])
    return body.get("object") == "error" and isinstance(body.get("message"), str)


def refuses_the_encoding(response: httpx2.Response, body: object, sent: Collection[str]) -> bool:
    """Say whether a server refused a request unread, because it reads the other encoding.

    Nothing was begun then. A server that reads forms alone misses the fields of a JSON body,
    though they were sent, and the other way round; only its own word says so.

    Args:
        response: The answer.
        body: Its body, read as JSON; None where it is none.
        sent: The names of the fields that were sent.
    """
    status = response.status_code
    if status not in (400, 415, 422):
        return False
    if isinstance(body, Mapping) and set(body) == {"detail"} and isinstance(body["detail"], list):
        return status == 415 or any(_is_missed(problem, sent) for problem in body["detail"])
    failure = read_failure(body)
    if failure is not None and failure.is_second_hand:
        return False
    if status == 415:  # of frameworks without a word, too; but a page comes from a gateway
        return not response.headers.get("content-type", "").startswith("text/html")
    if failure is None or not is_the_protocols(body):
        return False
    names = "|".join(re.escape(name) for name in sent)
    said = (
        rf"(?:missing|required)(?:[^.\n]|\.(?=\S)){{0,40}}\b(?:{names})\b"
        rf"|\b(?:{names})\b\W{{0,3}}(?:(?:field|parameter|property|is|a)\W){{0,4}}(?:missing|required)\b"
    )
    return bool(names and re.search(said, failure.message, re.IGNORECASE))


def _is_missed(problem: Any, sent: Collection[str]) -> bool:
    """Whether FastAPI (0.141) misses a field that was sent, or finds no object in the body."""
    place = problem.get("loc") if isinstance(problem, Mapping) else None
    if not isinstance(place, list) or place[:1] != ["body"]:
        return False
    if len(place) == 1 or problem.get("type") == "json_invalid":
        return True
    return problem.get("type") in ("missing", "value_error.missing") and place[1] in sent
