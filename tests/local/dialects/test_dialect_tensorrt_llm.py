"""`--dialect tensorrt-llm`, as NVIDIA/TensorRT-LLM answers.

Sources, in `tensorrt_llm/serve` (2026): `openai_video_routes.py` (routes and errors),
`openai_protocol.py` (VideoGenerationRequest with its limits, VideoJob, ModelCard, ErrorResponse),
`openai_server.py` (version, models).
"""

import base64
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.support.dialects import (
    FASTAPI_ROUTES_LACKING,
    SMALL,
    ended,
    form,
    has_no_route,
    picture,
    shape,
    words,
)
from tests.support.renderer import Renderer, SpeakDialect, StartRenderer, until

FIELDS = words(
    "completed_at created_at error expires_at id model object progress prompt status duration fps "
    "size response_format"
)


def error(status: int, message: str, kind: str = "BadRequestError") -> Any:
    body = {"object": "error", "message": message, "type": kind, "param": None, "code": status}
    return status, body


@pytest.fixture
def trt(speak: SpeakDialect) -> Renderer:
    return speak("tensorrt-llm")


@pytest.fixture
def client(trt: Renderer) -> Iterator[httpx2.Client]:
    with trt.client() as client:
        yield client


@pytest.mark.parametrize("way", ["json", "form"])
def test_a_create_is_202_and_has_a_duration_for_seconds(
    trt: Renderer, client: httpx2.Client, way: str
) -> None:
    body = {**SMALL, "model": "mine"}
    how: dict[str, Any] = {"json": body} if way == "json" else {"files": form(**body)}
    answer = client.post("/videos", **how)
    video = answer.json()
    done = ended(client, video["id"]).json()

    assert answer.status_code == 202
    assert [*video] == FIELDS == [*done]
    assert (video["duration"], video["fps"], video["progress"]) == (1.0, 16.0, None)
    assert (video["prompt"], video["model"], video["status"]) == ("a fox", "mine", "queued")
    assert (done["status"], done["progress"]) == ("completed", None)
    assert trt.accepted() == 1


@pytest.mark.parametrize("way", ["json", "form"])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param(
            {"n": "1"},
            "Unknown request field 'n'. Pass model-specific parameters via 'extra_params' instead.",
            id="a field that it does not know",
        ),
        pytest.param(
            {"seconds": "61"}, "seconds: Input should be less than or equal to 60", id="too long"
        ),
        pytest.param(
            {"width": "64"},
            "Value error, width and height must be sent together; got width=64, height=None",
            id="half a size",
        ),
        pytest.param({"prompt": None}, "prompt: Field required", id="no prompt"),
    ],
)
def test_a_field_that_does_not_fit_is_422(
    trt: Renderer, client: httpx2.Client, fields: dict[str, Any], message: str, way: str
) -> None:
    body = {name: text for name, text in {**SMALL, **fields}.items() if text is not None}
    how: dict[str, Any] = {"json": body} if way == "json" else {"files": form(**body)}

    assert shape(client.post("/videos", **how)) == error(422, message)
    assert trt.accepted() == 0


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (
            b"prompt=a",
            "application/x-www-form-urlencoded",
            "Unsupported content-type: application/x-www-form-urlencoded. "
            "Use 'application/json' or 'multipart/form-data'",
        ),
        (
            b"{",
            "application/json",
            "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
    ],
)
def test_a_body_that_cannot_be_read_is_400(
    client: httpx2.Client, content: bytes, kind: str, message: str
) -> None:
    answer = client.post("/videos", content=content, headers={"content-type": kind})

    assert shape(answer) == error(400, message)


def test_a_picture_is_base64_or_a_file(client: httpx2.Client) -> None:
    text = base64.b64encode(picture()).decode()
    for field in ("image_reference", "input_reference"):
        answers = (
            client.post("/videos", json={**SMALL, field: text}),
            client.post("/videos", json={**SMALL, field: f"data:image/png;base64,{text}"}),
            client.post("/videos", files=form(**SMALL, **{field: picture()})),
        )
        assert [answer.status_code for answer in answers] == [202] * 3
    typed = {**SMALL, "image_reference": [{"content": text, "role": "first_frame"}]}
    video_id = client.post("/videos", json=typed).json()["id"]

    assert ended(client, video_id).json()["status"] == "completed"
    link = client.post("/videos", json={**SMALL, "input_reference": {"image_url": text}})
    assert link.status_code == 422


