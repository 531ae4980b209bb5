"""`--dialect azure`, as Azure OpenAI answers.

Sources: MicrosoftDocs/azure-ai-docs `articles/foundry/openai/concepts/video-generation.md` (path,
sizes, seconds, 24 hours); MicrosoftLearning/mslearn-ai-vision#81 (the 404 of a deployment),
SciSharp/BotSharp#386 (the 401). The 410 of a retired model is ours.
"""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from prefect_sora.servers.local.dialects.azure import entra_token
from tests.support.dialects import SMALL, ended, shape
from tests.support.renderer import Renderer, SpeakDialect

KEY = "azure-key-1234"
TEST = {**SMALL, "model": "test"}


def user_error(status: int, message: str) -> Any:
    kind = "video_generation_user_error"
    return status, {"error": {"message": message, "type": kind, "param": None, "code": None}}


@pytest.fixture
def azure(speak: SpeakDialect) -> Renderer:
    return speak("azure", api_key=KEY)


@pytest.fixture
def client(azure: Renderer) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=azure.base_url, headers={"api-key": KEY}, timeout=30) as client:
        yield client


def test_it_answers_below_openai_v1_whatever_the_version(
    azure: Renderer, client: httpx2.Client
) -> None:
    assert azure.base_url.endswith("/openai/v1")
    for query in ({}, {"api-version": "preview"}):
        video = client.post("/videos", params=query, json=TEST).json()
        assert (video["model"], video["prompt"]) == ("test", "a fox")
        assert video["expires_at"] == video["created_at"] + 24 * 3600
    assert ended(client, video["id"]).json()["expires_at"] == video["expires_at"]
    elsewhere = httpx2.get(f"{azure.root}/openai/videos", headers={"api-key": KEY})
    assert shape(elsewhere) == (404, {"error": {"code": "404", "message": "Resource not found"}})


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"api-key": KEY}, 200, id="the key in its own header"),
        pytest.param({"Authorization": f"Bearer {KEY}"}, 200, id="the key as Bearer"),
        pytest.param({"Authorization": f"Bearer {entra_token(KEY)}"}, 200, id="a token"),
        pytest.param({}, 401, id="nothing"),
        pytest.param({"api-key": "wrong"}, 401, id="a wrong key"),
        pytest.param({"Authorization": "Bearer wrong"}, 401, id="a wrong Bearer"),
        pytest.param(
            {"Authorization": f"Bearer {entra_token(KEY, -1)}"}, 401, id="a token that expired"
        ),
        pytest.param(
            {"Authorization": f"Bearer {entra_token('other')}"}, 401, id="a token of another"
        ),
        pytest.param({"Authorization": f"Basic {KEY}"}, 401, id="another scheme"),
    ],
)
def test_one_of_two_credentials_is_demanded_and_checked(
    azure: Renderer, headers: dict[str, str], status: int
) -> None:
    answer = httpx2.get(f"{azure.base_url}/videos", headers=headers)

    assert answer.status_code == status
    assert "apim-request-id" in answer.headers
    if status == 401:
        error = answer.json()["error"]
        assert error.keys() == {"code", "message"}
        assert error["code"] == "401"
        assert error["message"].startswith("Access denied due to invalid subscription key")


def test_a_renderer_without_a_key_still_asks_for_one(speak: SpeakDialect) -> None:
    base = speak("azure").base_url

    assert httpx2.get(f"{base}/videos").status_code == 401
    for headers in ({"api-key": "any"}, {"Authorization": f"Bearer {entra_token('any')}"}):
        assert httpx2.get(f"{base}/videos", headers=headers).status_code == 200
    expired = {"Authorization": f"Bearer {entra_token('any', -1)}"}
    assert httpx2.get(f"{base}/videos", headers=expired).status_code == 401


def test_an_unknown_deployment_is_404_and_a_retired_one_410(
    azure: Renderer, client: httpx2.Client
) -> None:
    unknown = client.post("/videos", json={**SMALL, "model": "sora-9"})
    retired = client.post("/videos", json={**SMALL, "model": "sora-2-2025-10-06"})

    assert shape(unknown) == user_error(
        404,
        "The API deployment 'sora-9' for this resource does not exist. If you created the "
        "deployment within the last 5 minutes, please wait a moment and try again.",
    )
    assert (retired.status_code, retired.json()["error"]["code"]) == (410, "ModelDeprecated")
    assert azure.accepted() == 0


def test_deployments_can_be_named(speak: SpeakDialect) -> None:
    named = speak("azure", models="our-sora, other")
    with httpx2.Client(base_url=named.base_url, headers={"api-key": "any"}) as client:
        accepted = client.post("/videos", json={**SMALL, "model": "our-sora"})
        refused = client.post("/videos", json=TEST)
        listed = client.get("/models").json()["data"]

    assert (accepted.status_code, refused.status_code) == (200, 404)
    assert [model["id"] for model in listed] == ["our-sora", "other"]


@pytest.mark.parametrize(("field", "value"), [("size", "1024x1792"), ("seconds", "16")])
def test_a_deployment_of_sora_takes_soras_sizes_and_seconds(
    client: httpx2.Client, field: str, value: str
) -> None:
    body = {"prompt": "a fox", "model": "sora-2", "size": "1280x720", field: value}

    answer = client.post("/videos", json=body)

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "video_generation_user_error"


def test_it_remixes_lists_and_deletes_but_does_not_edit(client: httpx2.Client) -> None:
    video_id = client.post("/videos", json=TEST).json()["id"]
    ended(client, video_id)

    remixed = client.post(f"/videos/{video_id}/remix", json={"prompt": "in blue"}).json()
    page = client.get("/videos").json()

    assert remixed["remixed_from_video_id"] == video_id
    assert [video["id"] for video in page["data"]] == [remixed["id"], video_id]
    assert client.delete(f"/videos/{video_id}").json()["object"] == "video.deleted"
    for path in ("/videos/edits", "/videos/extensions", "/videos/characters"):
        answer = client.post(path, json={"prompt": "in blue"})
        assert shape(answer) == (404, {"error": {"code": "404", "message": "Resource not found"}})
