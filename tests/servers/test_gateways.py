"""Gateways: what answers in a server's place is not believed about the server."""

import threading
from typing import Any, Final

import pytest

from prefect_sora.errors import SoraError, UnavailableError, UncertainSubmitError
from prefect_sora.renders.images.prepare import identify
from prefect_sora.renders.images.submit import draw
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.requests.image import ImageRequest
from prefect_sora.servers.profiles import Profile
from prefect_sora.store.ledger import Ledger
from tests.support.renders import go
from tests.support.scripted import Jobs, Reply, Script

PATIENT: Final = Profile(name="patient", submit_grace_s=0.1, longest_create_s=1.5)

PLAIN: Final = {"Content-Type": "text/plain"}
HTML: Final = {"Content-Type": "text/html"}

# What gateways write of their own accord, each with where it was seen.
GATEWAYS_OWN: Final = [
    pytest.param(503, PLAIN, b"upstream connect error or disconnect/reset", id="Envoy"),
    pytest.param(503, PLAIN, b"no healthy upstream", id="Envoy, too"),
    pytest.param(503, HTML, b"<html>503 Service Temporarily Unavailable</html>", id="nginx"),
    pytest.param(500, PLAIN, b"Internal Server Error", id="Traefik"),
    pytest.param(500, {}, {"error": "There was a problem proxying the request"}, id="Tyk"),
    pytest.param(503, {}, {"message": "Service Unavailable"}, id="API Gateway, Kong"),
    pytest.param(503, {}, {"statusCode": 503, "message": "unavailable"}, id="API Management"),
    pytest.param(
        503, {}, {"title": "Unavailable", "status": 503, "detail": "Try later"}, id="RFC 9457"
    ),
    pytest.param(
        500, {}, {"timestamp": "", "status": 500, "error": "Internal Server Error"}, id="Spring"
    ),
    pytest.param(
        500,
        {},
        {"error": {"message": "litellm.APIConnectionError: Server disconnected", "code": "500"}},
        id="LiteLLM",
    ),
    pytest.param(
        500,
        {},
        {"error": {"message": "do request failed", "code": "do_request_failed"}},
        id="new-api",
    ),
    pytest.param(499, {}, {"error": {"message": "client closed request"}}, id="499"),
    pytest.param(424, {}, {"error": {"message": "model error"}}, id="SageMaker"),
]


class Late:
    """A gateway that gives up at once, and behind it a server that accepts a little later."""

    def __init__(self, status: int, headers: dict[str, str], body: Any) -> None:
        self.jobs = Jobs(lose=0)
        self.said = (status, headers, body)

    def __call__(self, method: str, path: str, body: bytes) -> Reply:
        if method != "POST":
            return self.jobs(method, path, body)
        if not self.jobs.jobs:
            threading.Timer(0.7, self.jobs, (method, path, body)).start()
            return self.said
        return self.jobs(method, path, body)


@pytest.mark.parametrize(("status", "headers", "body"), GATEWAYS_OWN)
async def test_a_gateways_own_error_is_not_the_servers_last_word(
    scripted: Script, disk: Ledger, status: int, headers: dict[str, str], body: Any
) -> None:
    late = Late(status, headers, body)
    server, client = scripted(late, PATIENT)
    job = await go(client, disk)
    assert (job.adopted, server.posts(), len(late.jobs.jobs)) == (True, 1, 1)


@pytest.mark.parametrize(("status", "headers", "body"), GATEWAYS_OWN)
async def test_a_gateways_own_error_is_not_the_last_word_about_a_picture(
    scripted: Script, disk: Ledger, status: int, headers: dict[str, str], body: Any
) -> None:
    server, client = scripted(lambda *_: (status, headers, body))
    request = ImageRequest.of(prompt="a paper lantern", model=None, size="64x48")
    prepared = await identify(request, client.server, "tonight")
    for _ in range(2):
        with pytest.raises(UncertainSubmitError) as caught:
            await draw(prepared, client, disk, RenderOptions("tonight"))
        assert caught.value.paid == "unknown"
    assert server.posts() == 1


async def test_a_servers_own_word_is_believed_at_once(scripted: Script, disk: Ledger) -> None:
    patient = Profile(name="very patient", submit_grace_s=0.1, longest_create_s=60)
    told = {"error": {"message": "no GPU", "type": "server_error", "code": None}}

    def answer(method: str, path: str, body: bytes) -> Reply:
        return (500, {}, told) if body else (200, {}, {"data": []})

    server, client = scripted(answer, patient)
    with pytest.raises(UnavailableError, match="no GPU") as caught:
        await go(client, disk)
    assert (caught.value.paid, caught.value.ended, server.posts()) == ("no", True, 3)


async def test_too_many_is_a_refusal_whoever_says_so(scripted: Script, disk: Ledger) -> None:
    jobs, refusals = Jobs(lose=0), [b"slow down"]

    def answer(method: str, path: str, body: bytes) -> Reply:
        if method == "POST" and refusals:
            return 429, {**PLAIN, "Retry-After": "0.1"}, refusals.pop()
        return jobs(method, path, body)

    server, client = scripted(answer, Profile(name="very patient", longest_create_s=60))
    assert not (await go(client, disk)).adopted
    assert (server.posts(), len(jobs.jobs)) == (2, 1)


def test_what_was_pickled_before_ended_was_known_is_no_last_word() -> None:
    error = UnavailableError("gone", status=503)
    del error.__dict__["ended"]
    assert not error.ended
    assert isinstance(error, SoraError)
