"""Request: what to render is settled, or refused in words, before anything is sent."""

from typing import Any

import pytest

from prefect_sora.errors import InvalidRequestError
from prefect_sora.requests.image import ImageRequest
from prefect_sora.requests.video import NOT_IN_FINGERPRINT, VideoRequest

KITE = "a red kite over a grassy park"

# One other value for each field. A new field fails the test below until it is
# here, or named as one that changes no render.
OTHER: dict[str, Any] = {
    "prompt": "a blue kite",
    "model": "sora-2-pro",
    "size": "720x1280",
    "seconds": 12,
    "kind": "remix",
    "source_video_id": "video_2",
    "characters": ("char_1",),
    "take": 2,
    "extra": {"seed": 1},
    "fit": "contain",
}
SETTLED_INTO_ANOTHER = {"aspect_ratio"}  # becomes the size


def test_every_field_makes_another_render_or_is_named_as_one_that_does_not() -> None:
    assert set(OTHER) | NOT_IN_FINGERPRINT | SETTLED_INTO_ANOTHER == set(VideoRequest.model_fields)


@pytest.mark.parametrize("field", sorted(OTHER))
def test_another_value_is_another_render(field: str) -> None:
    request = VideoRequest(prompt=KITE)
    other = request.model_copy(update={field: OTHER[field]})
    assert other.canonical("ab" * 32) != request.canonical("ab" * 32)


def test_another_picture_is_another_render_and_its_address_is_not() -> None:
    here, there = (VideoRequest(prompt=KITE, reference=path) for path in ("a.png", "b.png"))
    assert here.canonical("11" * 32) == there.canonical("11" * 32)
    assert here.canonical("11" * 32) != here.canonical("22" * 32)


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ({}, "1280x720"),
        ({"aspect_ratio": "16:9"}, "1280x720"),
        ({"aspect_ratio": "9:16"}, "720x1280"),
        ({"aspect_ratio": "1:1"}, "1024x1024"),
        ({"aspect_ratio": "16:10"}, "1792x1024"),
        ({"aspect_ratio": "10:16"}, "1024x1792"),
        ({"size": "720p"}, "1280x720"),
        ({"size": "1080p", "aspect_ratio": "9:16"}, "1080x1920"),
        ({"size": "1024p"}, "1792x1024"),
        ({"size": "1024p", "aspect_ratio": "10:16"}, "1024x1792"),
        ({"size": "720x1280", "aspect_ratio": "9:16"}, "720x1280"),
        ({"size": "1792x1024", "aspect_ratio": "16:10"}, "1792x1024"),
        ({"size": "1280x800", "aspect_ratio": "16:10"}, "1280x800"),
        ({"size": "1280x704", "aspect_ratio": "16:9"}, "1280x704"),
        ({"size": " 640X360 "}, "640x360"),
    ],
    ids=str,
)
def test_a_ratio_or_a_name_becomes_a_size_in_pixels(asked: dict[str, Any], size: str) -> None:
    request = VideoRequest.of(prompt=KITE, **asked)
    assert request.size == size
    assert VideoRequest.model_validate(request.model_dump()) == request


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": " \n "}, "prompt is empty"),
        ({"prompt": "x" * 100_000}, "32,000 at most"),
        ({"seconds": 0}, "seconds"),
        ({"seconds": "four"}, "seconds"),
        ({"size": "big"}, "neither WIDTHxHEIGHT in pixels, such as 1280x720"),
        ({"size": "1x1"}, "each side has 16 pixels or more"),
        ({"size": "99999x720"}, "8192 pixels at most"),
        ({"size": "720p", "aspect_ratio": "1:1"}, "720p goes with aspect_ratio 16:9 or 9:16"),
        ({"aspect_ratio": "4:3"}, "16:9, 9:16, 1:1, 16:10, 10:16"),
        ({"size": "640x480", "aspect_ratio": "4:3"}, "16:9, 9:16, 1:1, 16:10, 10:16"),
        (
            {"size": "1280x720", "aspect_ratio": "9:16"},
            "size 1280x720 is not 9:16, the aspect_ratio beside it: leave out one of them",
        ),
        ({"size": "720x1280", "aspect_ratio": "16:9"}, "size 720x1280 is not 16:9"),
        ({"size": "1280x720", "aspect_ratio": "16:10"}, "size 1280x720 is not 16:10"),
        ({"size": "720p", "aspect_ratio": "1:1"}, "size 720p goes with aspect_ratio 16:9 or 9:16"),
        ({"take": 0}, "take"),
        ({"seconds": 4.5}, "seconds must be a whole number, not 4.5"),
        ({"colours": "red", "secnds": 4}, "secnds is an unknown field: did you mean seconds?"),
        ({"kind": "remix"}, "needs source_video_id"),
        ({"source_video_id": "video_1"}, "belongs to a remix"),
        (
            {"kind": "remix", "source_video_id": "video_1", "reference": "a.png"},
            "takes its picture from its source",
        ),
        ({"colour": "red"}, "colour"),
        ({"extra": {"prompt": "a crow"}}, "extra holds 'prompt', which would be sent unchecked"),
        ({"extra": {"model": "sora-2-pro"}}, "use model"),
        ({"extra": {"seed": 1, "size": "64x64"}}, "use size or aspect_ratio"),
        ({"extra": {"seconds": "12"}}, "use seconds"),
        ({"extra": {"input_reference": {"image_url": "data:,"}}}, "use reference"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_input_says_what_is_wrong_and_that_nothing_was_sent(
    wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        VideoRequest.of(**{"prompt": KITE, **wrong})
    assert said in str(caught.value)
    assert "Nothing was paid" in str(caught.value)
    assert caught.value.paid == "no"


@pytest.mark.parametrize("name", ["", "  "])
def test_no_name_is_no_model(name: str) -> None:
    assert VideoRequest(prompt=KITE, model=name) == VideoRequest(prompt=KITE, model=None)
    assert ImageRequest(prompt=KITE, model=name).model is None


def test_a_title_is_one_short_line() -> None:
    assert VideoRequest(prompt="a\n red   kite").title == "a red kite"
    assert len(VideoRequest(prompt="word " * 100).title) <= 60
