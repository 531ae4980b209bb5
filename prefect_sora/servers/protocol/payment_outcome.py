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

from prefect_sora.servers.protocol.error_bodies import read_failure

_ENDED: Final = frozenset({500, 501, 503})
"""Statuses of a server that has ended with a request, where it says so itself. 502 and 504
tell of another server (RFC 9110, 15.6)."""


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
