"""Payment outcome: what an answer to a request that costs money says of the money.

Gateways may stand between us and the server, and answer in its place while it goes on. So only
two kinds of answer settle a request. One is a status that says that the request was not begun:
no gateway sends it for a request that it has passed on. The other is the server's own word
that it has ended with the request.
"""

from collections.abc import Mapping
from typing import Final

import httpx2

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