def test_its_statuses_have_words_of_their_own(start_renderer: StartRenderer) -> None:
    slow = start_renderer(dialect="tensorrt-llm", min_render_seconds=1.5)
    with slow.client() as client:
        video = client.post("/videos", json=SMALL).json()
        path = f"/videos/{video['id']}"
        seen = [video["status"]]
        early: list[httpx2.Response] = []
        while video["status"] != "completed":
            video = client.get(path).json()
            if video["status"] != seen[-1]:
                seen.append(video["status"])
            if video["status"] == "generating" and not early:
                early.append(client.get(f"{path}/content"))

    assert seen == ["queued", "generating", "postprocessing", "completed"]
    message = f"Video {video['id']} is not ready (status: generating)"
    assert shape(early[0]) == error(400, message)


def test_a_failed_job_has_a_text_for_an_error(trt: Renderer, client: httpx2.Client) -> None:
    trt.faults([{"on": "create", "do": "fail"}])
    video_id = client.post("/videos", json=SMALL).json()["id"]

    answer = ended(client, video_id)
    content = client.get(f"/videos/{video_id}/content")

    assert answer.status_code == 200
    assert answer.json()["error"] == "The video could not be rendered (scripted)."
    assert answer.json()["completed_at"] >= answer.json()["created_at"]
    assert shape(content) == error(400, f"Video {video_id} is not ready (status: failed)")


def test_the_file_comes_whatever_the_variant_unless_a_path_was_asked_for(
    client: httpx2.Client,
) -> None:
    as_file = client.post("/videos", json=SMALL).json()["id"]
    as_path = client.post("/videos", json={**SMALL, "response_format": "path"}).json()["id"]
    for video_id in (as_file, as_path):
        ended(client, video_id)

    file = client.get(f"/videos/{as_file}/content", params={"variant": "thumbnail"})
    path = client.get(f"/videos/{as_path}/content")

    assert file.headers["content-type"] == "video/mp4"
    assert path.json().keys() == {"id", "output_path"}
    assert path.json()["output_path"].endswith(f"/{as_path}_0.mp4")


def test_the_list_is_everything_the_oldest_first(client: httpx2.Client) -> None:
    made = [client.post("/videos", json=SMALL).json()["id"] for _ in range(3)]

    page = client.get("/videos", params={"limit": 1, "after": made[0], "order": "desc"}).json()

    assert page.keys() == {"object", "data"}
    assert [video["id"] for video in page["data"]] == made


def test_deleting_stops_and_says_one_word(start_renderer: StartRenderer) -> None:
    slow = start_renderer(dialect="tensorrt-llm", parallel=1, min_render_seconds=60)
    with slow.client() as client:
        video_id, other = (client.post("/videos", json=SMALL).json()["id"] for _ in "12")
        until(lambda: slow.counts()["rendering"], "it runs")
        answer = client.delete(f"/videos/{video_id}")
        until(
            lambda: client.get(f"/videos/{other}").json()["status"] == "generating",
            "its place is free",
        )
        again = client.delete(f"/videos/{video_id}")

    assert shape(answer) == (200, {"deleted": True})
    assert shape(again) == error(404, f"Video {video_id} not found", "NotFoundError")


@FASTAPI_ROUTES_LACKING
def test_what_it_lacks_has_no_route(
    client: httpx2.Client, method: str, path: str, status: int
) -> None:
    has_no_route(client, method, path, status)


def test_it_can_be_told_by_harmless_gets(trt: Renderer, client: httpx2.Client) -> None:
    card = client.get("/models").json()["data"][0]

    assert card.keys() == {"id", "object", "created", "owned_by"}
    assert card["owned_by"] == "tensorrt_llm"
    assert httpx2.get(f"{trt.root}/version").json().keys() == {"version"}
