"""`--dialect new-api`, as QuantumNous/new-api answers.

Sources (2026): `router/video-router.go`, `router/web-router.go` (routes), `relay/relay_task.go`,
`relay/channel/task/sora/adaptor.go` (tasks), `controller/video_proxy.go` (files),
`controller/relay.go`, `middleware/{auth,distributor,utils}.go` (errors), `controller/model.go`.
"""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.support.dialects import SMALL, ended, form, shape
from tests.support.renderer import Renderer, SpeakDialect, StartRenderer, until

TEST = {**SMALL, "model": "test"}


def task(status: int, code: str, message: str) -> Any:
    return status, {"code": code, "message": message, "data": None}


def invalid_url(method: str, path: str) -> Any:
    message = f"Invalid URL ({method} {path})"
    error = {"message": message, "type": "invalid_request_error", "param": "", "code": ""}
    return 404, {"error": error}


@pytest.fixture
def new_api(speak: SpeakDialect) -> Renderer:
    return speak("new-api")


@pytest.fixture
def client(new_api: Renderer) -> Iterator[httpx2.Client]:
    with new_api.client() as client:
        yield client


@pytest.mark.parametrize("way", ["json", "form"])
def test_a_create_makes_a_task(new_api: Renderer, client: httpx2.Client, way: str) -> None:
    how: dict[str, Any] = {"json": TEST} if way == "json" else {"files": form(**TEST)}
    answer = client.post("/videos", **how)
    video = answer.json()
    done = ended(client, video["id"]).json()

    assert video["id"] == video["task_id"]
    assert video["id"].startswith("task_")
    assert len(video["id"]) == 37
    assert not {"prompt", "error", "completed_at"} & video.keys()
    assert (done["id"], done["status"], done["progress"]) == (video["id"], "completed", 100)
    assert "task_id" not in done
    assert {"x-new-api-version", "x-oneapi-request-id"} <= answer.headers.keys()
    assert new_api.accepted() == 1


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        pytest.param(
            {"model": "test"}, task(400, "invalid_request", "prompt is required"), id="no prompt"
        ),
        pytest.param(
            {**SMALL, "model": "sora-2"},
            task(400, "invalid_size", "sora-2 size is invalid"),
            id="a size that Sora does not have",
        ),
        pytest.param(
            {**TEST, "seconds": "999"},
            task(
                400,
                "fail_to_fetch_task",
                '{"error":{"message":"Invalid \'seconds\': 999 is not from 1 to 120.",'
                '"type":"invalid_request_error","param":"seconds","code":"invalid_value"}}',
            ),
            id="the server behind refuses",
        ),
    ],
)
def test_a_bad_task_is_refused_without_an_envelope(
    new_api: Renderer, client: httpx2.Client, body: dict[str, str], answer: Any
) -> None:
    assert shape(client.post("/videos", json=body)) == answer
    assert new_api.accepted() == 0


@pytest.mark.parametrize(
    ("body", "status", "code", "says"),
    [
        (SMALL, 400, "", "Model name not specified, model name cannot be empty"),
        (
            {**SMALL, "model": "nope"},
            503,
            "model_not_found",
            "No available channel for model nope under group default (distributor)",
        ),
    ],
)
def test_models_are_looked_at_first_and_refused_in_another_shape(
    client: httpx2.Client, body: dict[str, str], status: int, code: str, says: str
) -> None:
    answer = client.post("/videos", json=body)

    error = answer.json()["error"]
    assert answer.status_code == status
    assert error.keys() == {"message", "type", "code"}
    assert (error["type"], error["code"]) == ("new_api_error", code)
    assert error["message"].startswith(f"{says} (request id: ")


def test_an_unknown_task_is_400_and_its_file_404(client: httpx2.Client) -> None:
    unknown = client.get("/videos/task_0")
    remix = client.post("/videos/task_0/remix", json={"prompt": "blue"})
    content = client.get("/videos/task_0/content")

    assert shape(unknown) == task(400, "task_not_exist", "task_not_exist")
    assert shape(remix) == task(400, "task_not_exist", "task_origin_not_exist")
    error = {"message": "Task not found", "type": "invalid_request_error"}
    assert shape(content) == (404, {"error": error})


