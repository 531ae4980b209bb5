"""Windows: until when a create may leave, by all clocks, and what others may believe of it."""

import pytest

from prefect_sora.limits import Limits
from prefect_sora.renders.images.prepare import Inputs, prepared_of
from prefect_sora.renders.submit.send_window import Window, send_seconds
from prefect_sora.requests.image import ImageRequest
from prefect_sora.servers.server import remote

AT, BEGUN, USUAL = 1_000_000.0, 500.0, Limits()
HERE = remote("http://127.0.0.1:9/v1")
WINDOW = Window(AT, USUAL.send_seconds, BEGUN)
LATEST = USUAL.send_seconds - USUAL.connect_seconds


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
    assert send_seconds(0.0) == send_seconds(0.99) == USUAL.send_seconds
    assert send_seconds(6.0) == USUAL.send_seconds + 12.0
    assert send_seconds(1e6) == USUAL.max_send_seconds


def test_a_create_that_leaves_at_the_end_of_the_longest_window_is_answered_within_the_lease() -> (
    None
):
    assert USUAL.max_send_seconds + USUAL.create_seconds + 20 < USUAL.lease_seconds
    for timeout_s in (0.5, 300.0, 3600.0):
        pictures = prepared_of(ImageRequest(prompt="a kite"), HERE, "tonight", Inputs())
        lease_s = pictures.reservation(HERE, 1, timeout_s).lease_seconds
        assert lease_s is not None
        assert USUAL.max_send_seconds + timeout_s + 20 < lease_s
