"""`--dialect fastvideo`, as fastvideo 0.2.1 answers.

Sources, in `fastvideo/entrypoints/openai`: `video_api.py` (routes, pages, errors), `protocol.py`
(VideoResponse), `common_api.py` (models), `api_server.py` (the title).
"""

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
    settled,
    shape,
    words,
)
from tests.support.renderer import Renderer, SpeakDialect, StartRenderer, until

FIELDS = words(
    "id object model status progress created_at size seconds quality url file_path completed_at "
    "error peak_memory_mb inference_time_s"
)


@pytest.fixture
def fastvideo(speak: SpeakDialect) -> Renderer:
    return speak("fastvideo")


@pytest.fixture
def client(fastvideo: Renderer) -> Iterator[httpx2.Client]:
    with fastvideo.client() as client:
        yield client


@pytest.mark.parametrize("way", ["json", "form"])
def test_a_create_is_taken_either_way(fastvideo: Renderer, client: httpx2.Client, way: str) -> None:
    how: dict[str, Any] = {"json": SMALL} if way == "json" else {"files": form(**SMALL)}
    video = client.post("/videos", **how).json()
    done = ended(client, video["id"]).json()

    assert [*video] == FIELDS == [*done]
    assert len(bytes.fromhex(video["id"])) == 16
    assert (video["seconds"], video["size"], video["progress"]) == ("1", "64x64", 0)
    assert (done["status"], done["progress"]) == ("completed", 100)
    assert fastvideo.accepted() == 1


def test_it_is_queued_until_it_ends(start_renderer: StartRenderer) -> None:
    slow = start_renderer(dialect="fastvideo", min_render_seconds=0.6)
    with slow.client() as client:
        video = client.post("/videos", json=SMALL).json()
        seen = set()
        while video["status"] != "completed":
            seen.add((video["status"], video["progress"]))
            video = client.get(f"/videos/{video['id']}").json()

    assert seen == {("queued", 0)}


@pytest.mark.parametrize(
    ("how", "seconds", "size"),
    [
        pytest.param({"json": {"prompt": "a"}}, "0", "", id="JSON leaves it open"),
        pytest.param({"files": form(prompt="a")}, "4", "", id="a form means four"),
        pytest.param(
            {"json": {"prompt": "a", "num_frames": 32, "fps": 16, "size": "64 x 64"}},
            "2",
            "64x64",
            id="frames count first",
        ),
        pytest.param(
            {"json": {"prompt": "a", "extra_body": {"seconds": 1}, "size": "huge"}},
            "1",
            "",
            id="a size that cannot be read is none",
        ),
    ],
)
def test_what_was_not_said_is_shown_so(
    start_renderer: StartRenderer, how: dict[str, Any], seconds: str, size: str
) -> None:
    slow = start_renderer(dialect="fastvideo", min_render_seconds=60)  # never to be drawn
    with slow.client() as client:
        video = client.post("/videos", **how).json()

    assert (video["seconds"], video["size"]) == (seconds, size)


def test_a_bad_create_is_422_in_a_form_and_400_in_json(
    fastvideo: Renderer, client: httpx2.Client
) -> None:
    in_form = client.post("/videos", files=form(prompt="a", fps="x"))
    in_json = client.post("/videos", json={"prompt": "a", "fps": "x"})
    nothing = client.post("/videos", files=form(size="64x64"))
    image = client.post("/videos", json={**SMALL, "reference_url": "ftp://x/y.png"})

    assert in_form.status_code == 422
    assert in_form.json()["detail"][0]["loc"] == ["body", "fps"]
    assert in_json.status_code == 400
    assert in_json.json()["detail"].startswith(
        "Invalid request body: 1 validation error for VideoGenerationsRequest\nfps\n"
    )
    assert shape(nothing) == (400, {"detail": "prompt is required"})
    assert image.status_code == 400
    assert image.json()["detail"].startswith("Failed to process image: ")
    assert fastvideo.accepted() == 0


def test_a_picture_may_have_any_size(client: httpx2.Client) -> None:
    answer = client.post("/videos", files=form(**SMALL, input_reference=picture()))

    assert ended(client, answer.json()["id"]).json()["status"] == "completed"


