"""Image requests: each model gets what it takes, and what it does not take is refused by name."""

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from prefect_sora.errors import InvalidRequestError, RetiredModelError
from prefect_sora.requests.image import NOT_IN_FINGERPRINT, ImageRequest
from prefect_sora.servers.images import checks as image_checks
from prefect_sora.servers.images import models as image_models
from prefect_sora.servers.profiles import PROFILES, Service
from prefect_sora.servers.server import remote

PLACE = remote("https://images.example/v1")


def asked(**fields: Any) -> ImageRequest:
    return ImageRequest.of(**{"prompt": "a fox", **fields})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"prompt": " "}, "prompt is empty"),
        ({"prompt": "x" * 32_001}, "32,000 at most"),
        ({"size": "big"}, "neither WIDTHxHEIGHT"),
        ({"n": 0}, "n must be 1 or more, not 0"),
        ({"n": 11}, "n must be 10 at most, not 11"),
        ({"output_format": "gif"}, "'png', 'jpeg' or 'webp'"),
        (
            {"output_compression": 101, "output_format": "jpeg"},
            "output_compression must be 100 at most, not 101",
        ),
        ({"output_compression": 50}, "goes with output_format jpeg or webp"),
        ({"background": "transparent", "output_format": "jpeg"}, "png or webp"),
        ({"mask": "m.png"}, "give that as images"),
        ({"input_fidelity": "high"}, "give the pictures as images"),
        ({"images": ("a.png",) * 17}, "images holds 17; 16 at most"),
        ({"extra": {"quality": "low"}}, "use quality"),
        ({"extra": {"image": "x"}}, "use images"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_no_model_can_draw_is_refused_in_words(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said) as caught:
        asked(**fields)
    assert caught.value.paid == "no"
    assert "Nothing was paid" in str(caught.value)


REFUSED = [
    ("gpt-image-2", {"size": "1000x1000"}, "multiples of 16"),
    ("gpt-image-2", {"size": "512x512"}, "655,360"),
    ("gpt-image-2", {"size": "3840x1024"}, "3:1"),
    ("gpt-image-2", {"quality": "xhigh"}, "low, medium, high or auto"),
    ("gpt-image-2", {"style": "vivid"}, "takes no style, but background"),
    ("gpt-image-2", {"background": "white"}, "opaque or auto, not white. For a white ground, ask"),
    ("gpt-image-2", {"background": "transparent"}, "2.5-flare draw transparent ones"),
    ("gpt-image-1.5", {"background": "black"}, "transparent, opaque or auto, not black"),
    ("gpt-image-2", {"input_fidelity": "high", "images": ("a.png",)}, "takes no input_fidelity"),
    ("gpt-image-2.5-flare", {"quality": "hd"}, "xhigh, max or auto"),
    ("gpt-image-2.6-flare", {"style": "vivid"}, "takes no style"),
    ("gpt-image-1.5", {"size": "1280x720"}, "1024x1024, 1536x1024, 1024x1536 or auto"),
    ("gpt-image-1.5-2025-12-16", {"quality": "hd"}, "low, medium, high or auto"),
    ("gpt-image-1-mini", {"style": "natural"}, "takes no style"),
    ("gpt-image-1", {"size": "512x512"}, "1024x1024"),
    ("dall-e-3", {"n": 2}, "draws 1 picture at once, not 2"),
    ("dall-e-3", {"background": "transparent"}, "takes no background, but quality, size or style"),
    ("dall-e-3", {"output_format": "png"}, "takes no output_format"),
    ("dall-e-3", {"quality": "high"}, "standard or hd"),
    ("dall-e-3", {"style": "bold"}, "vivid or natural"),
    ("dall-e-3", {"images": ("a.png",)}, "edits no pictures; gpt-image"),
    ("dall-e-3", {"prompt": "x" * 4001}, "4000 characters"),
    ("dall-e-2", {"size": "1792x1024"}, "256x256, 512x512 or 1024x1024"),
    ("dall-e-2", {"quality": "hd"}, "takes no quality, but size"),
    ("dall-e-2", {"images": ("a.png", "b.png")}, "edits 1 picture at once, not 2"),
    ("dall-e-2", {"moderation": "low"}, "takes no moderation"),
]


@pytest.mark.parametrize(("model", "fields", "said"), REFUSED)
def test_what_a_model_does_not_take_is_refused_with_what_it_does(
    model: str, fields: dict[str, Any], said: str
) -> None:
    request = asked(model=model, **fields)
    with pytest.raises(InvalidRequestError, match=said):
        image_checks.check(request)
    sent_all_the_same = request.model_copy(update={"allow_unlisted": True})
    assert any(said in warning for warning in image_checks.check(sent_all_the_same))


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("gpt-image-2", {"size": "3840x2160", "quality": "high", "n": 10}),
        ("gpt-image-2", {"size": "1280x720", "output_format": "webp", "output_compression": 5}),
        ("gpt-image-2.5-sunburst", {"quality": "max", "background": "transparent"}),
        ("gpt-image-2.6-sunburst", {"quality": "beyond", "background": "transparent"}),
        ("gpt-image-1.5", {"input_fidelity": "high", "images": ("a.png",) * 16}),
        ("dall-e-3", {"style": "natural", "quality": "hd", "size": "1792x1024"}),
        ("dall-e-2", {"size": "256x256", "n": 10}),
        ("local-image", {"background": "white", "size": "17x33", "quality": "any"}),
        (None, {"style": "oil"}),
    ],
)
def test_what_a_model_takes_passes(model: str | None, fields: dict[str, Any]) -> None:
    assert image_checks.check(asked(model=model, **fields)) == []


