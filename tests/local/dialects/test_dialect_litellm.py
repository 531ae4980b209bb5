"""`--dialect litellm`, as litellm 1.109.1's proxy answers.

Sources: `litellm/proxy/video_endpoints/endpoints.py`, `litellm/types/videos/utils.py` (ids),
`types/videos/main.py` (VideoObject); errors and headers as the real proxy gave them in front of
this renderer.
"""

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.support.dialects import SMALL, ended, form, picture, shape, words
from tests.support.renderer import Renderer, SpeakDialect

TEST = {**SMALL, "model": "test"}
FIELDS = words(
    "id object status created_at completed_at expires_at error progress remixed_from_video_id "
    "seconds size model usage"
)


def own(status: int, message: str, kind: str = "invalid_request_error") -> Any:
    return status, {"error": {"message": message, "type": kind, "param": None, "code": str(status)}}


def behind(name: str, error: dict[str, Any]) -> str:
    text = json.dumps({"error": error}, separators=(",", ":"))
    return (
        f"litellm.{name}: OpenAIException - {text}\n\nLiteLLM: model group 'test' failed with the "
        "error above. No fallback was attempted."
    )


def decoded(video_id: str) -> dict[str, str]:
    text = base64.b64decode(video_id.removeprefix("video_")).decode()
    return dict(part.rsplit(":", 1) for part in text.split(";"))


@pytest.fixture
def litellm(speak: SpeakDialect) -> Renderer:
    return speak("litellm")


@pytest.fixture
def client(litellm: Renderer) -> Iterator[httpx2.Client]:
    with litellm.client() as client:
        yield client


@pytest.mark.parametrize("way", ["json", "form"])
def test_ids_are_long_and_stay_the_same(litellm: Renderer, client: httpx2.Client, way: str) -> None:
    how: dict[str, Any] = {"json": TEST} if way == "json" else {"files": form(**TEST)}
    answer = client.post("/videos", **how)
    video = answer.json()
    done = ended(client, video["id"]).json()

    assert [*video] == FIELDS == [*done]
    assert video["id"] == done["id"]
    inside = decoded(video["id"])
    assert inside["litellm:custom_llm_provider"] == "openai"
    assert inside["video_id"].startswith("video_")
    assert inside.keys() >= {"model_id", "deployment_id"}
    assert (video["usage"], done["usage"]) == ({"duration_seconds": 1.0}, None)
    assert answer.headers["x-litellm-version"] == "1.109.1"
    assert litellm.accepted() == 1


def test_a_picture_is_passed_on_as_a_file(client: httpx2.Client) -> None:
    answer = client.post("/videos", files=form(**TEST, input_reference=picture(64, 64)))

    assert ended(client, answer.json()["id"]).json()["status"] == "completed"


def test_a_model_that_is_not_configured_is_refused_by_the_proxy(
    litellm: Renderer, client: httpx2.Client
) -> None:
    text = (
        "/videos: Invalid model name passed in model=nope. "
        "Call `/v1/models` to view available models for your key."
    )
    answer = client.post("/videos", json={**SMALL, "model": "nope"})

    error = answer.json()["error"]
    assert (answer.status_code, error["message"], error["code"]) == (400, text, "400")
    assert error["provider_specific_fields"] == {"error": text}
    assert litellm.accepted() == 0


@pytest.mark.parametrize("body", [b"", b"{}", b'{"model":"test"}'])
def test_a_missing_prompt_is_missed_by_the_proxy(client: httpx2.Client, body: bytes) -> None:
    answer = client.post("/videos", content=body)

    message = "/videos: Missing required parameter: 'prompt'."
    error = {"message": message, "type": "invalid_request_error", "param": "prompt", "code": "400"}
    assert shape(answer) == (400, {"error": error})


@pytest.mark.parametrize("body", [b"{", b"[1]"])
def test_a_body_that_is_no_object_is_refused_by_the_proxy(
    client: httpx2.Client, body: bytes
) -> None:
    answer = client.post("/videos", content=body)

    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "request_body")
    assert error["message"].startswith("Invalid JSON payload: ")
    assert "x-litellm-version" not in answer.headers


def test_a_refusal_from_behind_is_inside_the_message(client: httpx2.Client) -> None:
    answer = client.post("/videos", json={**TEST, "seconds": "999"})

    error = {
        "message": "Invalid 'seconds': 999 is not from 1 to 120.",
        "type": "invalid_request_error",
        "param": "seconds",
        "code": "invalid_value",
    }
    assert shape(answer) == own(400, behind("BadRequestError", error))


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        (401, "AuthenticationError", "authentication_error"),
        (429, "RateLimitError: RateLimitError", "throttling_error"),
        (500, "InternalServerError: InternalServerError", "internal_server_error"),
        (503, "ServiceUnavailableError: ServiceUnavailableError", "internal_server_error"),
    ],
)
def test_statuses_from_behind_keep_their_number(
    litellm: Renderer, client: httpx2.Client, status: int, name: str, kind: str
) -> None:
    litellm.faults([{"on": "create", "do": f"status:{status}", "headers": {"retry-after": "7"}}])

    answer = client.post("/videos", json=TEST, headers={"x-litellm-num-retries": "0"})

    error = answer.json()["error"]
    assert answer.status_code == status
    assert (error["type"], error["code"]) == (kind, str(status))
    assert error["message"].startswith(f"litellm.{name}: OpenAIException - ")
    assert answer.headers["llm_provider-retry-after"] == "7"
    assert "retry-after" not in answer.headers


