"""Catalogue: what a model does not offer is refused before it can cost anything."""

import json
from datetime import date
from typing import Any

import pytest

from prefect_sora.errors import InvalidRequestError, RetiredModelError
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers import video_models
from prefect_sora.servers.estimates import price
from prefect_sora.servers.images import models as image_models
from prefect_sora.servers.profiles import PROFILES, Service, read_profile
from prefect_sora.servers.request_checks import check
from prefect_sora.servers.server import remote
from tests.support.scripted import Script


def ask(**fields: Any) -> VideoRequest:
    return VideoRequest(**{"prompt": "a kite", **fields})


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        ({"seconds": 5}, "4, 8, 12, 16 or 20 seconds, not 5"),
        ({"seconds": 10}, "4, 8, 12, 16 or 20 seconds, not 10"),
        ({"size": "1024x1792"}, "1280x720 or 720x1280, not 1024x1792"),
        ({"aspect_ratio": "1:1"}, "1280x720 or 720x1280, not 1024x1024"),
        ({"model": "sora-2-2025-12-08", "size": "1080p"}, "1280x720 or 720x1280"),
    ],
    ids=str,
)
def test_what_the_model_does_not_offer_is_refused_with_what_it_does(
    asked: dict[str, Any], allowed: str
) -> None:
    with pytest.raises(InvalidRequestError, match="allow_unlisted") as caught:
        video_models.check(ask(**asked))
    assert allowed in str(caught.value)


@pytest.mark.parametrize("ratio", ["16:9", "9:16", "1:1", "16:10", "10:16"])
@pytest.mark.parametrize("profile", ["local", "sglang", "vllm-omni", "fastvideo", "tensorrt-llm"])
def test_what_only_the_ended_service_could_not_do_is_the_servers_to_judge(
    ratio: str, profile: str
) -> None:
    asked = ask(aspect_ratio=ratio, seconds=5)
    assert video_models.check(asked, profile=PROFILES[profile]) == []
    with pytest.raises(InvalidRequestError):
        video_models.check(asked, profile=PROFILES["openai"])


def test_a_profile_says_its_own_sizes() -> None:
    own = read_profile({"base": "generic", "keeps_catalogue": False, "sizes": ["832x480"]})
    box = remote("http://gpu-box:8000/v1", profile=own)
    check(ask(model="wan-2.2", size="832x480", seconds=5), box)
    assert video_models.check(ask(size="832x480", seconds=5), profile=own) == []
    with pytest.raises(InvalidRequestError, match="has no size 1024x1024") as caught:
        check(ask(aspect_ratio="1:1"), box)
    assert "It renders 832x480" in str(caught.value)


def test_a_switch_sends_it_all_the_same_and_warns() -> None:
    (warning,) = video_models.check(ask(seconds=5, allow_unlisted=True))
    assert "not 5" in warning


@pytest.mark.parametrize("seconds", [10, 15, 25])
def test_disputed_lengths_of_pro_are_let_through_with_a_warning(seconds: int) -> None:
    (warning,) = video_models.check(ask(model="sora-2-pro", seconds=seconds))
    assert "was reported to refuse it" in warning


def test_what_it_offers_passes_in_silence() -> None:
    for seconds in (4, 8, 12, 16, 20):
        for size in ("1792x1024", "1024x1792", "1920x1080", "1080x1920", "1280x720"):
            assert video_models.check(ask(model="sora-2-pro", size=size, seconds=seconds)) == []


@pytest.mark.parametrize("model", ["wan-2.2", None])
def test_a_model_we_do_not_know_is_the_servers_to_judge(model: str | None) -> None:
    assert video_models.check(ask(model=model, seconds=7, size="640x360"), "openai") == []


@pytest.mark.parametrize(("service", "day"), [("openai", "2026-09-24"), ("azure", "2026-09-15")])
def test_a_retired_model_is_named_as_retired_on_its_own_service(service: Service, day: str) -> None:
    ended = date.fromisoformat(day)
    with pytest.raises(RetiredModelError, match=f"ended sora-2 on {day}") as caught:
        video_models.check(ask(), service, today=ended)
    assert "local renderer" in str(caught.value)
    assert video_models.check(ask(), service, today=date(2026, 9, 1)) == []
    assert video_models.check(ask(), None) == []
    assert day in video_models.check(ask(allow_unlisted=True), service, today=ended)[0]


@pytest.mark.parametrize("model", ["openai/sora-2", "gateway/openai/sora-2-2025-12-08"])
async def test_a_name_with_its_vendors_is_the_catalogues_model_and_sent_as_it_was_given(
    scripted: Script, model: str
) -> None:
    server, client = scripted(lambda *_: (200, {}, {"id": "video_1", "status": "queued"}))
    asked = ask(model=model, size="1280x720", seconds=4)
    assert price(asked, client.server).usd == 0.4
    with pytest.raises(InvalidRequestError, match="sora-2 renders"):
        video_models.check(ask(model=model, seconds=5))
    await client.submit(asked, None, "key")
    picture = image_models.find("openai/gpt-image-2")
    assert picture == image_models.find("gpt-image-2")
    farm = remote(server.base_url, profile=PROFILES["sglang"])
    assert farm.model_for(model) == model
    assert json.loads(server.asked("POST")[0].body)["model"] == model


def test_where_a_server_has_a_catalogue_of_its_own_that_one_decides() -> None:
    own = PROFILES["openrouter"]
    assert video_models.check(ask(model="openai/sora-2", seconds=5), profile=own) == []
