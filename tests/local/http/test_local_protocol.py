"""The local renderer speaks OpenAI's video protocol, errors included."""

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from PIL import Image

from tests.support.renderer import Renderer, StartRenderer, until

SMALL = {"prompt": "a fox", "size": "64x64", "seconds": "1"}

VIDEO_FIELDS = {
    "id": str,
    "object": str,
    "model": str,
    "status": str,
    "progress": int,
    "created_at": int,
    "completed_at": int | None,
    "expires_at": int,
    "prompt": str,
    "size": str,
    "seconds": str,
    "remixed_from_video_id": str | None,
    "error": dict | None,
}


@pytest.fixture
def client(renderer: Renderer) -> Iterator[httpx2.Client]:
    with renderer.client() as client:
        yield client


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((width, height), 40).save(file, "PNG")
    return file.getvalue()


def data_url(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def test_a_created_video_has_every_field_of_the_protocol(
    renderer: Renderer, client: httpx2.Client
) -> None:
    created = client.post("/videos", json={**SMALL, "model": "sora-2"}).json()
    ended = renderer.finished(created["id"])

    for video in (created, ended):
        assert video.keys() == VIDEO_FIELDS.keys()
        for name, kind in VIDEO_FIELDS.items():
            assert isinstance(video[name], kind), name
    assert created["status"] in ("queued", "in_progress")
    assert (ended["status"], ended["progress"]) == ("completed", 100)
    assert ended["prompt"] == "a fox"
    assert (ended["model"], ended["size"], ended["seconds"]) == ("sora-2", "64x64", "1")
    assert created["expires_at"] == created["created_at"] + 3600


@pytest.mark.parametrize("seconds", ["2", 2, 2.0], ids=["text", "integer", "float"])
def test_seconds_come_back_as_text_however_they_were_sent(
    client: httpx2.Client, seconds: object
) -> None:
    video = client.post("/videos", json={**SMALL, "seconds": seconds}).json()

    assert video["seconds"] == "2"


def test_the_defaults_are_those_of_the_protocol(start_renderer: StartRenderer) -> None:
    slow = start_renderer(min_render_seconds=60)
    with slow.client() as client:
        video = client.post("/videos", json={"prompt": "a fox"}).json()

    assert (video["size"], video["seconds"], video["model"]) == ("720x1280", "4", "local")


def test_json_and_multipart_make_the_same_job(client: httpx2.Client) -> None:
    as_json = client.post("/videos", json=SMALL).json()
    as_form = client.post("/videos", files={k: (None, v) for k, v in SMALL.items()}).json()

    same = ("model", "prompt", "size", "seconds")
    assert [as_json[name] for name in same] == [as_form[name] for name in same]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        pytest.param({"prompt": None}, "prompt", id="no prompt"),
        pytest.param({"prompt": "  "}, "prompt", id="an empty prompt"),
        pytest.param({"prompt": 7}, "prompt", id="a prompt that is no text"),
        pytest.param({"prompt": "x" * 32_001}, "prompt", id="a prompt too long"),
        pytest.param({"prompt": "\ud800"}, "prompt", id="half a character"),
        pytest.param({"size": "big"}, "size", id="a size in words"),
        pytest.param({"size": "65x64"}, "size", id="an odd size"),
        pytest.param({"size": "0x64"}, "size", id="no width"),
        pytest.param({"size": "9000x64"}, "size", id="a size too large"),
        pytest.param({"seconds": "121"}, "seconds", id="too many seconds"),
        pytest.param({"seconds": "0"}, "seconds", id="no seconds"),
        pytest.param({"seconds": "soon"}, "seconds", id="seconds in words"),
        pytest.param({"seconds": 1.5}, "seconds", id="half a second"),
        pytest.param({"seconds": True}, "seconds", id="seconds that are true"),
        pytest.param({"model": 3}, "model", id="a model that is no text"),
        pytest.param({"input_reference": "x"}, "input_reference", id="a reference as text"),
        pytest.param(
            {"input_reference": {"image_url": "https://example.org/a.png"}},
            "input_reference",
            id="a link as reference",
        ),
        pytest.param(
            {"input_reference": {"image_url": data_url(b"not an image")}},
            "input_reference",
            id="a reference that is no image",
        ),
        pytest.param(
            {"input_reference": {"image_url": data_url(png(64, 64)[:-900])}},
            "input_reference",
            id="a reference cut short",
        ),
        pytest.param(
            {"input_reference": {"image_url": data_url(png(64, 62))}},
            "input_reference",
            id="a reference of another size",
        ),
    ],
)
def test_a_bad_request_is_refused_by_name_and_not_accepted(
    renderer: Renderer, client: httpx2.Client, change: dict[str, Any], param: str
) -> None:
    answer = client.post("/videos", content=json.dumps({**SMALL, **change}))

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["param"], error["type"]) == (param, "invalid_request_error")
    assert renderer.accepted() == 0


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        pytest.param(b"{", "application/json", id="torn JSON"),
        pytest.param(b"[1]", "application/json", id="JSON that is no object"),
        pytest.param(b"", "application/json", id="nothing"),
        pytest.param(b"\xff\xfe", "application/json", id="no UTF-8"),
        pytest.param(b"x", "multipart/form-data", id="a form without a boundary"),
        pytest.param(b"x", "multipart/form-data; boundary=b", id="a torn form"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(
    client: httpx2.Client, body: bytes, kind: str
) -> None:
    answer = client.post("/videos", content=body, headers={"Content-Type": kind})

    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("way", ["a file", "a data URL", "a data URL in a form"])
def test_a_reference_image_is_accepted_as(
    renderer: Renderer, client: httpx2.Client, way: str
) -> None:
    image = png(64, 64)
    form: dict[str, Any] = {k: (None, v) for k, v in SMALL.items()}
    reference = {"image_url": data_url(image)}
    if way == "a file":
        files = {**form, "input_reference": ("a.png", image, "image/png")}
        answer = client.post("/videos", files=files)
    elif way == "a data URL":
        answer = client.post("/videos", json={**SMALL, "input_reference": reference})
    else:
        files = {**form, "input_reference": (None, json.dumps(reference))}
        answer = client.post("/videos", files=files)

    assert answer.status_code == 200, answer.text
    assert renderer.finished(answer.json()["id"])["status"] == "completed"


def test_unknown_ids_are_not_found_in_openais_words(client: httpx2.Client) -> None:
    for method, path in (
        ("GET", "/videos/video_0"),
        ("DELETE", "/videos/video_0"),
        ("GET", "/videos/video_0/content"),
        ("POST", "/videos/video_0/remix"),
        ("GET", "/videos/..%2F..%2Fserver.json"),
        ("GET", "/nothing"),
    ):
        answer = client.request(method, path, json={"prompt": "x"})
        assert answer.status_code == 404, path
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_pages_follow_each_other_and_end(client: httpx2.Client) -> None:
    made = [client.post("/videos", json=SMALL).json()["id"] for _ in range(5)]

    seen, after, pages = [], None, 0
    while True:
        query = {"limit": "2", "order": "asc", **({"after": after} if after else {})}
        page = client.get("/videos", params=query).json()
        seen += [video["id"] for video in page["data"]]
        assert (page["object"], page["first_id"]) == ("list", page["data"][0]["id"])
        after, pages = page["last_id"], pages + 1
        if not page["has_more"]:
            break

    assert (seen, pages) == (made, 3)


def test_the_newest_come_first_and_twenty_at_a_time(client: httpx2.Client) -> None:
    made = [client.post("/videos", json=SMALL).json()["id"] for _ in range(21)]

    page = client.get("/videos").json()

    assert [video["id"] for video in page["data"]] == made[:0:-1]
    assert page["has_more"] is True


def test_an_empty_page_has_null_ids(client: httpx2.Client) -> None:
    nothing: dict[str, Any] = {"data": [], "first_id": None, "last_id": None}
    empty = {"object": "list", **nothing, "has_more": False}

    assert client.get("/videos").json() == empty
    client.post("/videos", json=SMALL)
    assert client.get("/videos", params={"after": "video_gone"}).json() == empty
    assert client.get("/videos", params={"limit": 0}).json() == {**empty, "has_more": True}


@pytest.mark.parametrize("query", [{"limit": "101"}, {"limit": "-1"}, {"order": "random"}])
def test_a_page_that_cannot_be_is_refused(client: httpx2.Client, query: dict[str, str]) -> None:
    assert client.get("/videos", params=query).status_code == 400


def test_a_deleted_video_is_gone_and_stays_counted(
    renderer: Renderer, client: httpx2.Client
) -> None:
    video_id = renderer.finished(renderer.create()["id"])["id"]

    answer = client.delete(f"/videos/{video_id}")

    assert answer.json() == {"id": video_id, "object": "video.deleted", "deleted": True}
    assert client.get(f"/videos/{video_id}").status_code == 404
    assert client.delete(f"/videos/{video_id}").status_code == 404
    assert client.get("/videos").json()["data"] == []
    assert renderer.accepted() == 1
    assert not list(renderer.folder.rglob(f"*{video_id}*"))


def test_deleting_a_running_job_frees_its_place(start_renderer: StartRenderer) -> None:
    slow = start_renderer(parallel=1, min_render_seconds=60)
    first = slow.create("first")["id"]
    second = slow.create("second")["id"]
    with slow.client() as client:
        client.delete(f"/videos/{first}").raise_for_status()
        until_running(client, second)

    assert slow.counts()["rendering"] == 1
    assert not list(slow.folder.rglob(f"*{first}*"))


def until_running(client: httpx2.Client, video_id: str) -> None:
    until(
        lambda: client.get(f"/videos/{video_id}").json()["status"] == "in_progress",
        "the job is in progress",
    )


def test_progress_rises_and_reaches_a_hundred_only_at_the_end(
    start_renderer: StartRenderer,
) -> None:
    slow = start_renderer(min_render_seconds=0.5)
    video = slow.create()
    seen = []
    with slow.client() as client:
        while video["status"] not in ("completed", "failed"):
            video = client.get(f"/videos/{video['id']}").json()
            seen.append((video["status"] == "completed", video["progress"]))

    assert seen == sorted(seen)
    assert seen[-1] == (True, 100)
    assert all(progress < 100 for done, progress in seen if not done)
    assert len(set(seen)) > 5


def test_unfinished_jobs_come_with_advice_when_to_ask_again(start_renderer: StartRenderer) -> None:
    slow = start_renderer(min_render_seconds=60, poll_after_ms=200)
    with slow.client() as client:
        created = client.post("/videos", json=SMALL)
        path = f"/videos/{created.json()['id']}"
        answers = [created, client.get(path), client.get("/videos")]

    assert [answer.headers["openai-poll-after-ms"] for answer in answers] == ["200"] * 3


def test_the_advice_ends_with_the_job_and_can_be_switched_off(
    renderer: Renderer, start_renderer: StartRenderer
) -> None:
    video = renderer.finished(renderer.create()["id"])
    silent = start_renderer(min_render_seconds=60, poll_after_ms=0)
    with renderer.client() as client, silent.client() as silent_client:
        assert "openai-poll-after-ms" not in client.get(f"/videos/{video['id']}").headers
        answer = silent_client.post("/videos", json=SMALL)
        assert "openai-poll-after-ms" not in answer.headers


@pytest.mark.slow
def test_an_expired_video_is_forgotten(start_renderer: StartRenderer) -> None:
    brief = start_renderer(ttl=1)
    video = brief.finished(brief.create()["id"])
    with brief.client() as client:
        path = f"/videos/{video['id']}"
        until(lambda: client.get(f"{path}/content").status_code == 404, "the content expires")
        assert client.get(path).status_code == 404
        assert client.get("/videos").json()["data"] == []
    until(lambda: not [*brief.folder.rglob(f"*{video['id']}*")], "its files are removed")
    assert brief.accepted() == 1


def test_a_key_is_demanded_when_there_is_one(start_renderer: StartRenderer) -> None:
    locked = start_renderer(api_key="sk-local-1234")
    with httpx2.Client(base_url=locked.base_url) as stranger:
        for key in (None, "Bearer wrong", "Basic sk-local-1234"):
            headers = {"Authorization": key} if key else {}
            answer = stranger.get("/videos", headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
        assert stranger.post("/videos", json=SMALL).status_code == 401
        assert stranger.get("/nothing").status_code in (401, 404)
    with locked.client() as friend:
        assert friend.get("/videos").status_code == 200

    assert locked.accepted() == 0
    told = [*locked.folder.rglob("*")]
    assert not [p for p in told if p.is_file() and b"sk-local-1234" in p.read_bytes()]
    assert "sk-local-1234" not in json.dumps(locked.requests())


def test_an_idempotency_key_is_ignored_unless_asked_for(
    renderer: Renderer, start_renderer: StartRenderer
) -> None:
    honest = start_renderer(idempotency=True)
    for server, jobs in ((renderer, 2), (honest, 1)):
        with server.client() as client:
            headers = {"Idempotency-Key": "render-1"}
            made = {client.post("/videos", json=SMALL, headers=headers).json()["id"] for _ in "12"}
        assert len(made) == server.accepted() == jobs
        assert [entry["headers"]["idempotency-key"] for entry in server.requests()] == [
            "render-1",
            "render-1",
        ]


def test_control_routes_are_absent_unless_asked_for(start_renderer: StartRenderer) -> None:
    plain = start_renderer(control=False)

    assert httpx2.post(f"{plain.root}/reset").status_code == 404
    assert httpx2.get(f"{plain.root}/requests").status_code == 404
    assert httpx2.get(f"{plain.root}/faults").status_code == 404
    assert httpx2.get(f"{plain.root}/health").json()["status"] == "ok"


def test_a_web_page_cannot_make_jobs_or_delete_them(
    renderer: Renderer, client: httpx2.Client
) -> None:
    video_id = renderer.create()["id"]
    page = {"Origin": "https://example.org"}

    assert client.post("/videos", json=SMALL, headers=page).status_code == 403
    assert client.delete(f"/videos/{video_id}", headers=page).status_code == 403
    assert httpx2.post(f"{renderer.root}/reset", headers=page).status_code == 403
    assert client.get(f"/videos/{video_id}", headers=page).status_code == 200
    assert renderer.accepted() == 1
