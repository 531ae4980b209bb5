"""The local renderer draws pictures, and changes those that it is given, in OpenAI's form."""

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from tests.support.renderer import Renderer, StartRenderer, until

LANTERN = {"prompt": "a paper lantern", "size": "96x64"}


@pytest.fixture
def client(renderer: Renderer) -> Iterator[httpx2.Client]:
    with renderer.client() as client:
        yield client


def pictures(answer: httpx2.Response) -> list[Image.Image]:
    """Decode the pictures of an answer."""
    assert answer.status_code == 200, answer.text
    return [opened(base64.b64decode(one["b64_json"])) for one in answer.json()["data"]]


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def drawn(client: httpx2.Client, **fields: Any) -> Image.Image:
    return pictures(client.post("/images/generations", json={**LANTERN, **fields}))[0]


def file_of(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def difference(one: Image.Image, other: Image.Image) -> float:
    first, second = (np.asarray(p.convert("RGB")).astype(int) for p in (one, other))
    return float(np.abs(first - second).mean())


def test_an_answer_has_the_pictures_and_says_what_they_are(client: httpx2.Client) -> None:
    answer = client.post("/images/generations", json={**LANTERN, "n": 3, "quality": "low"})

    made = pictures(answer)
    assert [(p.format, p.mode, p.size) for p in made] == [("PNG", "RGB", (96, 64))] * 3
    assert min(difference(made[0], made[1]), difference(made[1], made[2])) > 5
    body = answer.json()
    assert {k: body[k] for k in ("background", "output_format", "quality", "size")} == {
        "background": "opaque",
        "output_format": "png",
        "quality": "low",
        "size": "96x64",
    }
    usage = body["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0
    assert isinstance(body["created"], int)


def test_one_prompt_gives_one_picture_and_another_prompt_another(client: httpx2.Client) -> None:
    lantern, again, hen = (drawn(client), drawn(client), drawn(client, prompt="a hen"))

    assert difference(lantern, again) == 0
    assert difference(lantern, hen) > 5


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_a_transparent_picture_is_a_subject_on_nothing(client: httpx2.Client, kind: str) -> None:
    picture = drawn(client, size="256x256", background="transparent", output_format=kind)

    assert (picture.format, picture.mode) == (kind.upper(), "RGBA")
    alpha = np.asarray(picture.getchannel("A"))
    assert alpha[:8].max() == alpha[:, -8:].max() == 0
    assert (alpha[100:110, 120:136] == 255).all()  # its middle
    clear, full = (alpha == 0).mean(), (alpha == 255).mean()
    assert clear > 0.4
    assert full > 0.1
    assert clear + full > 0.97  # the rest is the edge


@pytest.mark.parametrize(("ground", "value"), [("white", 255), ("black", 0)])
def test_a_plain_ground_has_its_colour(client: httpx2.Client, ground: str, value: int) -> None:
    picture = np.asarray(drawn(client, size="256x256", background=ground))

    assert (picture[-4:] == value).all()
    assert np.abs(picture[105, 128].astype(int) - value).max() > 60


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_compression_makes_smaller_files(client: httpx2.Client, kind: str) -> None:
    sizes = []
    for compression in (20, 90):
        body = {**LANTERN, "output_format": kind, "output_compression": compression}
        answer = client.post("/images/generations", json=body)
        assert pictures(answer)[0].format == kind.upper()
        sizes.append(len(answer.json()["data"][0]["b64_json"]))

    assert sizes[0] < 0.8 * sizes[1]


@pytest.mark.parametrize(
    ("size", "expected"),
    [(None, (1024, 1024)), ("auto", (1024, 1024)), ("17x33", (17, 33)), ("16x4096", (16, 4096))],
)
def test_every_size_is_drawn(
    client: httpx2.Client, size: str | None, expected: tuple[int, int]
) -> None:
    answer = client.post("/images/generations", content=json.dumps({**LANTERN, "size": size}))

    assert pictures(answer)[0].size == expected
    assert answer.json()["size"] == "{}x{}".format(*expected)


@pytest.mark.slow
def test_a_url_serves_the_picture_without_a_key_and_for_a_while(
    start_renderer: StartRenderer,
) -> None:
    locked = start_renderer(api_key="sk-local-1234", ttl=2)
    with locked.client() as client:
        assert httpx2.post(f"{locked.base_url}/images/generations", json=LANTERN).status_code == 401
        body = {**LANTERN, "response_format": "url", "output_format": "webp"}
        answer = client.post("/images/generations", json=body).json()["data"]
        same = pictures(client.post("/images/generations", json={**LANTERN}))[0]

    (url,) = [one["url"] for one in answer]
    assert "b64_json" not in answer[0]
    served = httpx2.get(url)
    assert served.headers["content-type"] == "image/webp"
    assert difference(opened(served.content), same) < 6
    assert httpx2.get(url.replace("/0.webp", "/answer.json")).status_code == 404
    assert httpx2.get(url.replace("/0.webp", "/..%2Faccepted.json")).status_code == 404
    until(lambda: httpx2.get(url).status_code == 404, "the picture expires")
    until(lambda: not [*locked.folder.rglob("*.webp")], "its file is removed")
    assert locked.counts()["images"] == 2


@pytest.mark.parametrize("way", ["a file", "several files", "data URLs"])
def test_an_edit_changes_the_picture_and_keeps_its_size(client: httpx2.Client, way: str) -> None:
    before = drawn(client, size="128x96")
    data = file_of(before)
    if way == "data URLs":
        url = "data:image/png;base64," + base64.b64encode(data).decode()
        body = {"prompt": "at night", "images": [{"image_url": url}]}
        answer = client.post("/images/edits", json=body)
    else:
        name = "image" if way == "a file" else "image[]"
        files = [(name, ("a.png", data, "image/png"))] * (1 if way == "a file" else 3)
        answer = client.post("/images/edits", data={"prompt": "at night"}, files=files)

    after = pictures(answer)[0]
    assert after.size == (128, 96)
    assert difference(before, after) > 20


def test_a_mask_keeps_what_it_covers(client: httpx2.Client) -> None:
    before = drawn(client, size="128x96")
    mask = Image.new("RGBA", (128, 96), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (64, 0, 128, 96))  # the right half may change
    files = {"image": ("a.png", file_of(before)), "mask": ("mask.png", file_of(mask))}

    after = pictures(client.post("/images/edits", data={"prompt": "at night"}, files=files))[0]

    left, right = (0, 0, 64, 96), (64, 0, 128, 96)
    assert difference(before.crop(left), after.crop(left)) == 0
    assert difference(before.crop(right), after.crop(right)) > 20


@pytest.mark.parametrize("see_through", [True, False])
def test_an_edit_onto_nothing_has_a_clear_ground(client: httpx2.Client, see_through: bool) -> None:
    before = drawn(client, size="128x128", background="transparent" if see_through else "opaque")
    files = {"image": ("a.png", file_of(before))}
    form = {"prompt": "at night", "background": "transparent"}

    after = pictures(client.post("/images/edits", data=form, files=files))[0]

    alpha = np.asarray(after.getchannel("A"))
    if see_through:
        assert (alpha == np.asarray(before.getchannel("A"))).all()
    assert alpha[0, 0] == 0
    assert alpha[50, 64] == 255


@pytest.mark.parametrize(
    ("change", "param"),
    [
        pytest.param({"prompt": ""}, "prompt", id="no prompt"),
        pytest.param({"n": 11}, "n", id="too many"),
        pytest.param({"n": 0}, "n", id="none"),
        pytest.param({"n": True}, "n", id="a number that is true"),
        pytest.param({"size": "huge"}, "size", id="a size in words"),
        pytest.param({"size": "9000x64"}, "size", id="a size too large"),
        pytest.param({"quality": "best"}, "quality", id="a quality that is not known"),
        pytest.param({"background": "green"}, "background", id="a ground that is not known"),
        pytest.param({"output_format": "gif"}, "output_format", id="a format that is not known"),
        pytest.param(
            {"output_format": "jpeg", "background": "transparent"},
            "background",
            id="a transparent JPEG",
        ),
        pytest.param({"output_compression": 101}, "output_compression", id="over 100 percent"),
        pytest.param({"response_format": "file"}, "response_format", id="an answer not known"),
        pytest.param({"stream": True}, "stream", id="a stream"),
        pytest.param({"model": "gpt-image-1.5", "style": "vivid"}, "style", id="a dead style"),
        pytest.param(
            {"model": "gpt-image-1.5", "response_format": "url"},
            "response_format",
            id="a URL of a model that gives none",
        ),
        pytest.param(
            {"model": "gpt-image-1.5", "background": "white"}, "background", id="a plain ground"
        ),
    ],
)
def test_a_bad_request_for_an_image_is_refused_by_name_and_not_accepted(
    renderer: Renderer, client: httpx2.Client, change: dict[str, Any], param: str
) -> None:
    answer = client.post("/images/generations", json={**LANTERN, **change})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert renderer.counts()["images"] == 0


@pytest.mark.parametrize(
    ("files", "param"),
    [
        pytest.param([], "image", id="nothing"),
        pytest.param([("image", b"no image")], "image", id="no image"),
        pytest.param([("image", None)] * 17, "image", id="too many"),
        pytest.param([("image", None), ("mask", None)], "mask", id="a mask that covers all"),
        pytest.param([("image", None), ("mask", b"?")], "mask", id="a mask that is no image"),
    ],
)
def test_a_bad_edit_of_an_image_is_refused_by_name_and_not_accepted(
    renderer: Renderer,
    client: httpx2.Client,
    files: list[tuple[str, bytes | None]],
    param: str,
) -> None:
    picture = file_of(Image.new("RGB", (32, 32)))
    sent = [(name, ("a.png", data or picture)) for name, data in files]

    answer = client.post("/images/edits", data={"prompt": "at night"}, files=sent)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert renderer.counts()["images"] == 0


def test_images_meet_faults_are_counted_and_honour_idempotency_keys(
    start_renderer: StartRenderer,
) -> None:
    honest = start_renderer(idempotency=True)
    honest.faults(
        [
            {"on": "images", "do": "drop_after", "match": "lantern"},
            {"on": "image_edits", "do": "status:429"},
            {"on": "image_content", "do": "garbage"},
        ]
    )
    headers = {"Idempotency-Key": "lantern"}
    body = {**LANTERN, "response_format": "url"}
    with honest.client() as client:
        with pytest.raises(httpx2.TransportError):
            client.post("/images/generations", json=body, headers=headers)
        assert honest.counts()["images"] == 1
        (first,) = client.post("/images/generations", json=body, headers=headers).json()["data"]
    again = honest.restart()
    with again.client() as client:
        (other,) = client.post("/images/generations", json=body, headers=headers).json()["data"]
        assert first == other
        assert again.counts()["images"] == 1
        assert client.post("/images/generations", json=body).status_code == 200
        assert again.counts()["images"] == 2
    assert opened(httpx2.get(first["url"]).content).format == "PNG"


def test_an_image_takes_as_long_as_a_second_of_video(start_renderer: StartRenderer) -> None:
    slow = start_renderer(min_render_seconds=0.5)
    with slow.client() as client:
        answer = client.post("/images/generations", json=LANTERN)

    assert pictures(answer)
    assert answer.elapsed.total_seconds() >= 0.5


def test_the_models_that_draw_are_listed(client: httpx2.Client) -> None:
    listed = [model["id"] for model in client.get("/models").json()["data"]]

    assert listed == ["local", "local-image"]
