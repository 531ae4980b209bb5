"""Windows: until when a create may leave, by all clocks, and what others may believe of it."""

import itertools

import pytest

from prefect_sora.creates import CONNECT_TIMEOUT_SECONDS, CREATE_TIMEOUT_SECONDS
from prefect_sora.images.wishes import LEASE_SLACK_SECONDS
from prefect_sora.ledger import LEASE_SECONDS
from prefect_sora.windows import MAX_SEND_SECONDS, SEND_SECONDS, Window, send_seconds

AT, BEGUN = 1_000_000.0, 500.0
WINDOW = Window(AT, SEND_SECONDS, BEGUN)
LATEST = SEND_SECONDS - CONNECT_TIMEOUT_SECONDS


@pytest.mark.parametrize(
    ("clock", "steady", "is_open"),
    [
        pytest.param(0.0, 0.0, True, id="at once"),
        pytest.param(LATEST, LATEST, True, id="at the last moment"),
        pytest.param(LATEST + 0.01, LATEST + 0.01, False, id="too late"),
        pytest.param(3600.0, 0.1, False, id="the machine slept, or the clock was set forward"),
        pytest.param(0.1, LATEST + 0.01, False, id="the clock was set back meanwhile"),
        pytest.param(-1200.0, 0.1, False, id="the stamp lies in the future of others"),
    ],
)
def test_a_create_leaves_while_its_reservation_is_fresh_by_every_clock(
    clock: float, steady: float, is_open: bool
) -> None:
    assert WINDOW.is_open(AT + clock, BEGUN + steady) == is_open


def test_a_slow_store_gets_the_time_that_it_takes_and_no_more_than_the_lease_allows() -> None:
    assert send_seconds(0.0) is None
    assert send_seconds(0.99) is None
    assert send_seconds(6.0) == SEND_SECONDS + 12.0
    assert send_seconds(1e6) == MAX_SEND_SECONDS


def test_a_create_that_leaves_at_the_end_of_the_longest_window_is_answered_within_the_lease() -> (
    None
):
    for lease_s, create_s in itertools.chain(
        [(LEASE_SECONDS, CREATE_TIMEOUT_SECONDS)],
        ((timeout + LEASE_SLACK_SECONDS, timeout) for timeout in (0.5, 300.0, 3600.0)),
    ):
        assert MAX_SEND_SECONDS + create_s + 20 < lease_s
