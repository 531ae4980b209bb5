"""Profiles: what a server says in its own form is written and read as its profile has it."""

import json
from typing import Any

import pytest

from prefect_sora.errors import InvalidRequestError
from prefect_sora.requests.reference import Reference
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.profiles import PROFILES, read_profile
from prefect_sora.servers.protocol.payload import Order, order
from prefect_sora.servers.protocol.video_object import Video, read_video
from prefect_sora.servers.request_checks import check
from prefect_sora.servers.server import remote

PICTURE = Reference(b"\x89PNG", "image/png", "reference.png", "00")
DATA_URL = "data:image/png;base64,iVBORw=="
MODELS = {"openrouter": "a/kite", "together": "a/kite", "bifrost": "a/kite", "xai": "grok-kite"}


def asked(name: str, reference: Reference | None = None, **fields: Any) -> Order:
    """The create that a profile makes of a request for 8 s of 720p."""
    given = {"prompt": "a kite", "model": MODELS.get(name, "kite"), **fields}
    server = remote("https://host/v1", profile=PROFILES[name])
    request = VideoRequest(**given)
    check(request, server)
    return order(request, server, reference, source_url="https://cdn/source.mp4")


FRAME = {"type": "image_url", "image_url": {"url": DATA_URL}, "frame_type": "first_frame"}
LAST = {**FRAME, "image_url": {"url": "https://host/last.png"}, "frame_type": "last_frame"}


@pytest.mark.parametrize(
    ("name", "path", "fields"),
    [
        (
            "openrouter",
            "/videos",
            {"model": "a/kite", "size": "1280x720", "duration": 8, "frame_images": [FRAME]},
        ),
        (
            "together",
            "/v2/videos",
            {
                "model": "a/kite",
                "width": 1280,
                "height": 720,
                "seconds": "8",
                "media": {"frame_images": [{"input_image": DATA_URL, "frame": "first"}]},
            },
        ),
        (
            "xai",
            "/videos/generations",
            {
                "model": "grok-kite",
                "resolution": "720p",
                "aspect_ratio": "16:9",
                "duration": 8,
                "image": {"url": DATA_URL},
            },
        ),
        (
            "bifrost",
            "/videos",
            {"model": "a/kite", "size": "1280x720", "seconds": "8", "input_reference": DATA_URL},
        ),
    ],
)
def test_a_create_with_a_picture_is_written_in_the_servers_own_form(
    name: str, path: str, fields: dict[str, Any]
) -> None:
    made = asked(name, PICTURE)

    assert made.path == path
    assert made.fields == {"prompt": "a kite", **fields}
    assert made.picture is None
    assert json.dumps(made.fields)


@pytest.mark.parametrize(
    ("name", "kind", "path", "fields"),
    [
        ("openrouter", "edit", "/videos", {"previous_job_id": "v/1"}),
        ("openrouter", "extend", "/videos", {"previous_job_id": "v/1", "duration": 4}),
        ("together", "edit", "/v2/videos", {"media": {"source_video": "https://cdn/source.mp4"}}),
        ("xai", "edit", "/videos/edits", {"video": {"url": "https://cdn/source.mp4"}}),
        (
            "xai",
            "extend",
            "/videos/extensions",
            {"video": {"url": "https://cdn/source.mp4"}, "duration": 4},
        ),
        ("bifrost", "remix", "/videos/v%2F1/remix", {}),
    ],
)
def test_what_goes_on_from_a_video_names_it_as_the_server_wants_it(
    name: str, kind: Any, path: str, fields: dict[str, Any]
) -> None:
    made = asked(name, kind=kind, source_video_id="v/1", seconds=4)

    assert made.path == path
    assert made.fields == {"prompt": "a kite", "model": MODELS[name], **fields}


def test_a_vendors_prefix_is_left_out_where_the_servers_own_names_have_none() -> None:
    assert asked("xai", model="x-ai/grok-kite").fields["model"] == "grok-kite"
    assert asked("openrouter", model="x-ai/grok-kite").fields["model"] == "x-ai/grok-kite"
    assert asked("generic", model="x-ai/grok-kite").fields["model"] == "x-ai/grok-kite"


