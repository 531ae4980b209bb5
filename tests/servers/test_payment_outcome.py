"""Outcomes: each answer to a request that costs money is told apart, whoever gave it."""

import json
import pickle
from typing import Any, Literal

import httpx2
import pytest

from prefect_sora.errors import UnavailableError
from prefect_sora.servers.protocol.payment_outcome import is_the_protocols
from prefect_sora.servers.protocol.status_errors import status_error
from prefect_sora.servers.server import remote

SERVER = remote("http://video.example/v1")

Outcome = Literal["refused", "ended", "unclear"]

OPENAI = {"error": {"message": "no GPU", "type": "server_error", "param": None, "code": None}}
FLAT = {"object": "error", "message": "engine died", "type": "InternalServerError", "code": 500}
FASTAPI = {"detail": "the generator is not ready"}
PAGE = "<html>sorry</html>"


def outcome(status: int, body: Any, verb: str = "create") -> Outcome:
    text = body if isinstance(body, str) else json.dumps(body)
    error = status_error(SERVER, httpx2.Response(status, content=text.encode()), verb=verb)
    if not isinstance(error, UnavailableError):
        return "refused"
    assert not error.never_sent, "an answer came"
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert again.ended is error.ended
    return "ended" if error.ended else "unclear"


REFUSALS = [301, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 410, 411, 412, 413, 414, 415]
REFUSALS += [416, 417, 421, 422, 423, 426, 428, 429, 431, 451]


@pytest.mark.parametrize("body", [OPENAI, PAGE, "", {"error": "Unauthorized"}], ids=str)
@pytest.mark.parametrize("verb", ["create", "remix", "edit", "extend", "character"])
def test_what_nobody_says_of_a_request_that_he_passed_on_is_a_refusal(verb: str, body: Any) -> None:
    assert {outcome(status, body, verb) for status in REFUSALS} == {"refused"}


@pytest.mark.parametrize(
    "status", [300, 302, 303, 408, 409, 418, 424, 425, 444, 460, 499, 502, 504, 520, 522, 524, 598]
)
def test_what_may_be_said_of_a_request_under_way_is_never_a_last_word(status: int) -> None:
    bodies = (OPENAI, FLAT, FASTAPI, PAGE, "", {"message": "x"})
    assert {outcome(status, body) for body in bodies} == {"unclear"}


@pytest.mark.parametrize("body", [OPENAI, FLAT, FASTAPI, {"detail": [{"loc": ["x"]}]}], ids=str)
@pytest.mark.parametrize("status", [500, 501, 503])
def test_a_servers_own_word_is_its_last(status: int, body: Any) -> None:
    assert {outcome(status, body, verb) for verb in ("create", "remix", "edit")} == {"ended"}


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "Internal Server Error",
        PAGE,
        {},
        [],
        {"error": "Service Unavailable"},
        {"error": {}},
        {"error": {"message": ""}},
        {"error": {"message": None, "code": 503}},
        {"error": [OPENAI]},
        {"message": "Service Unavailable"},
        {"statusCode": 503, "message": "unavailable"},
        {"detail": ""},
        {"detail": {"x": 1}},
        {"title": "Unavailable", "status": 503, "detail": "later"},
        {"fault": {"faultstring": "x", "detail": {"errorcode": "y"}}},
        {"object": "error"},
        {"object": "error", "message": 5},
        {"id": "video_1", "object": "video", "status": "queued"},
    ],
    ids=str,
)
def test_what_no_video_server_says_so_is_no_last_word(body: Any) -> None:
    assert {outcome(status, body) for status in (500, 501, 503)} == {"unclear"}


@pytest.mark.parametrize(
    "said",
    [
        "litellm.APIConnectionError: Connection error.",
        "litellm.InternalServerError: OpenAIException - Server disconnected",
        "litellm.Timeout: request timed out",
        "upstream request failed",
        "Bad gateway",
        "Error reading from the backend",
        "context deadline exceeded",
        "read: connection reset by peer",
    ],
)
@pytest.mark.parametrize("shape", ["error", "detail", "flat"])
def test_what_a_gateway_says_of_the_server_behind_it_is_no_last_word(said: str, shape: str) -> None:
    shapes = {
        "error": {"error": {"message": said, "type": None, "code": "500"}},
        "detail": {"detail": said},
        "flat": {"object": "error", "message": said},
    }
    assert is_the_protocols(shapes[shape])
    assert outcome(500, shapes[shape]) == "unclear"


def test_a_code_tells_of_the_server_behind_as_words_do() -> None:
    assert outcome(500, {"error": {"message": "failed", "code": "do_request_failed"}}) == "unclear"


@pytest.mark.parametrize("status", [408, 409, 425, 499])
def test_words_about_moderation_do_not_close_what_may_be_under_way(status: int) -> None:
    said = {"error": {"message": "The prompt may violate our content policy.", "code": None}}
    assert outcome(status, said) == "unclear"
    assert outcome(status, {"error": {"message": "no", "code": "moderation_blocked"}}) == "refused"
