"""Told costs: what a server says of a cost counts where it can be so, and is told where not."""

from typing import Any

import pytest

from prefect_sora.servers.costs.told import Told, read_told
from prefect_sora.servers.profiles import GENERIC, LITELLM_PROXY, PROFILES, read_profile
from prefect_sora.servers.protocol.video_object import read_video


@pytest.mark.parametrize(
    ("value", "scale", "usd"),
    [
        (0.42, 1.0, 0.42),
        ("0.42", 1.0, 0.42),
        (4_200_000_000, 1e-10, 0.42),
        (42, 0.01, 0.42),
        (0, 1.0, 0.0),
        (0.1 + 0.2, 1.0, 0.3),
        (None, 1.0, None),
        ("", 1.0, None),
    ],
    ids=repr,
)
def test_an_amount_is_read_in_its_unit(value: object, scale: float, usd: float | None) -> None:
    assert read_told(value, scale) == Told(usd)


@pytest.mark.parametrize(
    ("value", "scale", "doubt"),
    [
        (float("nan"), 1.0, "nan is no amount from 0 up"),
        ("Infinity", 1.0, "Infinity is no amount"),
        (-0.4, 1.0, "-0.4 is no amount from 0 up"),
        (4_200_000_000, 1.0, "4200000000 would be $4.2e+09, more than any clip costs"),
        (4.2, 1e-10, "4.2 would be $4.2e-10, less than any clip costs: another unit?"),
        ("1e999999999", 1e300, "no amount"),
        ("sk-secret", 1.0, "something that is no amount (str)"),
        (True, 1.0, "something that is no amount (bool)"),
        ({"usd": 1}, 1.0, "something that is no amount (dict)"),
    ],
    ids=repr,
)
def test_what_cannot_be_a_cost_is_unknown_and_told(value: object, scale: float, doubt: str) -> None:
    told = read_told(value, scale)
    assert told.usd is None
    assert told.doubt
    assert doubt in told.doubt
    assert "sk-secret" not in told.doubt


@pytest.mark.parametrize(
    ("said", "estimate", "usd"),
    [
        (0.5, 0.4, 0.5),
        (0.0, 0.4, 0.0),
        (40.0, 0.4, None),
        (0.004, 0.4, None),
        (40.0, None, 40.0),
        (40.0, 0.0, 40.0),
    ],
)
def test_cents_for_dollars_are_told_by_the_estimate(
    said: float, estimate: float | None, usd: float | None
) -> None:
    told = Told(said).beside(estimate)
    assert (told.usd, told.doubt is None) == (usd, usd is not None)
    if usd is None:
        assert told.doubt == f"${said:g}, where $0.4 was estimated: another unit?"


def told(profile: str, headers: Any = None, **job: Any) -> Told:
    video = read_video({"id": "v", "request_id": "v", **job}, PROFILES[profile], headers=headers)
    assert video
    return video.told


def test_each_server_tells_it_where_its_profile_says() -> None:
    done: Any = {"status": "completed"}
    assert told("openrouter", usage={"cost": 0.42, "is_byok": False}, **done) == Told(0.42)
    assert told("together", outputs={"cost": 0.28, "video_url": "x"}, **done) == Told(0.28)
    ticks: Any = {"usage": {"cost_in_usd_ticks": 4_200_000_000}}
    assert told("xai", status="done", video={"url": "https://x/v.mp4"}, **ticks) == Told(0.42)
    assert told("xai", status="pending", **ticks) == Told()
    assert told("litellm-proxy", {"x-litellm-response-cost": "0.4"}) == Told(0.4)
    assert told("generic", usage={"cost": 0.42}, **done) == Told()
    ours = read_profile({"base": "generic", "cost_path": "billing.cents", "cost_scale": 0.01})
    video = read_video({"id": "v", "status": "done", "billing": {"cents": 42}}, ours)
    assert video
    assert video.told == Told(0.42)


def test_nothing_is_taken_for_0_that_is_not_said_so() -> None:
    assert told("openrouter", status="in_progress", usage={"cost": 0}) == Told()
    assert told("openrouter", status="failed", usage={"cost": None}) == Told()
    assert told("openrouter", status="failed") == Told()
    assert told("litellm-proxy", {"x-litellm-response-cost": "0.0"}) == Told()
    own_key = told("openrouter", status="completed", usage={"cost": 0, "is_byok": True})
    assert (own_key.usd, own_key.doubt) == (None, "usage.is_byok is said, so another bills for it")


def test_a_failed_job_is_free_only_where_its_own_field_says_so() -> None:
    def is_free(profile: Any, **job: Any) -> bool:
        video = read_video({"id": "v", "status": "failed", **job}, profile)
        assert video
        return video.is_free

    openrouter = PROFILES["openrouter"]
    assert is_free(openrouter, usage={"cost": 0})
    assert not is_free(openrouter, usage={"cost": 0, "is_byok": True})
    assert not is_free(openrouter, usage={"cost": None}, cost=0)
    assert is_free(GENERIC, usage={"cost": 0})
    assert is_free(LITELLM_PROXY, cost=0)
