"""Wire: strangers are read tolerantly, and never taken for a success."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_sora.servers.protocol.error_bodies import read_failure
from prefect_sora.servers.protocol.payload import is_id
from prefect_sora.servers.protocol.video_object import (
    canonical_status,
    read_page,
    read_video,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("queued", "queued"),
        ("NOT_START", "queued"),
        ("In Progress", "in_progress"),
        ("post-processing", "in_progress"),
        ("generating", "in_progress"),
        ("Succeeded", "completed"),
        ("errored", "failed"),
        ("moderation_blocked", "failed"),
        ("canceled", "cancelled"),
        ("dreaming", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
        (3, "unknown"),
    ],
)
def test_a_servers_word_becomes_the_protocols(word: object, status: str) -> None:
    assert canonical_status(word) == status


@given(JSON)
def test_any_json_is_a_video_or_is_none(value: object) -> None:
    video = read_video(value)
    assert video is None or (video.id and video.status)
    read_page(value)
    read_failure(value)


FIELDS = [
    "status",
    "progress",
    "created_at",
    "expires_at",
    "model",
    "prompt",
    "seconds",
    "error",
    "url",
]


@given(
    st.fixed_dictionaries(
        {"id": st.text(min_size=1).filter(is_id)}, optional=dict.fromkeys(FIELDS, JSON)
    )
)
def test_an_id_is_enough_whatever_stands_in_the_other_fields(value: dict[str, Any]) -> None:
    video = read_video(value)
    assert video is not None
    assert video.id == value["id"]
    if "status" not in value:
        assert video.status == "unknown"


@pytest.mark.parametrize("value", [{}, {"id": ""}, {"id": None}, {"id": True}, [], "x", None])
def test_without_an_id_it_is_no_video(value: object) -> None:
    assert read_video(value) is None


@pytest.mark.parametrize(
    "made_up", [".", "..", "v" * 200_000, "a\nb", "\x1b]52;c;YQ==\x07", "v_********"]
)
def test_what_cannot_be_one_segment_of_a_path_is_no_id(made_up: str) -> None:
    assert read_video({"id": made_up, "status": "queued"}) is None


def test_an_id_under_another_name_is_read() -> None:
    video = read_video({"task_id": "task_7", "status": "NOT_START"})
    assert video is not None
    assert (video.id, video.status) == ("task_7", "queued")


@pytest.mark.parametrize(
    ("fields", "urls"),
    [
        ({"url": "https://host/a?sig=secret"}, ("https://host/a?sig=secret",)),
        ({"url": None, "urls": ["https://host/a", "https://host/b"]}, ("https://host/a",)),
        ({"urls": []}, ()),
        ({"urls": [{"url": "x"}]}, ()),
        ({"urls": "https://host/a"}, ()),
    ],
)
def test_where_a_file_lies_is_read_and_not_shown(
    fields: dict[str, Any], urls: tuple[str, ...]
) -> None:
    video = read_video({"id": "v", **fields})
    assert video is not None
    assert video.urls == urls
    assert "secret" not in f"{video!r} {video}"


@pytest.mark.parametrize("value", ["Infinity", "NaN", float("-inf"), 10**400])
def test_a_time_without_end_is_none(value: object) -> None:
    video = read_video({"id": "v", "expires_at": value})
    assert video is not None
    assert video.expires_at is None


def test_a_page_without_paging_fields_goes_on_after_its_last_item_until_one_is_empty() -> None:
    page = read_page({"data": [{"id": "b"}, {"id": "a"}]})
    assert page is not None
    assert page.next_after == "a"
    last = read_page({"data": [{"id": "b"}], "has_more": False})
    empty = read_page({"data": []})
    assert last is not None
    assert empty is not None
    assert (last.next_after, empty.next_after) == (None, None)