def test_content_before_the_end_is_400_without_a_code(start_renderer: StartRenderer) -> None:
    slow = start_renderer(dialect="new-api", min_render_seconds=60)
    with slow.client() as client:
        video_id = client.post("/videos", json=TEST).json()["id"]
        until(lambda: slow.counts()["rendering"], "it runs")
        answer = client.get(f"/videos/{video_id}/content")

    message = "Task is not completed yet, current status: IN_PROGRESS"
    error = {"message": message, "type": "invalid_request_error"}
    assert shape(answer) == (400, {"error": error})


def test_a_failed_task_says_why(new_api: Renderer, client: httpx2.Client) -> None:
    new_api.faults([{"on": "create", "do": "fail"}])
    video_id = client.post("/videos", json=TEST).json()["id"]

    answer = ended(client, video_id)
    content = client.get(f"/videos/{video_id}/content").json()["error"]

    assert (answer.status_code, answer.json()["status"]) == (200, "failed")
    assert answer.json()["error"]["message"] == "The video could not be rendered (scripted)."
    assert content["message"] == "Task is not completed yet, current status: FAILURE"


def test_the_video_comes_whatever_the_variant(client: httpx2.Client) -> None:
    video_id = client.post("/videos", json=TEST).json()["id"]
    ended(client, video_id)

    answer = client.get(f"/videos/{video_id}/content", params={"variant": "thumbnail"})

    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["cache-control"] == "public, max-age=86400"


def test_remixes_are_forwarded(client: httpx2.Client) -> None:
    video_id = client.post("/videos", json=TEST).json()["id"]
    ended(client, video_id)

    remix = client.post(f"/videos/{video_id}/remix", json={"prompt": "blue"}).json()
    empty = client.post(f"/videos/{video_id}/remix", json={})

    assert remix["remixed_from_video_id"] == video_id
    assert remix["id"] == remix["task_id"] != video_id
    assert shape(empty) == task(400, "invalid_request", "field prompt is required")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/videos"),
        ("DELETE", "/videos/x"),
        ("POST", "/videos/edits"),
        ("POST", "/videos/extensions"),
        ("POST", "/videos/characters"),
        ("GET", "/videos/characters/x"),
    ],
)
def test_what_it_lacks_is_an_invalid_url(client: httpx2.Client, method: str, path: str) -> None:
    answer = client.request(method, path)

    assert shape(answer) == invalid_url(method, f"/v1{path}")
    assert "allow" not in answer.headers


def test_a_busy_server_behind_is_told_in_its_own_words(
    new_api: Renderer, client: httpx2.Client
) -> None:
    new_api.faults([{"on": "create", "do": "status:429"}])

    answer = client.post("/videos", json=TEST)

    assert shape(answer) == task(429, "fail_to_fetch_task", "当前分组上游负载已饱和，请稍后再试")  # noqa: RUF001 - theirs


def test_a_token_is_compared_without_its_prefix(speak: SpeakDialect) -> None:
    locked = speak("new-api", api_key="sk-local1234")
    url = f"{locked.base_url}/models"
    refused = httpx2.get(url, headers={"Authorization": "Bearer sk-other"})

    error = refused.json()["error"]
    assert (refused.status_code, error["type"], error["code"]) == (401, "new_api_error", "")
    assert error["message"].startswith("Invalid token (request id: ")
    for token in ("local1234", "sk-local1234"):
        assert httpx2.get(url, headers={"Authorization": f"Bearer {token}"}).is_success


def test_it_can_be_told_by_harmless_gets(new_api: Renderer, client: httpx2.Client) -> None:
    models = client.get("/models").json()
    page = httpx2.get(f"{new_api.root}/version")

    assert models["success"] is True
    assert models["data"][0]["created"] == 1626777600
    assert models["data"][0]["supported_endpoint_types"] == ["openai-video"]
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
