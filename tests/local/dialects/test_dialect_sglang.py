"""`--dialect sglang`, as sglang 0.5.23 answers.

Sources, in `sglang/multimodal_gen/runtime/entrypoints`: `openai/video_api.py` (routes and their
errors), `openai/protocol.py` (VideoResponse), `openai/stores.py` (pages), `openai/common_api.py`
(models), `http_server.py` (the rest).
"""

import base64
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx2
import numpy as np
import pytest

from tests.support.dialects import (
    FASTAPI_ROUTES_LACKING,
    SMALL,
    TEAL,
    ended,
    first_frame,
    form,
    has_no_route,
    picture,
    settled,
    shape,
    words,
)
from tests.support.renderer import Renderer, SpeakDialect, StartRenderer, until

FIELDS = words(
    "id object model status progress created_at size seconds quality url urls "
    "remixed_from_video_id completed_at expires_at error file_path file_paths num_outputs "
    "peak_memory_mb inference_time_s revised_prompt action lidar"
)


@pytest.fixture
def sglang(speak: SpeakDialect) -> Renderer:
    return speak("sglang")


@pytest.fixture
def client(sglang: Renderer) -> Iterator[httpx2.Client]:
    with sglang.client() as client:
        yield client


@pytest.mark.parametrize("way", ["json", "form"])
def test_a_create_is_taken_either_way_and_keeps_the_prompt_to_itself(
    sglang: Renderer, client: httpx2.Client, way: str
) -> None:
    how: dict[str, Any] = {"json": SMALL} if way == "json" else {"files": form(**SMALL)}
    answer = client.post("/videos", **how)
    video = answer.json()
    done = ended(client, video["id"]).json()

    assert answer.status_code == 200
    assert [*video] == FIELDS == [*done]
    assert str(UUID(video["id"])) == video["id"]
    assert (video["status"], video["seconds"], video["size"]) == ("queued", "1", "64x64")
    assert video["model"] == "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
    assert video["file_path"].endswith(f"/{video['id']}.mp4")
    assert (done["status"], done["progress"], done["urls"]) == ("completed", 100, [None])
    assert (done["num_outputs"], done["file_paths"]) == (1, [done["file_path"]])
    assert sglang.accepted() == 1


def test_lengths_come_from_frames_and_the_model_is_echoed(client: httpx2.Client) -> None:
    body = {"prompt": "a fox", "width": 64, "height": 64, "num_frames": 48, "fps": 16}

    video = client.post("/videos", json={**body, "model": "mine", "unknown": 1}).json()

    assert (video["seconds"], video["size"], video["model"]) == ("3", "64x64", "mine")


@pytest.mark.parametrize(
    ("how", "answer"),
    [
        pytest.param(
            {"files": form(prompt="a fox", seconds="abc")},
            [
                {
                    "type": "int_parsing",
                    "loc": ["body", "seconds"],
                    "msg": "Input should be a valid integer, unable to parse string as an integer",
                    "input": "abc",
                }
            ],
            id="a form field of the wrong type is 422 and a list",
        ),
        pytest.param({"files": form(size="64x64")}, "prompt is required", id="no prompt"),
        pytest.param(
            {"files": form(**SMALL, input_reference=b"no image")},
            "Failed to process image source: cannot identify image file",
            id="no image, in a form",
        ),
        pytest.param(
            {"files": form(**SMALL, input_reference="https://example.org/a.png")},
            [
                {
                    "type": "value_error",
                    "loc": ["body", "input_reference"],
                    "msg": "Value error, Expected UploadFile, received: <class 'str'>",
                    "input": "https://example.org/a.png",
                    "ctx": {"error": {}},
                }
            ],
            id="a link where a form has a file",
        ),
        pytest.param({"json": {**SMALL, "fps": 0}}, "num_frames must be positive", id="no frames"),
        pytest.param(
            {"json": {**SMALL, "size": "large"}},
            "size must be formatted as positive WIDTHxHEIGHT",
            id="no size",
        ),
        pytest.param(
            {"json": {**SMALL, "reference_url": "data:image/png;base64,AAAA"}},
            "Invalid request body: 400: Failed to process image source: cannot identify image file",
            id="no image, in JSON",
        ),
    ],
)
def test_a_bad_create_is_refused(
    sglang: Renderer, client: httpx2.Client, how: dict[str, Any], answer: Any
) -> None:
    refused = client.post("/videos", **how)

    assert shape(refused) == (422 if isinstance(answer, list) else 400, {"detail": answer})
    assert sglang.accepted() == 0


@pytest.mark.parametrize(
    ("body", "first"),
    [
        pytest.param(b"", "prompt\n  Field required", id="nothing"),
        pytest.param(b"{", "prompt\n  Field required", id="torn"),
        pytest.param(
            b'{"prompt":"a","input_reference":{"image_url":"x"}}',
            "input_reference\n  Input should be a valid string",
            id="an image as an object",
        ),
    ],
)
def test_json_that_does_not_fit_is_400_with_pydantics_text(
    client: httpx2.Client, body: bytes, first: str
) -> None:
    answer = client.post("/videos", content=body, headers={"content-type": "application/json"})

    start = "Invalid request body: 1 validation error for VideoGenerationsRequest\n"
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(start + first)


