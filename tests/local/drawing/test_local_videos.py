"""What the local renderer makes: whole, playable files of exactly the ordered shape."""

import io
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw

from prefect_sora.servers.local.drawing.video import render
from prefect_sora.servers.local.state.jobs import FILES, Job
from tests.support.renderer import Renderer, StartRenderer

Draw = Callable[..., Path]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Draw one job, without a server; return the folder of its files."""

    def draw(
        prompt: str,
        size: str = "160x90",
        seconds: int = 1,
        source: Path | None = None,
        kind: str | None = None,
    ) -> Path:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        job = Job("video_1", 1, prompt, "local", seconds, size, 0, 0, source=kind)
        render(job, source, folder, lambda _: None)
        return folder

    return draw


def frames(folder: Path) -> list[np.ndarray]:
    with av.open(str(folder / FILES["video"])) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize(
    ("size", "seconds"),
    [("64x64", 1), ("160x90", 4), ("90x160", 2), ("66x34", 3), ("1280x720", 1), ("16x16", 120)],
)
def test_the_video_is_h264_and_aac_of_exactly_that_size_and_length(
    draw: Draw, size: str, seconds: int
) -> None:
    folder = draw("a fox", size, seconds)

    with av.open(str(folder / FILES["video"])) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert video.time_base is not None
        assert audio.time_base is not None
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert f"{video.width}x{video.height}" == size
        assert video.pix_fmt == "yuv420p"
        assert video.average_rate == 24
        assert container.duration == pytest.approx(seconds * 1e6, abs=1e6 / 24)
        assert float((video.duration or 0) * video.time_base) == pytest.approx(seconds)
        assert float((audio.duration or 0) * audio.time_base) == pytest.approx(seconds, abs=0.03)
        assert sum(1 for _ in container.decode(video=0)) == seconds * 24


def test_the_index_stands_before_the_frames(draw: Draw) -> None:
    data = (draw("a fox") / FILES["video"]).read_bytes()

    assert data[4:8] == b"ftyp"
    assert data.index(b"moov") < data.index(b"mdat")


def test_one_prompt_gives_one_video_and_another_prompt_another(draw: Draw) -> None:
    fox, again, hen = (frames(draw(prompt)) for prompt in ("a fox", "a fox", "a hen"))

    assert difference(fox[7], again[7]) == 0
    assert difference(fox[7], hen[7]) > 5


def test_the_picture_moves(draw: Draw) -> None:
    shown = frames(draw("a fox", "320x180", 2))

    for rows in (slice(30, 90), slice(135, 180)):  # the sky, the ground; right of the text
        assert difference(shown[0][rows, 200:], shown[-1][rows, 200:]) > 2


@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param("🦊 лиса 狐 الثعلب", id="many scripts"),
        pytest.param("x" * 32_000, id="one endless word"),
        pytest.param("word " * 6_400, id="very many words"),
        pytest.param("a\x00b\n\t\u202e\u200b", id="control characters"),
        pytest.param("\u0301", id="a lone accent"),
        pytest.param("\n", id="nothing to see"),
    ],
)
@pytest.mark.parametrize("size", ["16x16", "640x360"])
def test_any_prompt_can_be_drawn(draw: Draw, prompt: str, size: str) -> None:
    assert len(frames(draw(prompt, size))) == 24


def picture(size: tuple[int, int]) -> Image.Image:
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    ImageDraw.Draw(image).ellipse((10, 10, size[0] // 2, size[1] // 2), fill=(200, 60, 40))
    return image


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_reference_is_the_first_frame_and_then_moves(
    draw: Draw, tmp_path: Path, kind: str
) -> None:
    reference = tmp_path / "reference"
    picture((320, 180)).save(reference, kind)
    with Image.open(reference) as image:
        expected = np.asarray(image.convert("RGB"))

    shown = frames(draw("it wakes", "320x180", 2, reference, "image"))

    assert difference(shown[0], expected) < 3
    assert difference(shown[-1], expected) > 5


def test_a_reference_that_is_see_through_stands_on_white(draw: Draw, tmp_path: Path) -> None:
    reference = tmp_path / "reference"
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(reference, "PNG")

    assert frames(draw("it wakes", "64x64", 1, reference, "image"))[0].min() > 245


def test_a_remix_recolours_its_parent_and_keeps_its_shapes(draw: Draw) -> None:
    parent = draw("a fox", "320x180", 1)
    remixed = draw("in autumn", "320x180", 1, parent / FILES["video"], "video")
    again = draw("in winter", "320x180", 1, parent / FILES["video"], "video")

    one, other, third = frames(parent), frames(remixed), frames(again)
    assert len(one) == len(other) == 24
    weights = np.array([0.299, 0.587, 0.114])
    lower = slice(90, 180)  # below the new prompt
    for before, after in zip(one, other, strict=True):
        assert difference(before[lower] @ weights, after[lower] @ weights) < 6
    assert difference(one[12][lower], other[12][lower]) > 10
    assert difference(other[12][lower], third[12][lower]) > 5
    panel = slice(24, 40)  # where the new prompt stands
    assert difference(one[12][panel, :160] @ weights, other[12][panel, :160] @ weights) > 20


def test_the_thumbnail_and_the_spritesheet_show_the_video(draw: Draw) -> None:
    folder = draw("a fox", "320x180", 4)

    with Image.open(folder / FILES["thumbnail"]) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("WEBP", (320, 180))
        small = np.asarray(thumbnail.convert("RGB"))
        off = [difference(small, frame) for frame in frames(folder)]
        assert min(off) == off[32] < 3
    with Image.open(folder / FILES["spritesheet"]) as sheet:
        assert (sheet.format, sheet.size) == ("JPEG", (4 * 240, 4 * 135))


def test_content_has_its_type_its_length_and_parts(renderer: Renderer) -> None:
    video = renderer.finished(renderer.create()["id"])
    path = f"/videos/{video['id']}/content"
    with renderer.client() as client:
        whole = client.get(path)
        named = client.get(path, params={"variant": "video"})
        part = client.get(path, headers={"Range": "bytes=100-199"})
        rest = client.get(path, headers={"Range": "bytes=100-"})
        beyond = client.get(path, headers={"Range": "bytes=99999999-"})
        head = client.head(path)
        thumbnail = client.get(path, params={"variant": "thumbnail"})
        sheet = client.get(path, params={"variant": "spritesheet"})
        strange = client.get(path, params={"variant": "poster"})

    assert whole.headers["content-type"] == "video/mp4"
    assert int(whole.headers["content-length"]) == len(whole.content) == len(named.content)
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
    assert rest.content == whole.content[100:]
    assert beyond.status_code == 416
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(whole.content)))
    assert thumbnail.headers["content-type"] == "image/webp"
    assert sheet.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(thumbnail.content)).format == "WEBP"
    assert Image.open(io.BytesIO(sheet.content)).format == "JPEG"
    assert strange.status_code == 400


def test_content_is_not_found_before_the_end(start_renderer: StartRenderer) -> None:
    slow = start_renderer(min_render_seconds=60)
    video_id = slow.create()["id"]
    with slow.client() as client:
        answer = client.get(f"/videos/{video_id}/content")

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "video_not_ready"


def test_a_remix_names_its_parent_and_outlives_it(renderer: Renderer) -> None:
    parent = renderer.finished(renderer.create()["id"])
    with renderer.client() as client:
        made = client.post(f"/videos/{parent['id']}/remix", json={"prompt": "in autumn"}).json()
        client.delete(f"/videos/{parent['id']}")
    remixed = renderer.finished(made["id"])

    assert remixed["status"] == "completed", remixed
    assert remixed["remixed_from_video_id"] == parent["id"]
    assert remixed["prompt"] == "in autumn"
    assert (remixed["size"], remixed["seconds"]) == (parent["size"], parent["seconds"])


def test_a_remix_of_an_unfinished_video_is_refused(start_renderer: StartRenderer) -> None:
    slow = start_renderer(min_render_seconds=60)
    video_id = slow.create()["id"]
    with slow.client() as client:
        answer = client.post(f"/videos/{video_id}/remix", data={"prompt": "in autumn"})

    assert answer.status_code == 400
    assert slow.accepted() == 1
