"""`--dialect vllm-omni`, as vllm-omni 0.30.0 on vllm 0.33.0 answers.

Sources: `vllm_omni/entrypoints/openai/api_server.py` (routes), `protocol/videos.py` (the Video and
its limits), `video/generation/helpers.py` (the form, how failures become statuses);
`vllm/entrypoints/serve/exception_handling/handlers` (errors), `middleware/authenticate.py` (401).
"""

import base64
import json
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

MODEL = "Wan-AI/Wan2.2-T2V-A14B-Diffusers"
FIELDS = words(
    "model prompt id object status size progress seconds quality completed_at created_at "
    "remixed_from_video_id error media_type expires_at file_name inference_time_s fps num_frames "
    "duration_s metrics stage_durations peak_memory_mb action"
)


def error(status: int, kind: str, message: str, param: str | None = None) -> Any:
    return status, {"error": {"message": message, "type": kind, "param": param, "code": status}}


@pytest.fixture
def vllm(speak: SpeakDialect) -> Renderer:
    return speak("vllm-omni")


@pytest.fixture
def client(vllm: Renderer) -> Iterator[httpx2.Client]:
    with vllm.client() as client:
        yield client


def test_a_form_is_taken_and_the_prompt_echoed(vllm: Renderer, client: httpx2.Client) -> None:
    answer = client.post("/videos", files=form(**SMALL, model=MODEL, unknown="1"))
    video = answer.json()
    done = ended(client, video["id"]).json()

    assert answer.status_code == 200
    assert [*video] == FIELDS == [*done]
    assert video["id"].startswith("video_gen_")
    assert (video["prompt"], video["model"], video["seconds"]) == ("a fox", MODEL, "1")
    assert (video["num_frames"], video["duration_s"]) == (24, 1.0)
    assert (done["progress"], done["file_name"]) == (100, f"{video['id']}.mp4")
    assert done["expires_at"] is None
    assert vllm.accepted() == 1


def test_json_looks_like_a_form_without_a_prompt(vllm: Renderer, client: httpx2.Client) -> None:
    answer = client.post("/videos", json=SMALL)

    line = "{'type': 'missing', 'loc': 'body.prompt', 'msg': 'Field required', 'input': None}"
    message = f"1 validation error:\n  {line}"
    assert shape(answer) == error(400, "Bad Request", message, "body.prompt")
    assert vllm.accepted() == 0


@pytest.mark.parametrize(
    ("fields", "kind", "says", "param"),
    [
        pytest.param(
            {"model": "sora-2"},
            "Bad Request",
            f"Model mismatch: request specifies 'sora-2' but server is running '{MODEL}'.",
            None,
            id="another model",
        ),
        pytest.param(
            {"seconds": "1.5"}, "Bad Request", "string_pattern_mismatch", "body.seconds", id="1.5 s"
        ),
        pytest.param(
            {"size": "large"}, "Bad Request", "string_pattern_mismatch", "body.size", id="no size"
        ),
        pytest.param(
            {"num_inference_steps": "500"},
            "BadRequestError",
            "1 validation error for VideoGenerationRequest\nnum_inference_steps\n",
            None,
            id="beyond a limit that is looked at later",
        ),
        pytest.param(
            {"extra_params": "{"}, "Bad Request", "Invalid JSON in form field.", None, id="torn"
        ),
        pytest.param(
            {"image_reference": '{"image_url":"data:image/png;base64,AAAA"}'},
            "Bad Request",
            "Invalid input reference.",
            None,
            id="no image",
        ),
    ],
)
def test_a_bad_form_is_400(
    vllm: Renderer,
    client: httpx2.Client,
    fields: dict[str, Any],
    kind: str,
    says: str,
    param: str | None,
) -> None:
    answer = client.post("/videos", files=form(**{**SMALL, **fields}))

    found = answer.json()["error"]
    assert answer.status_code == found["code"] == 400
    assert (found["type"], found["param"]) == (kind, param)
    assert says in found["message"]
    assert vllm.accepted() == 0


def test_a_picture_is_a_file_or_json_in_a_field_but_not_both(client: httpx2.Client) -> None:
    link = "data:image/png;base64," + base64.b64encode(picture()).decode()
    nested = json.dumps({"image_url": link})
    as_file = client.post("/videos", files=form(**SMALL, input_reference=picture()))
    as_json = client.post("/videos", files=form(**SMALL, image_reference=nested))
    both = client.post(
        "/videos", files=form(**SMALL, image_reference=nested, input_reference=picture())
    )

    for answer in (as_file, as_json):
        assert ended(client, answer.json()["id"]).json()["status"] == "completed"
    assert both.status_code == 400