def test_content_is_served_before_it_is_whole(start_renderer: StartRenderer) -> None:
    slow = start_renderer(dialect="fastvideo", min_render_seconds=2)
    with slow.client() as client:
        video_id = client.post("/videos", json={**SMALL, "size": "640x640"}).json()["id"]
        path = f"/videos/{video_id}/content"
        early: httpx2.Response = until(
            lambda: a if (a := client.get(path)).is_success else None, "something is there"
        )
        status = client.get(f"/videos/{video_id}").json()["status"]
        ended(client, video_id)
        whole = client.get(path)

    assert (early.headers["content-type"], status) == ("video/mp4", "queued")
    assert len(early.content) < len(whole.content)


def test_no_file_is_404_while_it_is_queued_and_500_once_it_failed(
    start_renderer: StartRenderer,
) -> None:
    server = start_renderer(dialect="fastvideo", parallel=1, min_render_seconds=0.3)
    server.faults([{"on": "create", "do": "fail"}])
    with server.client() as client:
        failing, queued = (client.post("/videos", json=SMALL).json()["id"] for _ in "12")
        early = client.get(f"/videos/{queued}/content")
        failed = ended(client, failing)
        late = client.get(f"/videos/{failing}/content")

    assert shape(early) == (404, {"detail": "Video still being generated"})
    assert failed.json()["error"] == {"message": "The video could not be rendered (scripted)."}
    assert (failed.status_code, failed.json()["progress"]) == (200, 0)
    assert shape(late) == (500, {"detail": "Video generation failed"})


def test_the_variant_is_ignored(client: httpx2.Client) -> None:
    video_id = client.post("/videos", json=SMALL).json()["id"]
    ended(client, video_id)

    answer = client.get(f"/videos/{video_id}/content", params={"variant": "thumbnail"})

    assert answer.headers["content-type"] == "video/mp4"
    assert answer.content[4:8] == b"ftyp"


def test_a_list_does_not_say_where_it_ends(client: httpx2.Client) -> None:
    made = {client.post("/videos", json=SMALL).json()["id"] for _ in range(3)}

    everything = client.get("/videos", params={"order": "any"}).json()
    page = client.get("/videos", params={"limit": 2}).json()
    rest = client.get("/videos", params={"after": page["data"][-1]["id"]}).json()

    assert everything.keys() == page.keys() == {"object", "data"}
    assert {v["id"] for v in everything["data"]} == made
    assert {v["id"] for v in page["data"] + rest["data"]} == made
    assert client.get("/videos", params={"limit": 0}).status_code == 422


def test_a_deleted_job_keeps_running(start_renderer: StartRenderer) -> None:
    slow = start_renderer(dialect="fastvideo", min_render_seconds=1)
    with slow.client() as client:
        video_id = client.post("/videos", json=SMALL).json()["id"]
        until(lambda: slow.counts()["rendering"], "it runs")
        deleted = client.delete(f"/videos/{video_id}")
        again = client.delete(f"/videos/{video_id}")

    assert (deleted.status_code, deleted.json()["status"]) == (200, "deleted")
    assert shape(again) == (404, {"detail": "Video not found"})
    assert slow.counts()["rendering"] == 1
    settled(slow)


def test_what_it_did_not_foresee_is_a_plain_500(fastvideo: Renderer, client: httpx2.Client) -> None:
    answer = client.post("/videos", json=["a fox"])
    fastvideo.faults([{"on": "list", "do": "status:500"}])
    scripted = client.get("/videos")

    for plain in (answer, scripted):
        assert (plain.status_code, plain.text) == (500, "Internal Server Error")


@FASTAPI_ROUTES_LACKING
def test_what_it_lacks_has_no_route(
    client: httpx2.Client, method: str, path: str, status: int
) -> None:
    has_no_route(client, method, path, status)


def test_it_can_be_told_by_harmless_gets(fastvideo: Renderer, client: httpx2.Client) -> None:
    card = client.get("/models").json()["data"][0]
    title = httpx2.get(f"{fastvideo.root}/openapi.json").json()["info"]["title"]

    assert (card["owned_by"], card["root"]) == ("fastvideo", card["id"])
    assert title == "FastVideo OpenAI-Compatible API"