def test_further_fields_join_ours_and_stand_beside_the_first_frame() -> None:
    extra = {"frame_images": [LAST], "seed": 7, "provider": {"options": {"a": {"steps": 2}}}}
    made = asked("openrouter", PICTURE, extra=extra)

    assert made.fields["frame_images"] == [FRAME, LAST]
    assert (made.fields["seed"], made.fields["provider"]) == (7, extra["provider"])
    assert asked("together", PICTURE, extra={"media": {"audio_inputs": ["a"]}}).fields["media"] == {
        "frame_images": [{"input_image": DATA_URL, "frame": "first"}],
        "audio_inputs": ["a"],
    }


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("openrouter", {"model": "sora-2"}, "has no model 'sora-2'"),
        ("openrouter", {"model": None}, "has no model of its own choice"),
        ("openrouter", {"extra": {"duration": 5}}, "extra holds 'duration'"),
        ("openrouter", {"extra": {"resolution": "4K"}}, "extra holds 'resolution'"),
        ("openrouter", {"extra": {"seed": "seven"}}, "is not a whole number"),
        ("openrouter", {"extra": {"frame_images": {}}}, "is not a list"),
        ("openrouter", {"kind": "remix", "source_video_id": "v"}, "has no remix"),
        ("together", {"extra": {"width": 64}}, "extra holds 'width'"),
        ("together", {"kind": "extend", "source_video_id": "v"}, "has no extend"),
        ("xai", {"size": "640x640"}, "has no size 640x640"),
        ("xai", {"size": "1280x1000"}, "has no size 1280x1000"),
        ("xai", {"seconds": 16}, "no clips of 16 s"),
        ("xai", {"kind": "extend", "source_video_id": "v", "seconds": 12}, "no extension by 12 s"),
        ("dynamo", {}, "has no jobs"),
    ],
)
def test_what_the_server_lacks_is_refused_before_anything_is_sent(
    name: str, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        asked(name, **fields)
    assert said in refused.value.message
    assert refused.value.paid == "no"
    assert refused.value.steps


@pytest.mark.parametrize(
    ("size", "fields"),
    [
        ("1280x720", {"resolution": "720p", "aspect_ratio": "16:9"}),
        ("854x480", {"resolution": "480p", "aspect_ratio": "16:9"}),
        ("1080x1920", {"resolution": "1080p", "aspect_ratio": "9:16"}),
        ("720x720", {"resolution": "720p", "aspect_ratio": "1:1"}),
        ("960x720", {"resolution": "720p", "aspect_ratio": "4:3"}),
    ],
)
def test_pixels_are_said_as_a_resolution_and_a_ratio(size: str, fields: dict[str, str]) -> None:
    made = asked("xai", size=size).fields
    assert {name: made[name] for name in fields} == fields


def read(name: str, **answer: Any) -> Video:
    """A job as a server tells it that was asked for it."""
    video = read_video(answer, PROFILES[name], asked_for="asked-for")
    assert video is not None
    return video


@pytest.mark.parametrize(
    ("answer", "status", "urls"),
    [
        ({"status": "pending", "progress": 7}, "queued", ()),
        (
            {"status": "done", "video": {"url": "https://v/1", "respect_moderation": True}},
            "completed",
            ("https://v/1",),
        ),
        ({"video": {"url": "https://v/1"}}, "completed", ("https://v/1",)),
        ({"status": "done", "video": {"url": None, "respect_moderation": True}}, "failed", ()),
        ({"status": "done"}, "failed", ()),
        (
            {"status": "done", "video": {"file_output": {"public_url": "https://v/2"}}},
            "completed",
            ("https://v/2",),
        ),
        ({"status": "expired"}, "expired", ()),
        ({"status": "dreaming", "video": {"url": "https://v/1"}}, "unknown", ("https://v/1",)),
    ],
)
def test_a_job_of_xai_says_no_id_and_is_done_by_its_file(
    answer: dict[str, Any], status: str, urls: tuple[str, ...]
) -> None:
    video = read("xai", **answer)
    assert (video.id, video.status, video.urls) == ("asked-for", status, urls)


def test_what_is_done_and_withheld_was_refused_by_moderation() -> None:
    video = read("xai", status="done", video={"url": "https://v/1", "respect_moderation": False})
    assert video.status == "failed"
    assert video.failure is not None
    assert video.failure.is_moderation


@pytest.mark.parametrize("word", ["failed", "cancelled", "expired", "dead"])
def test_each_end_of_a_job_of_openrouter_is_an_end(word: str) -> None:
    video = read("openrouter", id="gen-vid-1", status=word, error="Content policy violation")
    assert video.status == {"dead": "failed"}.get(word, word)
    assert video.failure is not None
    assert video.failure.is_moderation


def test_a_signed_address_comes_before_one_that_needs_the_key() -> None:
    ended = {"id": "gen-vid-1", "status": "completed", "unsigned_urls": ["https://host/content"]}
    assert read("openrouter", **ended).urls == ("https://host/content",)
    assert read("openrouter", **ended, urls=["https://cdn/1?sig=s"]).urls == (
        "https://cdn/1?sig=s",
        "https://host/content",
    )


@pytest.mark.parametrize(
    "time", ["2026-11-22T04:00:00Z", "2026-11-22T05:00:00+01:00", "2026-11-22T04:00:00", 1795320000]
)
def test_a_time_is_read_as_iso_or_as_a_number(time: object) -> None:
    assert read("together", id="v", created_at=time).created_at == 1795320000


def test_a_body_that_says_no_id_is_no_job_where_jobs_say_theirs() -> None:
    assert read_video({"status": "failed"}, PROFILES["openrouter"], asked_for="v") is None


def test_paths_of_ones_own_join_those_of_the_base() -> None:
    own = read_profile({"base": "xai", "paths": {"retrieve": "/jobs/{id}"}})
    assert own.paths == {"create": "/videos/generations", "retrieve": "/jobs/{id}"}