@pytest.mark.parametrize(("fate", "code"), [("fail", 500), ("moderate", 400)])
def test_a_failed_job_is_an_http_error_with_the_video_in_it(
    vllm: Renderer, client: httpx2.Client, fate: str, code: int
) -> None:
    vllm.faults([{"on": "create", "do": fate}])
    video_id = client.post("/videos", files=form(**SMALL)).json()["id"]

    answer = ended(client, video_id)
    listed = client.get("/videos")

    assert answer.status_code == answer.json()["error"]["code"] == code
    assert [*answer.json()] == FIELDS
    assert (listed.status_code, listed.json()["data"][0]["error"]["code"]) == (200, code)
    says = "Video generation failed. Check job status for error details."
    content = client.get(f"/videos/{video_id}/content")
    assert shape(content) == error(422, "Unprocessable Entity", says)


def test_progress_is_nothing_or_all(start_renderer: StartRenderer) -> None:
    slow = start_renderer(dialect="vllm-omni", min_render_seconds=0.5)
    with slow.client() as client:
        video = client.post("/videos", files=form(**SMALL)).json()
        path = f"/videos/{video['id']}"
        early = client.get(f"{path}/content")
        seen = set()
        while video["status"] != "completed":
            video = client.get(path).json()
            seen.add((video["status"], video["progress"]))

    assert shape(early) == error(404, "Not Found", "Generation is still in-progress")
    assert {("in_progress", 0), ("completed", 100)} <= seen
    assert seen <= {("queued", 0), ("in_progress", 0), ("completed", 100)}


def test_the_variant_is_ignored(client: httpx2.Client) -> None:
    video_id = client.post("/videos", files=form(**SMALL)).json()["id"]
    ended(client, video_id)

    answer = client.get(f"/videos/{video_id}/content", params={"variant": "spritesheet"})

    assert answer.headers["content-type"] == "video/mp4"


def test_deleting_a_running_job_stops_it(start_renderer: StartRenderer) -> None:
    slow = start_renderer(dialect="vllm-omni", parallel=1, min_render_seconds=60)
    with slow.client() as client:
        video_id, other = (client.post("/videos", files=form(**SMALL)).json()["id"] for _ in "12")
        until(lambda: slow.counts()["rendering"], "it runs")
        answer = client.delete(f"/videos/{video_id}")
        until(
            lambda: client.get(f"/videos/{other}").json()["status"] == "in_progress",
            "its place is free",
        )
        again = client.delete(f"/videos/{video_id}")

    assert shape(answer) == (200, {"id": video_id, "object": "video.deleted", "deleted": True})
    assert shape(again) == error(404, "Not Found", "Video not found")


def test_without_a_limit_the_list_is_whole(client: httpx2.Client) -> None:
    made = {client.post("/videos", files=form(**SMALL)).json()["id"] for _ in range(3)}

    everything = client.get("/videos").json()
    page = client.get("/videos", params={"limit": 2}).json()

    assert {v["id"] for v in everything["data"]} == made
    assert (everything["has_more"], page["has_more"], len(page["data"])) == (False, True, 2)
    assert (page["first_id"], page["last_id"]) == tuple(v["id"] for v in page["data"])
    bad = client.get("/videos", params={"limit": 101})
    assert (bad.status_code, bad.json()["error"]["param"]) == (400, "query.limit")


def test_an_expiry_is_shown_only_where_there_is_one(speak: SpeakDialect) -> None:
    kept = speak("vllm-omni", ttl=3600)
    with kept.client() as client:
        video = client.post("/videos", files=form(**SMALL)).json()
        done = ended(client, video["id"]).json()

    assert video["expires_at"] is None
    assert done["expires_at"] == done["completed_at"] + 3600


def test_the_key_is_asked_for_before_all_else_below_v1(speak: SpeakDialect) -> None:
    locked = speak("vllm-omni", api_key="sk-local-1234")
    for path in ("/v1/videos", "/v1/models", "/v1/nothing"):
        answer = httpx2.get(f"{locked.root}{path}")
        assert shape(answer) == (401, {"error": "Unauthorized"})
    assert httpx2.get(f"{locked.root}/version").json() == {"version": "0.33.0"}
    with locked.client() as friend:
        assert friend.get("/videos").status_code == 200


@FASTAPI_ROUTES_LACKING
def test_what_it_lacks_has_no_route(
    client: httpx2.Client, method: str, path: str, status: int
) -> None:
    has_no_route(client, method, path, status)


def test_it_can_be_told_by_harmless_gets(vllm: Renderer, client: httpx2.Client) -> None:
    card = client.get("/models").json()["data"][0]

    assert (card["owned_by"], card["permission"][0]["object"]) == ("vllm", "model_permission")
    assert httpx2.get(f"{vllm.root}/health").json()["status"] == "healthy"
