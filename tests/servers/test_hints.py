"""Hints: how long a server asks to be left alone, by its headers; nonsense asks for nothing."""

from email.utils import formatdate
from time import time

import pytest

from prefect_sora.servers.protocol.status_errors import poll_after_s, retry_after_s

NONSENSE = [
    pytest.param("²", id="a digit that is no number"),
    pytest.param("٣", id="another script's digit"),
    pytest.param("9" * 5000, id="thousands of digits"),
    pytest.param("-5", id="negative"),
    pytest.param("nan", id="nan"),
    pytest.param("inf", id="infinity"),
    pytest.param("1e309", id="an overflow"),
    pytest.param("1_000", id="a number as Python writes it"),
    pytest.param("", id="empty"),
    pytest.param("soon", id="a word"),
]


@pytest.mark.parametrize("value", NONSENSE)
@pytest.mark.parametrize("name", ["retry-after", "retry-after-ms", "llm_provider-retry-after"])
def test_a_retry_after_that_is_no_time_is_none(name: str, value: str) -> None:
    assert retry_after_s({name: value}) is None


@pytest.mark.parametrize("value", NONSENSE)
def test_a_pace_that_is_no_time_is_none(value: str) -> None:
    assert poll_after_s({"openai-poll-after-ms": value}) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "²", "retry-after": "3"}, 3.0),
        ({"llm_provider-retry-after": "900"}, 900.0),
    ],
)
def test_a_count_is_read(headers: dict[str, str], seconds: float) -> None:
    assert retry_after_s(headers) == seconds


def test_a_pace_is_read_in_milliseconds() -> None:
    assert poll_after_s({"openai-poll-after-ms": "1500"}) == 1.5


def test_a_date_is_so_long_from_now_and_one_that_has_passed_is_now() -> None:
    ahead = retry_after_s({"retry-after": formatdate(time() + 60, usegmt=True)})
    assert ahead is not None
    assert 55 < ahead <= 60
    assert retry_after_s({"retry-after": formatdate(time() - 60, usegmt=True)}) == 0.0


@pytest.mark.parametrize(
    "value",
    ["Fri, 99 Foo 2026 00:00:00 GMT", "Fri, 31 Dec 99999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00"],
)
def test_a_date_that_no_clock_shows_is_none_or_has_passed(value: str) -> None:
    assert retry_after_s({"retry-after": value}) in (None, 0.0)