def test_a_failed_create_is_sent_three_times_unless_a_header_forbids_it(
    litellm: Renderer, client: httpx2.Client
) -> None:
    fault = {"on": "create", "do": "status:500", "times": 3}
    litellm.faults([fault])
    assert client.post("/videos", json=TEST).status_code == 500
    assert litellm.faults_left() == []

    litellm.faults([fault])
    client.post("/videos", json=TEST, headers={"x-litellm-num-retries": "0"})
    assert litellm.faults_left()[0]["times"] == 2


def test_a_lost_answer_from_behind_is_a_500_and_three_payments(
    litellm: Renderer, client: httpx2.Client
) -> None:
    litellm.faults([{"on": "create", "do": "drop_after", "times": 4}])

    careless = client.post("/videos", json=TEST)
    paid = litellm.accepted()
    careful = client.post("/videos", json=TEST, headers={"x-litellm-num-retries": "0"})

    for answer in (careless, careful):
        assert answer.status_code == 500
        assert "OpenAIException - Server disconnected" in answer.json()["error"]["message"]
    assert (paid, litellm.accepted()) == (3, 4)


def test_a_failed_job_is_shown_as_the_server_behind_shows_it(
    litellm: Renderer, client: httpx2.Client
) -> None:
    litellm.faults([{"on": "create", "do": "moderate"}])
    video_id = client.post("/videos", json=TEST).json()["id"]

    answer = ended(client, video_id)
    content = client.get(f"/videos/{video_id}/content")

    assert (answer.status_code, answer.json()["error"]["code"]) == (200, "moderation_blocked")
    assert content.status_code == 404
    assert content.json()["error"]["message"].startswith("litellm.NotFoundError: OpenAIException")


def test_content_is_always_the_video_and_whole(client: httpx2.Client) -> None:
    video_id = client.post("/videos", json=TEST).json()["id"]
    ended(client, video_id)

    answer = client.get(
        f"/videos/{video_id}/content",
        params={"variant": "thumbnail"},
        headers={"range": "bytes=0-9"},
    )

    assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
    assert answer.headers["content-disposition"] == f"attachment; filename=video_{video_id}.mp4"
    assert int(answer.headers["content-length"]) == len(answer.content) > 10
    assert "x-litellm-version" not in answer.headers


def test_there_is_no_list_and_no_delete(client: httpx2.Client) -> None:
    video_id = client.post("/videos", json=TEST).json()["id"]
    listed = client.get("/videos")
    deleted = client.delete(f"/videos/{video_id}")

    assert (listed.status_code, listed.json()["error"]["code"]) == (400, "400")
    assert "LLM Provider NOT provided" in listed.json()["error"]["message"]
    assert listed.headers["x-litellm-version"] == "1.109.1"
    assert client.get("/videos", params={"custom_llm_provider": "openai"}).status_code == 500
    assert shape(deleted) == (405, {"detail": "Method Not Allowed"})


def test_ids_that_it_did_not_make_go_elsewhere_and_forgotten_ones_are_404(
    client: httpx2.Client,
) -> None:
    made = client.post("/videos", json=TEST).json()["id"]
    text = base64.b64decode(made.removeprefix("video_")).decode()
    other = text.replace(decoded(made)["video_id"], "video_gone")
    forgotten = "video_" + base64.b64encode(other.encode()).decode()

    strange = client.get("/videos/video_0")
    gone = client.get(f"/videos/{forgotten}")

    assert strange.status_code == 500
    assert "Cannot connect to host api.openai.com" in strange.json()["error"]["message"]
    assert gone.status_code == 404
    assert "Video with id 'video_gone' not found." in gone.json()["error"]["message"]


def test_remixes_edits_and_extensions_are_forwarded(client: httpx2.Client) -> None:
    made = client.post("/videos", json=TEST).json()["id"]
    ended(client, made)

    remix = client.post(f"/videos/{made}/remix", json={"prompt": "blue"}).json()
    edit = client.post("/videos/edits", json={"prompt": "blue", "video": {"id": made}}).json()
    longer = {"prompt": "on", "seconds": "4", "video": {"id": made}}
    extension = client.post("/videos/extensions", json=longer).json()

    assert remix["remixed_from_video_id"] == decoded(made)["video_id"]
    assert (remix["usage"], edit["usage"]) == ({"duration_seconds": 1.0}, None)
    assert (edit["seconds"], extension["seconds"]) == ("1", "5")
    nowhere = client.post("/videos/edits", json={"prompt": "blue"})
    characters = client.post("/videos/characters", files=form(name="Bo", video=b"x"))
    assert nowhere.status_code == characters.status_code == 500


def test_a_wrong_key_is_400_and_none_is_401(speak: SpeakDialect) -> None:
    locked = speak("litellm", api_key="sk-local-1234")
    url = f"{locked.base_url}/videos"
    nobody = httpx2.post(url, json=TEST)
    stranger = httpx2.post(url, json=TEST, headers={"Authorization": "Bearer sk-other"})

    text = "Authentication Error, No api key passed in."
    assert shape(nobody) == own(401, text, "auth_error")
    assert shape(stranger) == own(400, "No connected db.", "no_db_connection")
    assert "x-litellm-version" not in nobody.headers
    assert locked.accepted() == 0


def test_it_can_be_told_by_harmless_gets(litellm: Renderer, client: httpx2.Client) -> None:
    models = client.get("/models").json()["data"]
    alive = httpx2.get(f"{litellm.root}/health/liveliness")

    assert {model["created"] for model in models} == {1677610602}
    assert {model["owned_by"] for model in models} == {"openai"}
    assert shape(alive) == (200, "I'm alive!")
    assert httpx2.get(f"{litellm.root}/videos").headers["x-litellm-version"] == "1.109.1"
