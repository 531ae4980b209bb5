"""`--dialect openrouter`, `together`, `xai` and `bifrost`, as these answer.

Sources: Python packages openrouter 1.3.84, together 3.1.1, xai-sdk 1.21.0; @ai-sdk/xai 5.0.12;
maximhq/bifrost, `inference.go` (2026); OpenRouterTeam/docs (2026-08-22).
"""

import re
from typing import Any

import httpx2

from tests.support.renderer import Renderer, SpeakDialect, until

KITE = {"prompt": "a kite", "model": "local/kite"}
OPENROUTER = {**KITE, "size": "64x64", "duration": 1}
TOGETHER = {**KITE, "width": 64, "height": 64, "seconds": "1"}
XAI = {"prompt": "a kite", "model": "grok-imagine-video", "aspect_ratio": "1:1", "duration": 1}
BIFROST = {"prompt": "a kite", "model": "openai/kite", "size": "64x64", "seconds": "1"}


def post(renderer: Renderer, path: str, body: dict[str, Any]) -> httpx2.Response:
    with renderer.client() as client:
        return client.post(path, json=body)


def ended(renderer: Renderer, path: str) -> dict[str, Any]:
    """Poll until a job has ended; return what is said of it then."""

    def over() -> dict[str, Any] | None:
        with renderer.client() as client:
            answer = client.get(path)
        job: dict[str, Any] = answer.json() if answer.content else {}
        return job if job.get("status") in ("completed", "done", "failed") else None

    job: dict[str, Any] = until(over, "the job ends")
    return job


def test_openrouter_says_little_of_a_job_and_serves_its_file_to_its_key_alone(
    speak: SpeakDialect,
) -> None:
    renderer = speak("openrouter", api_key="sk-or")
    answer = post(renderer, "/videos", OPENROUTER)
    made = answer.json()
    done = ended(renderer, f"/videos/{made['id']}")

    assert (answer.status_code, made["status"]) == (202, "pending")
    assert re.fullmatch(r"gen-vid-\w{20}", made["id"])
    assert made.keys() == {"id", "polling_url", "status"}
    assert done.keys() == made.keys() | {"generation_id", "unsigned_urls", "usage"}
    assert done["usage"] == {"cost": 0.05, "is_byok": False}
    (url,) = done["unsigned_urls"]
    assert httpx2.get(url).status_code == 401
    assert httpx2.get(url, headers=renderer.headers).content[4:8] == b"ftyp"


def test_openrouters_errors_have_the_status_as_their_code(speak: SpeakDialect) -> None:
    renderer = speak("openrouter")
    with renderer.client() as client:
        unknown = client.get("/videos/gen-vid-nobody")
        listed = client.get("/videos")

    assert unknown.json()["error"]["code"] == unknown.status_code == 404
    assert listed.status_code == 405
    for body in ({**OPENROUTER, "duration": "1"}, {**OPENROUTER, "model": "no/such"}):
        assert post(renderer, "/videos", body).json()["error"]["code"] == 400
    assert renderer.accepted() == 0


def test_a_job_of_together_has_texts_for_times_and_its_file_without_a_key(
    speak: SpeakDialect,
) -> None:
    renderer = speak("together", api_key="tk")
    made = post(renderer, "/v2/videos", TOGETHER).json()
    done = ended(renderer, f"/v2/videos/{made['id']}")

    assert (made["object"], made["size"], made["seconds"]) == ("video", "64x64", "1")
    assert done["created_at"].endswith("+00:00")
    assert done["outputs"]["cost"] == 0.05
    assert httpx2.get(done["outputs"]["video_url"]).content[4:8] == b"ftyp"
    assert httpx2.get(done["outputs"]["video_url"], headers=renderer.headers).status_code == 400
    assert post(renderer, "/v2/videos", {**TOGETHER, "seconds": 1}).status_code == 400


def test_xai_tells_an_id_once_and_a_pending_job_by_202(speak: SpeakDialect) -> None:
    renderer = speak("xai", min_render_seconds=0.5, parallel=1)
    answers = [post(renderer, "/videos/generations", XAI).json() for _ in range(2)]
    with renderer.client() as client:
        waiting = client.get(f"/videos/{answers[1]['request_id']}")
    done = ended(renderer, f"/videos/{answers[0]['request_id']}")

    assert [answer.keys() for answer in answers] == [{"request_id"}, {"request_id"}]
    assert (waiting.status_code, waiting.content) == (202, b"")
    assert done["video"]["respect_moderation"] is True
    assert done["usage"] == {"cost_in_usd_ticks": 500_000_000}
    assert "id" not in done


def test_xai_refuses_in_three_shapes(speak: SpeakDialect) -> None:
    renderer = speak("xai", api_key="xk")
    keyless = httpx2.post(f"{renderer.base_url}/videos/generations", json=XAI)
    unknown = post(renderer, "/videos/generations", {**XAI, "model": "grok-no-such"})
    wrong = post(renderer, "/videos/generations", {**XAI, "duration": 16})

    assert (keyless.status_code, keyless.json().keys()) == (401, {"error"})
    assert (unknown.status_code, unknown.json().keys()) == (404, {"code", "error"})
    assert (wrong.status_code, wrong.json()["error"].keys()) == (
        400,
        {"message", "type", "param", "code"},
    )


def test_bifrosts_ids_end_in_their_provider_which_a_list_needs(speak: SpeakDialect) -> None:
    renderer = speak("bifrost")
    made = post(renderer, "/videos", BIFROST).json()
    with renderer.client() as client:
        without = client.get(f"/videos/{made['id'].partition(':')[0]}")
        bare, of_one, of_another = (
            client.get("/videos", params=query)
            for query in ({}, {"provider": "openai"}, {"provider": "gemini"})
        )

    assert made["id"].endswith(":openai")
    assert (without.status_code, bare.status_code) == (400, 400)
    assert [job["id"] for job in of_one.json()["data"]] == [made["id"]]
    assert of_another.json()["data"] == []
    link = {**BIFROST, "input_reference": "https://host/kite.png"}
    assert post(renderer, "/videos", link).status_code == 400
