"""Prices: what is known of the money before and after, and that what is not known is never 0."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from prefect_sora import AzureOpenAICredentials, OpenAICredentials
from prefect_sora.errors import InvalidRequestError
from prefect_sora.renders.environment import named_provider
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.estimates import Estimate, Price, estimate, price
from prefect_sora.servers.server import Server, remote
from prefect_sora.servers.video_prices import PUBLISHED, dollars, prices_from_json, read_prices

URL = "http://127.0.0.1:9/v1"


def ask(**fields: Any) -> VideoRequest:
    return VideoRequest(**{"prompt": "a kite", **fields})


def server(prices: Any = None, **fields: Any) -> Server:
    return remote(URL, prices=read_prices(prices), **fields)


@pytest.mark.parametrize(
    ("model", "size", "seconds", "usd"),
    [
        ("sora-2", "1280x720", 8, 0.80),
        ("sora-2-pro", "720x1280", 4, 1.20),
        ("sora-2-pro", "1792x1024", 12, 6.00),
        ("sora-2-pro", "1920x1080", 4, 2.80),
        ("sora-2-2025-10-06", "1280x720", 4, 0.40),
        ("sora-2", "64x64", 4, None),
        ("wan-2.2", "1280x720", 4, None),
        ("sora-2", "1280x720", None, None),
        (None, "1280x720", 4, None),
    ],
)
def test_a_price_that_is_not_known_is_none_and_never_zero(
    model: str | None, size: str, seconds: float | None, usd: float | None
) -> None:
    assert server().cost_usd(model, size, seconds) == usd


def test_each_published_price_says_where_and_when_it_was_read() -> None:
    for tariff in PUBLISHED:
        assert tariff.usd_per_second > 0
        assert tariff.source
        assert tariff.read_on.year == 2026


@pytest.mark.parametrize(
    ("prices", "model", "size", "usd"),
    [
        ({"wan-2.2": 0.04}, "wan-2.2", "64x64", 0.16),
        ({"wan-2.2": {"64x64": 0.05, "*": 0.01}}, "wan-2.2", "64x64", 0.20),
        ({"wan-2.2": {"64x64": 0.05, "*": 0.01}}, "wan-2.2", "128x128", 0.04),
        ({"wan-2.2": {"720p": 0.05}}, "wan-2.2", "720x1280", 0.20),
        ({"sora-2": 0}, "sora-2", "1280x720", 0.0),
        ({"sora-2": 0.02}, "sora-2-2025-10-06", "1280x720", 0.08),
        ({"sora-2": {"64x64": 0.02}}, "sora-2", "1280x720", None),
        ({"*": 0.01}, None, "64x64", 0.04),
        ({"*": 0.01}, "sora-2", "1280x720", 0.04),
        ({"wan-2.2": 0.04}, "sora-2", "1280x720", 0.40),
    ],
    ids=str,
)
def test_a_servers_own_prices_take_the_place_of_the_published_ones(
    prices: Any, model: str | None, size: str, usd: float | None
) -> None:
    assert server(prices).cost_usd(model, size, 4) == usd


def test_what_costs_nothing_costs_nothing_at_an_unknown_length() -> None:
    assert server({"*": 0}).cost_usd(None, None, None) == 0.0
    assert replace(server(), local=True).cost_usd("sora-2", "1280x720", 8) == 0.0


def test_a_deployment_is_priced_by_its_own_name_before_the_models() -> None:
    azure = server({"my-deployment": 0.07}, deployment="my-deployment")
    assert azure.cost_usd("sora-2", "1280x720", 10) == 0.70
    assert server(deployment="unpriced").cost_usd("sora-2", "1280x720", 10) == 1.00


@pytest.mark.parametrize(
    ("prices", "said"),
    [
        ({"wan": -0.1}, "The price of wan is -0.1"),
        ({"wan": float("nan")}, "The price of wan is nan"),
        ({"wan": float("inf")}, "The price of wan is inf"),
        ({"wan": "cheap"}, "The price of wan is 'cheap'"),
        ({"wan": True}, "The price of wan is True"),
        ({"wan": None}, "The price of wan is None"),
        ({"wan": {"64x64": -1}}, "The price of wan at 64x64 is -1"),
        ({"wan": {"large": 1}}, "The price of wan is for no size: size 'large'"),
        ({"wan": {}}, "The price of wan is empty"),
        ({" ": 1}, "a model without a name"),
        ([0.04], "not by model"),
        (0.04, "not by model"),
    ],
    ids=str,
)
def test_what_are_no_prices_is_refused_with_their_shape(prices: Any, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=r'\{"my-model": 0.04\}') as caught:
        read_prices(prices)
    assert said in str(caught.value)
    with pytest.raises(ValidationError, match="USD per second"):
        OpenAICredentials(base_url=URL, prices=prices)
    with pytest.raises(ValidationError, match="USD per second"):
        AzureOpenAICredentials(endpoint="https://x.openai.azure.com", prices=prices)


async def test_the_blocks_hand_their_prices_to_the_server() -> None:
    prices: dict[str, Any] = {"wan-2.2": {"64x64": 0.05}, "other": 0}
    block = OpenAICredentials(base_url=URL, profile="openai", prices=prices)
    assert (await block.get_server()).cost_usd("wan-2.2", "64x64", 2) == 0.10
    azure = AzureOpenAICredentials(endpoint="https://x.openai.azure.com", prices=prices)
    assert (await azure.get_server()).cost_usd("other", "64x64", 2) == 0.0
    assert (await OpenAICredentials(base_url=URL, profile="openai").get_server()).prices == ()


def test_on_the_command_line_prices_come_from_the_environment() -> None:
    environ = {"OPENAI_BASE_URL": URL, "PREFECT_SORA_PRICES": '{"wan": 0.5}'}
    assert named_provider("openai", environ).server().cost_usd("wan", "64x64", 2) == 1.0
    with pytest.raises(InvalidRequestError, match="PREFECT_SORA_PRICES holds no JSON"):
        named_provider("openai", {**environ, "PREFECT_SORA_PRICES": "0.5 each"})
    assert prices_from_json("", "X") == ()


@pytest.mark.parametrize(
    ("usd", "written"),
    [
        (None, "unknown"),
        (0.0, "$0.00"),
        (0.1 + 0.2, "$0.30"),
        (12, "$12.00"),
        (0.004, "$0.004"),
        (1.125, "$1.125"),
    ],
)
def test_no_amount_is_written_as_nothing_that_is_something(usd: float | None, written: str) -> None:
    assert dollars(usd) == written


def test_an_estimate_sums_what_is_known_and_counts_what_is_not() -> None:
    told = estimate([ask(), ask(model="wan-2.2"), ask(seconds=4), ask(model=None)], server())
    assert [one.usd for one in told.prices] == [0.80, None, 0.40, None]
    assert (told.known_usd, told.unknown, told.usd) == (1.20, 2, None)
    assert str(told) == "$1.20 and 2 of unknown price"
    assert told.whys == [
        "no price of wan-2.2 at 1280x720 is known",
        "127.0.0.1:9/v1 chooses the model",
    ]
    assert str(estimate([ask(), ask()], server())) == "$1.60"
    assert str(estimate([ask(model=None)], server())) == "unknown"
    assert str(Estimate(())) == "$0.00"


@pytest.mark.parametrize("kind", ["remix", "edit", "extend"])
def test_what_starts_from_another_video_has_no_price_before_that_is_known(kind: str) -> None:
    request = ask(kind=kind, source_video_id="video_1", seconds=4, model="sora-2")
    assert price(request, server()).usd is None
    assert "source" in str(price(request, server()).why)
    assert price(request, server({"*": 0})).usd == 0.0


def test_of_an_extension_the_new_seconds_alone_are_charged() -> None:
    request = ask(kind="extend", source_video_id="video_1", seconds=4, model="wan")
    assert price(request, server({"wan": 0.1})) == Price(0.4)


def test_what_was_rendered_before_costs_nothing_more() -> None:
    assert price(ask(kind="existing", source_video_id="video_1"), server()) == Price(0.0)
