"""What the local renderer makes of a finished video: edits, extensions, characters."""

import io
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import httpx2
import numpy as np
import pytest

from tests.support.renderer import Renderer, StartRenderer

SMALL = {"prompt": "a fox", "size": "160x90", "seconds": "4"}


@pytest.fixture
def client(renderer: Renderer) -> Iterator[httpx2.Client]:
    with renderer.client() as client:
        yield client


@pytest.fixture
def source(renderer: Renderer) -> dict[str, Any]:
    return made(renderer, "/videos", SMALL)


def made(renderer: Renderer, path: str, body: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Have something made and wait for it."""
    with renderer.client() as client:
        how: dict[str, Any] = {"data": body, **more} if more else {"json": body}
        answer = client.post(path, **how)
    assert answer.status_code == 200, answer.text
    video = renderer.finished(answer.json()["id"])
    assert video["status"] == "completed", video
    return video


def content(renderer: Renderer, video: dict[str, Any]) -> bytes:
    with renderer.client() as client:
        return client.get(f"/videos/{video['id']}/content").raise_for_status().content


def frames(data: bytes) -> list[np.ndarray]:
    with av.open(io.BytesIO(data), "r") as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def sound(data: bytes) -> np.ndarray:
    with av.open(io.BytesIO(data), "r") as container:
        return np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_an_edit_changes_the_picture_and_keeps_length_size_and_sound(
    renderer: Renderer, source: dict[str, Any]
) -> None:
    edited = made(renderer, "/videos/edits", {"prompt": "in autumn", "video": {"id": source["id"]}})
    remixed = made(renderer, f"/videos/{source['id']}/remix", {"prompt": "in autumn"})

    assert (edited["size"], edited["seconds"]) == (source["size"], source["seconds"])
    assert (edited["prompt"], edited["remixed_from_video_id"]) == ("in autumn", None)
    assert edited["edited_from_video_id"] == source["id"]
    before, after, remix = (content(renderer, v) for v in (source, edited, remixed))
    assert len(frames(after)) == len(frames(before)) == 96
    assert difference(frames(before)[48], frames(after)[48]) > 10
    assert difference(frames(remix)[48], frames(after)[48]) > 10
    kept = np.corrcoef(sound(before)[: 3 * 48_000], sound(after)[: 3 * 48_000])[0, 1]
    other = np.corrcoef(sound(before)[: 3 * 48_000], sound(remix)[: 3 * 48_000])[0, 1]
    assert kept > 0.95 > 0.7 > other
    assert renderer.accepted() == 3


def test_an_extension_is_the_source_and_then_the_same_motion_on(
    renderer: Renderer, source: dict[str, Any]
) -> None:
    body = {"prompt": "it turns", "seconds": "4", "video": {"id": source["id"]}}
    extended = made(renderer, "/videos/extensions", body)

    assert (extended["seconds"], extended["size"]) == ("8", source["size"])
    assert extended["extended_from_video_id"] == source["id"]
    before, after = frames(content(renderer, source)), frames(content(renderer, extended))
    assert len(after) == 192
    assert all(difference(one, other) < 3 for one, other in zip(before, after, strict=False))
    steps = [difference(one, other) for one, other in pairwise(after)]
    usual = float(np.median(steps))
    assert max(steps[90:110]) < 3 * usual, "seamless at the joint"
    assert np.median(steps[110:]) > usual / 2, "and it goes on moving"
    ground = slice(60, 90)  # right of the text: the hills pass by as they did
    assert difference(after[96][ground, 100:], after[191][ground, 100:]) > 2


@pytest.mark.parametrize("verb", ["remix", "edit"])
def test_an_extension_keeps_the_look_of_its_source(
    renderer: Renderer, source: dict[str, Any], verb: str
) -> None:
    path = f"/videos/{source['id']}/remix" if verb == "remix" else "/videos/edits"
    changed = made(renderer, path, {"prompt": "in autumn", "video": {"id": source["id"]}})
    body = {"prompt": "it turns", "seconds": 4, "video": {"id": changed["id"]}}
    shown = frames(content(renderer, made(renderer, "/videos/extensions", body)))

    corner = slice(24, 40), slice(120, 155)  # the sky, right of all text
    assert difference(shown[60][corner], shown[150][corner]) < 12
    plain = frames(content(renderer, source))
    assert difference(shown[150][corner], plain[60][corner]) > 10


@pytest.mark.parametrize("path", ["/videos/edits", "/videos/extensions"])
def test_a_video_of_ones_own_is_taken_as_a_file(
    renderer: Renderer, source: dict[str, Any], path: str
) -> None:
    own = content(renderer, source)
    body = {"prompt": "it turns", "model": "my-model"}
    if path.endswith("extensions"):
        body["seconds"] = "8"
    video = made(renderer, path, body, files={"video": ("own.mp4", own, "video/mp4")})

    assert (video["size"], video["model"]) == ("160x90", "my-model")
    assert video["seconds"] == ("12" if "seconds" in body else "4")
    shown = frames(content(renderer, video))
    assert len(shown) == 24 * int(video["seconds"])
    if "seconds" in body:
        steps = [difference(one, other) for one, other in pairwise(shown)]
        assert max(steps[94:110]) < 4
        assert difference(shown[96], shown[-1]) > 3


def test_a_video_of_another_rate_and_without_sound_can_be_extended(
    renderer: Renderer, tmp_path: Path
) -> None:
    path = tmp_path / "own.mp4"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 66, 50, "yuv420p"
        for number in range(20):
            picture = np.full((50, 66, 3), number * 10, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    body = {"prompt": "it turns", "seconds": "4"}
    video = made(
        renderer, "/videos/extensions", body, files={"video": ("own.mp4", path.read_bytes())}
    )

    assert (video["size"], video["seconds"]) == ("66x50", "6")
    data = content(renderer, video)
    shown = frames(data)
    assert len(shown) == 144
    assert shown[2].mean() < shown[24].mean() < shown[45].mean()  # at its own pace
    assert abs(sound(data)[:48_000]).max() < 0.01


@pytest.mark.slow
def test_a_clip_is_extended_six_times_and_up_to_120_seconds(renderer: Renderer) -> None:
    video = made(renderer, "/videos", {**SMALL, "size": "16x16"})
    body = {"prompt": "on", "seconds": "4"}
    for _ in range(6):
        video = made(renderer, "/videos/extensions", {**body, "video": {"id": video["id"]}})
    long = made(renderer, "/videos", {**SMALL, "size": "16x16", "seconds": "104"})
    with renderer.client() as client:
        seventh = client.post("/videos/extensions", json={**body, "video": {"id": video["id"]}})
        longer = client.post(
            "/videos/extensions",
            json={"prompt": "on", "seconds": "20", "video": {"id": long["id"]}},
        )

    assert video["seconds"] == "28"
    assert (seventh.status_code, seventh.json()["error"]["param"]) == (400, "video")
    assert "6 times" in seventh.json()["error"]["message"]
    assert (longer.status_code, longer.json()["error"]["param"]) == (400, "seconds")
    assert "at most 120" in longer.json()["error"]["message"]
    assert renderer.accepted() == 8


@pytest.mark.parametrize(
    ("path", "change", "status", "param"),
    [
        pytest.param("extensions", {"seconds": "5"}, 400, "seconds", id="seconds not offered"),
        pytest.param("extensions", {"seconds": None}, 400, "seconds", id="no seconds"),
        pytest.param("extensions", {"prompt": " "}, 400, "prompt", id="no prompt"),
        pytest.param("extensions", {"characters": []}, 400, "characters", id="characters"),
        pytest.param("edits", {"video": None}, 400, "video", id="no video"),
        pytest.param("edits", {"video": "video_1"}, 400, "video", id="a video that is a text"),
        pytest.param("edits", {"video": {"id": "video_0"}}, 404, "video_id", id="unknown"),
        pytest.param("extensions", {"video": {"id": "video_0"}}, 404, "video_id", id="unknown too"),
        pytest.param("edits", {"input_reference": {}}, 400, "input_reference", id="a picture"),
    ],
)
def test_what_cannot_be_edited_or_extended_is_refused_by_name(
    renderer: Renderer,
    client: httpx2.Client,
    source: dict[str, Any],
    path: str,
    change: dict[str, Any],
    status: int,
    param: str,
) -> None:
    body = {"prompt": "on", "seconds": "4", "video": {"id": source["id"]}, **change}

    answer = client.post(f"/videos/{path}", content=json.dumps(body))

    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    if change.get("seconds"):
        assert "4, 8, 12, 16, 20" in answer.json()["error"]["message"]
    assert renderer.accepted() == 1


def test_a_file_that_is_no_video_is_refused(renderer: Renderer, client: httpx2.Client) -> None:
    for path in ("/videos/edits", "/videos/extensions", "/videos/characters"):
        form = {"prompt": "on", "seconds": "4", "name": "Mira"}
        answer = client.post(path, data=form, files={"video": ("own.mp4", b"no video at all")})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "video")
    assert renderer.counts()["accepted"] == renderer.counts()["characters"] == 0


@pytest.mark.parametrize("path", ["/videos/edits", "/videos/extensions"])
def test_an_unfinished_source_is_refused(start_renderer: StartRenderer, path: str) -> None:
    slow = start_renderer(min_render_seconds=60)
    body = {"prompt": "on", "seconds": "4", "video": {"id": slow.create()["id"]}}
    with slow.client() as client:
        answer = client.post(path, json=body)

    assert answer.status_code == 400
    assert "is not completed" in answer.json()["error"]["message"]
    assert slow.accepted() == 1


def test_the_further_verbs_meet_faults_and_honour_idempotency_keys(
    start_renderer: StartRenderer,
) -> None:
    honest = start_renderer(idempotency=True)
    source = honest.finished(honest.create()["id"])
    body = {"prompt": "on", "seconds": "4", "video": {"id": source["id"]}}
    for operation, path in (("edit", "/videos/edits"), ("extend", "/videos/extensions")):
        honest.faults([{"on": operation, "do": "drop_after", "match": "on"}])
        headers = {"Idempotency-Key": operation}
        with honest.client() as client:
            with pytest.raises(httpx2.TransportError):
                client.post(path, json=body, headers=headers)
            honest.finished(client.post(path, json=body, headers=headers).json()["id"])
        assert [e["operation"] for e in honest.requests(operation)] == [operation] * 2
        honest.faults([{"on": operation, "do": "moderate"}])
        with honest.client() as client:
            failed = honest.finished(client.post(path, json=body).json()["id"])
        assert failed["error"]["code"] == "moderation_blocked"
    assert honest.accepted() == 5


def character(renderer: Renderer, source: dict[str, Any], name: str) -> dict[str, Any]:
    with renderer.client() as client:
        answer = client.post(
            "/videos/characters",
            data={"name": name},
            files={"video": ("own.mp4", content(renderer, source), "video/mp4")},
        )
    created: dict[str, Any] = answer.raise_for_status().json()
    return created


@pytest.mark.parametrize("way", ["JSON", "JSON text in a form", "bracketed fields in a form"])
def test_a_character_appears_in_a_video_that_names_it(
    renderer: Renderer, source: dict[str, Any], way: str
) -> None:
    mira = character(renderer, source, "Mira")
    body: dict[str, Any] = {**SMALL, "size": "480x270", "prompt": "mira flies a kite"}
    plain = made(renderer, "/videos", body)
    if way == "JSON":
        shown = made(renderer, "/videos", {**body, "characters": [{"id": mira["id"]}]})
    else:
        text = json.dumps([{"id": mira["id"]}])
        cast = {"characters": text} if "text" in way else {"characters[][id]": mira["id"]}
        form = {k: (None, v) for k, v in {**body, **cast}.items()}
        shown = made(renderer, "/videos", {}, files=form)

    assert mira.keys() == {"id", "name", "created_at"}
    assert mira["name"] == "Mira"
    one, other = (frames(content(renderer, v))[40] for v in (plain, shown))
    changed = np.abs(one.astype(int) - other.astype(int)).mean(axis=2) > 12
    rows, columns = np.nonzero(changed)
    assert len(rows) > 600
    # A small picture at the right, and its name below it; the encoder's noise left out.
    assert np.percentile(columns, 2) > 380
    assert 115 < np.percentile(rows, 99) < 140


def test_characters_are_found_again_after_a_restart(start_renderer: StartRenderer) -> None:
    first = start_renderer(idempotency=True)
    source = first.finished(first.create()["id"])
    video = ("own.mp4", content(first, source))
    files: dict[str, Any] = {"video": video, "name": (None, "Mira")}
    headers = {"Idempotency-Key": "mira"}
    with first.client() as client:
        mira = client.post("/videos/characters", files=files, headers=headers).json()
    again = first.restart()
    with again.client() as client:
        assert client.get(f"/videos/characters/{mira['id']}").json() == mira
        assert client.post("/videos/characters", files=files, headers=headers).json() == mira
        body = {**SMALL, "prompt": "Mira waves", "characters": [{"id": mira["id"]}]}
        shown = again.finished(client.post("/videos", json=body).json()["id"])

    assert shown["status"] == "completed"
    assert again.counts()["characters"] == 1


def test_unknown_and_unnamed_characters_are_refused(
    renderer: Renderer, client: httpx2.Client, source: dict[str, Any]
) -> None:
    mira = character(renderer, source, "Mira")["id"]

    assert client.get("/videos/characters/char_0").status_code == 404
    for prompt, cast, said in (
        ("Mira waves", [{"id": "char_0"}], "no character"),
        ("a fox", [{"id": mira}], "does not name"),
        ("Mira waves", [{"id": mira}] * 3, "at most 2"),
        ("Mira waves", mira, "list"),
        ("Mira waves", [mira], "list"),
    ):
        answer = client.post("/videos", json={**SMALL, "prompt": prompt, "characters": cast})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "characters")
        assert said in answer.json()["error"]["message"]
    for name in ("", "x" * 81, "two\nlines"):
        answer = client.post(
            "/videos/characters", data={"name": name}, files={"video": ("own.mp4", b"no video")}
        )
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "name")
    assert client.post("/videos/characters", json={"name": "Mira"}).status_code == 400
    assert renderer.counts()["characters"] == renderer.accepted() == 1
