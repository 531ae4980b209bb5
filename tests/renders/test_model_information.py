"""Model information: what a person asks before paying, and what one's own store has measured."""

from datetime import date

import pytest

from prefect_sora import model_information
from prefect_sora.errors import InvalidRequestError
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.ledger import Ledger
from tests.support.renders import clip, render


async def test_a_known_model_tells_all_that_a_person_asks() -> None:
    pro = await model_information("sora-2-pro-2025-10-06")

    assert (pro.listed, pro.kind) == (True, "video")
    assert pro.ratios["16:10"] == "1792x1024"
    assert "1:1" not in pro.ratios
    assert pro.seconds == (4, 8, 12, 16, 20)
    assert pro.verbs == ("create", "remix", "edit", "extend")
    by_size = {price.size: price for price in pro.prices}
    assert by_size["1920x1080"].usd_per_clip == {4: 2.8, 8: 5.6, 12: 8.4, 16: 11.2, 20: 14.0}
    assert by_size["1792x1024"].usd_per_second == 0.5
    assert "not confirmed" in by_size["1920x1080"].source
    assert pro.ended["openai"] == date(2026, 9, 24)
    assert (pro.waits_seconds, pro.measured) == (1800.0, None)
    for said in (pro.good_for, pro.picture_input, pro.account_limits):
        assert said


async def test_the_servers_own_prices_take_the_place_of_the_published_ones() -> None:
    told = await model_information("sora-2", prices={"sora-2": {"1280x720": 0.02, "*": 0.03}})
    assert [price.usd_per_clip[8] for price in told.prices] == [0.16, 0.24]
    assert {price.source for price in told.prices} == {"the server's own"}
    with pytest.raises(InvalidRequestError):
        await model_information("sora-2", prices={"sora-2": -1})


async def test_a_model_that_nobody_lists_says_only_what_is_known() -> None:
    unknown = await model_information("wan-2.2")
    assert (unknown.listed, unknown.prices, unknown.sizes) == (False, (), ())
    (price,) = (await model_information("wan-2.2", prices={"wan-2.2": 0.04})).prices
    assert price.usd_per_clip == {4: 0.16, 8: 0.32, 12: 0.48}


async def test_an_image_model_tells_what_a_picture_costs() -> None:
    told = await model_information("gpt-image-1.5")
    assert (told.kind, told.usd_per_picture["high"]["1024x1024"]) == ("image", 0.133)
    assert told.verbs == ("generate", "edit")


async def test_how_long_renders_took_is_measured_in_the_store(
    client: VideoClient, disk: Ledger
) -> None:
    for take in (1, 2):
        request = clip(model="kites-1", take=take)
        await render(request, client, disk, "tonight", poll_interval_seconds=0.05)
    await render(clip(model="others"), client, disk, "tonight", poll_interval_seconds=0.05)

    measured = (await model_information("kites-1", store=disk.store)).measured
    assert measured
    assert measured.renders == 2
    assert 0 < measured.median_seconds <= measured.longest_seconds < 60
    assert (await model_information("nobody", store=disk.store)).measured is None