@pytest.mark.parametrize("profile", ["local", "sglang", "vllm-omni"])
def test_what_only_openai_refuses_is_another_servers_to_judge(profile: str) -> None:
    white = asked(model="gpt-image-2", background="white", size="17x33")
    assert image_checks.check(white, profile=PROFILES[profile]) == []


@pytest.mark.parametrize(
    ("model", "service", "last_day"),
    [
        ("gpt-image-1", "openai", date(2026, 10, 22)),
        ("gpt-image-1.5", "openai", date(2026, 11, 30)),
        ("gpt-image-1.5", "azure", date(2026, 12, 15)),
        ("dall-e-3", "openai", date(2026, 5, 11)),
    ],
)
def test_a_model_that_its_own_service_has_ended_is_refused_there_and_nowhere_else(
    model: str, service: Service, last_day: date
) -> None:
    ended = date.fromordinal(last_day.toordinal() + 1)
    assert image_checks.check(asked(model=model), service, last_day) == []
    with pytest.raises(RetiredModelError, match=f"ended {model} on {ended}") as caught:
        image_checks.check(asked(model=model), service, ended)
    assert "gpt-image-2" in str(caught.value)
    assert image_checks.check(asked(model=model), None, ended) == []
    assert image_checks.check(asked(model=model, allow_unlisted=True), service, ended)


@pytest.mark.parametrize(
    ("fields", "usd"),
    [
        ({"model": "gpt-image-1.5", "size": "1024x1024", "quality": "medium"}, 0.034),
        ({"model": "gpt-image-1.5", "size": "1024x1024"}, None),
        ({"model": "gpt-image-1-mini", "size": "1024x1024", "quality": "low"}, 0.005),
        ({"model": "gpt-image-1-mini", "size": "1536x1024", "quality": "low"}, None),
        ({"model": "gpt-image-2", "size": "1024x1024", "quality": "low"}, None),
        ({"model": "dall-e-3", "size": "1024x1024"}, 0.04),
        ({"model": "dall-e-2", "size": "512x512"}, 0.018),
        ({"model": "my-model"}, None),
    ],
)
def test_a_price_is_known_or_said_to_be_unknown(fields: dict[str, Any], usd: float | None) -> None:
    assert image_models.usd_each(asked(**fields), PLACE) == usd


def test_a_servers_own_price_of_a_picture_comes_first() -> None:
    own = remote("https://images.example/v1", prices=(("gpt-image-2", "*", 0.07),))
    assert image_models.usd_each(asked(model="gpt-image-2"), own) == 0.07


@pytest.mark.parametrize(
    ("model", "pixels", "size"),
    [
        ("gpt-image-2", (1280, 720), "1280x720"),
        ("gpt-image-1.5", (1280, 720), "1536x1024"),
        ("gpt-image-1.5", (720, 1280), "1024x1536"),
        ("gpt-image-1.5", (1024, 1024), "1024x1024"),
        ("gpt-image-2", (64, 64), "1024x1024"),
        ("dall-e-3", (1920, 1080), "1792x1024"),
        ("local-image", (64, 64), "64x64"),
        (None, (1280, 720), "1280x720"),
        ("gpt-image-2", None, None),
    ],
)
def test_a_first_frame_has_the_size_that_the_model_draws_nearest_to_the_videos(
    model: str | None, pixels: tuple[int, int] | None, size: str | None
) -> None:
    assert image_models.nearest_size(model, pixels) == size


def test_every_field_is_in_the_key_or_named_as_left_out() -> None:
    others: dict[str, Any] = {
        "prompt": "a hen",
        "model": "another",
        "size": "64x64",
        "n": 2,
        "quality": "low",
        "style": "vivid",
        "background": "opaque",
        "output_format": "webp",
        "output_compression": 5,
        "moderation": "low",
        "input_fidelity": "low",
        "take": 2,
        "extra": {"seed": 1},
    }
    assert others.keys() | NOT_IN_FINGERPRINT == ImageRequest.model_fields.keys()
    base = {"prompt": "a fox", "images": ("a.png",), "output_format": "jpeg"}
    plain = ImageRequest.of(**base).canonical("hash")
    for name, value in others.items():
        assert ImageRequest.of(**{**base, name: value}).canonical("hash") != plain, name
    assert ImageRequest.of(**base).canonical("other") != plain
    assert plain["kind"] == "image"


def test_the_documented_table_names_every_model_and_the_days_that_it_ends() -> None:
    text = (Path(__file__).parents[2] / "docs" / "images.md").read_text("utf-8")
    rows = re.findall(r"^\| ((?:gpt|chatgpt|dall)[^|]*)\|.*\|([^|]*)\|$", text, re.MULTILINE)
    told = {name: end for names, end in rows for name in re.findall(r"[a-z]+-[\w.-]*\w", names)}

    assert told.keys() == image_models.IMAGE_MODELS.keys()
    for name, model in image_models.IMAGE_MODELS.items():
        days = {f"{day}" for day in model.ended.values()}
        assert set(re.findall(r"\d{4}-\d\d-\d\d", told[name])) == days, name