def test_a_picture_comes_as_a_file_or_as_a_url_and_may_have_any_size(
    client: httpx2.Client,
) -> None:
    link = "data:image/png;base64," + base64.b64encode(picture()).decode()
    as_file = client.post("/videos", files=form(**SMALL, input_reference=picture()))
    as_url = client.post("/videos", json={**SMALL, "reference_url": link})

    for answer in (as_file, as_url):
        video_id = answer.json()["id"]
        assert ended(client, video_id).json()["status"] == "completed"
        first = first_frame(client.get(f"/videos/{video_id}/content").content)
        assert first.shape == (64, 64, 3)
        assert np.abs(first.astype(int) - TEAL).max() < 12, "the picture's middle fills it"


def test_a_failed_job_has_an_error_without_a_code_and_no_file(
    sglang: Renderer, client: httpx2.Client
) -> None:
    sglang.faults([{"on": "create", "do": "moderate"}])
    video_id = client.post("/videos", json=SMALL).json()["id"]

    answer = ended(client, video_id)

    assert answer.status_code == 200
    assert answer.json()["error"] == {
        "message": "Your request was blocked by our moderation system (scripted)."
    }
    assert answer.json()["file_path"] is None
    content = client.get(f"/videos/{video_id}/content")
    assert shape(content) == (404, {"detail": "Video variant None not found"})


def test_a_variant_is_the_number_of_an_output(client: httpx2.Client) -> None:
    video_id = client.post("/videos", json=SMALL).json()["id"]
    path = f"/videos/{video_id}/content"
    early = client.get(path)
    ended(client, video_id)

    assert shape(early) == (404, {"detail": "Generation is still in-progress"})
    for query in ({}, {"variant": "0"}):
        answer = client.get(path, params=query)
        assert answer.headers["content-type"] == "video/mp4"
        assert answer.content[4:8] == b"ftyp"
    for variant in ("video", "thumbnail", "1"):
        answer = client.get(path, params={"variant": variant})
        assert shape(answer) == (404, {"detail": f"Video variant {variant} not found"})


def test_a_deleted_job_keeps_running(start_renderer: StartRenderer) -> None:
    slow = start_renderer(dialect="sglang", parallel=1, min_render_seconds=1)
    with slow.client() as client:
        first, second = (client.post("/videos", json=SMALL).json()["id"] for _ in "12")
        until(lambda: slow.counts()["rendering"] == 1, "the first runs")
        deleted = client.delete(f"/videos/{first}")

        assert deleted.json()["status"] == "deleted"
        assert [*deleted.json()] == FIELDS
        assert client.get(f"/videos/{first}").status_code == 404
        assert [v["id"] for v in client.get("/videos").json()["data"]] == [second]
        assert slow.counts()["rendering"] == 1
        assert client.get(f"/videos/{second}").json()["status"] == "queued"
        ended(client, second)
    settled(slow)
    assert slow.counts()["completed"] == 1
    assert not [*slow.folder.rglob(f"*{first}*")]


def test_pages_are_as_openais_but_for_their_limits(client: httpx2.Client) -> None:
    made = {client.post("/videos", json=SMALL).json()["id"] for _ in range(3)}

    page = client.get("/videos", params={"limit": 2}).json()
    rest = client.get("/videos", params={"limit": 2, "after": page["last_id"]}).json()

    assert {v["id"] for v in page["data"] + rest["data"]} == made
    assert (page["has_more"], rest["has_more"]) == (True, False)
    assert client.get("/videos", params={"after": "gone"}).json()["data"] == []
    for query in ({"limit": 0}, {"limit": 101}, {"order": "random"}):
        answer = client.get("/videos", params=query)
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"] == ["query", *query]


def test_in_cloud_mode_the_video_is_at_its_url_and_not_at_content(speak: SpeakDialect) -> None:
    cloud = speak("sglang", cloud=True)
    with cloud.client() as client:
        video_id = client.post("/videos", json=SMALL).json()["id"]
        video = ended(client, video_id).json()
        answer = client.get(f"/videos/{video_id}/content")

    text = "Video has been uploaded to cloud storage. Please use the cloud URL: "
    assert shape(answer) == (400, {"detail": text + video["url"]})
    assert (video["urls"], video["file_path"]) == ([video["url"]], None)
    assert httpx2.get(video["url"]).content[4:8] == b"ftyp"


@FASTAPI_ROUTES_LACKING
def test_what_it_lacks_has_no_route(
    client: httpx2.Client, method: str, path: str, status: int
) -> None:
    has_no_route(client, method, path, status)


def test_it_can_be_told_by_harmless_gets(sglang: Renderer, client: httpx2.Client) -> None:
    card = client.get("/models").json()["data"][0]
    info = httpx2.get(f"{sglang.root}/server_info")

    assert (card["owned_by"], card["task_type"]) == ("sglang", "T2V")
    assert info.json()["version"] == "0.5.23"
    assert info.headers["server"] == "uvicorn"
    assert shape(client.get("/videos/x")) == (404, {"detail": "Video not found"})


def test_its_jobs_are_forgotten_when_it_ends(start_renderer: StartRenderer) -> None:
    server = start_renderer(dialect="sglang")
    with server.client() as client:
        video_id = client.post("/videos", json=SMALL).json()["id"]
        ended(client, video_id)
    with server.restart().client() as client:
        assert client.get(f"/videos/{video_id}").status_code == 404
    assert server.accepted() == 1
    assert not [*server.folder.rglob(f"*{video_id}*")]
