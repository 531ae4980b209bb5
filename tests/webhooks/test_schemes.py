"""Schemes: OpenRouter's signature, and what of a webhook names it."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from prefect_sora.errors import InvalidRequestError
from prefect_sora.renders.recovery.webhooks.schemes import NotSignedError, Scheme, scheme_of
from prefect_sora.servers.access.webhooks import Webhooks, read_mark
from prefect_sora.servers.profiles import OPENROUTER
from prefect_sora.servers.server import remote
from tests.support.webhooks import PLAIN, Sent, openrouter, standard, webhooks


def scheme(*secrets: str) -> Scheme:
    """How OpenRouter's webhooks are checked."""
    server = remote("https://openrouter.ai/api/v1", profile=OPENROUTER)
    return scheme_of(replace(server, webhooks=webhooks(*secrets)))


def signature(change: Callable[[str], str]) -> Sent:
    """A webhook with another signature."""
    sent = openrouter()
    changed = change(sent.headers["x-openrouter-signature"])
    return Sent(sent.body, {**sent.headers, "x-openrouter-signature": changed})


SIGNED: dict[str, Callable[[], Sent]] = {
    "new": openrouter,
    "nearly too old": lambda: openrouter(age=295),
    "of a clock that is ahead": lambda: openrouter(age=-295),
    "by two secrets": lambda: signature(lambda one: f"v1={'0' * 64},{one}"),
    "with spaces": lambda: signature(lambda one: one.replace(",", " , ")),
}


@pytest.mark.parametrize("how", SIGNED)
def test_what_openrouter_has_signed_is_read(how: str) -> None:
    sent = SIGNED[how]()
    event = scheme(PLAIN).read(sent.headers, sent.body)
    assert (event.id, event.video_id) == ("gen-vid-1-completed", "gen-vid-1")


@pytest.mark.parametrize("secrets", [("another", PLAIN), (PLAIN, "another")])
def test_each_secret_of_a_rotation_is_tried(secrets: tuple[str, str]) -> None:
    sent = openrouter()
    assert scheme(*secrets).read(sent.headers, sent.body).video_id == "gen-vid-1"


HOSTILE: dict[str, Callable[[], Sent]] = {
    "another secret": lambda: openrouter(secret="another"),
    "too old": lambda: openrouter(age=301),
    "from the future": lambda: openrouter(age=-302),
    "no time": lambda: signature(lambda one: one.partition(",")[2]),
    "two times": lambda: signature(lambda one: f"t=1,{one}"),
    "no number for a time": lambda: signature(lambda one: re.sub(r"t=\d+", "t=now", one)),
    "digits of another alphabet": lambda: signature(lambda one: re.sub(r"t=\d+", "t=١٢٣", one)),
    "an endless time": lambda: signature(lambda one: re.sub(r"t=\d+", f"t={'9' * 5000}", one)),
    "no signature": lambda: signature(lambda one: one.partition(",")[0]),
    "another version": lambda: signature(lambda one: one.replace("v1=", "v2=")),
    "half of it": lambda: signature(lambda one: one[:-32]),
    "no hex": lambda: signature(lambda one: one[:-4] + "kite"),
    "no ASCII": lambda: signature(lambda one: one[:-4] + "é"),
    "nothing": lambda: signature(lambda one: ""),
    "another body": lambda: Sent(openrouter("gen-vid-2").body, openrouter().headers),
    "the standard's": lambda: standard(),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_what_openrouter_has_not_signed_now_is_refused(how: str) -> None:
    sent = HOSTILE[how]()
    with pytest.raises(NotSignedError):
        scheme(PLAIN).read(sent.headers, sent.body)


def test_an_id_that_is_not_signed_makes_no_new_event() -> None:
    sent = openrouter()
    again = {**sent.headers, "x-openrouter-idempotency-key": "another"}
    assert scheme(PLAIN).read(again, sent.body).id == "gen-vid-1-completed"


def test_each_end_of_a_job_is_an_event_of_its_own() -> None:
    ends = [openrouter(status=end) for end in ("completed", "failed", "cancelled", "expired")]
    assert len({scheme(PLAIN).read(sent.headers, sent.body).id for sent in ends}) == 4


@pytest.mark.parametrize("url", ["hooks.example.com", "ftp://hooks", "https://", "https://a:b@c/"])
def test_an_address_that_no_server_can_call_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="address"):
        Webhooks.of(url, None)


@pytest.mark.parametrize("url", ["https://hooks.example.com/a", "https://hooks.example.com/a?b=c"])
def test_a_callback_names_its_render(url: str) -> None:
    callback = Webhooks(url).callback("0123456789ab-2-0123456789abcdef")
    assert callback is not None
    assert callback.startswith(url)
    query = callback.partition("?")[2]
    assert read_mark(query) == ("0123456789ab", 2, "0123456789abcdef")


@pytest.mark.parametrize("query", ["", "render=", "render=../..-1-00", "render=%ff", "a" * 9_000])
def test_a_query_that_names_nothing_names_no_render(query: str) -> None:
    assert read_mark(query) is None
