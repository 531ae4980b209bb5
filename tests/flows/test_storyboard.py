"""The flow `storyboard`: shots are paid for once, go on from one another, and become a film."""

import asyncio
import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import httpx2
import pytest
from PIL import Image, ImageChops, ImageStat
from prefect.utilities.callables import parameter_schema

from prefect_sora import (
    CutList,
    InvalidRequestError,
    ModerationError,
    OpenAICredentials,
    Storyboard,
    StoryboardError,
    VideoStore,
    storyboard,
)
from prefect_sora.handles import StoredVideo, VideoJob
from prefect_sora.renders.film import shots
from prefect_sora.renders.run import Steps, render
from prefect_sora.requests.video import VideoRequest
from prefect_sora.tasks.artifacts import listening
from prefect_sora.tasks.listener import Listener
from tests.support.renderer import Renderer, until
from tests.support.s3 import S3

QUICK: dict[str, Any] = {"poll_interval_seconds": 0.05, "timeout_seconds": 30}

pytestmark = pytest.mark.usefixtures("prefect")


def board(*shots: Any, **fields: Any) -> Storyboard:
    said = [shot if isinstance(shot, dict) else {"prompt": shot} for shot in shots]
    small = {"model": None, "size": "192x128", "seconds": 1}
    return Storyboard.of({"title": "A film", **small, "shots": said, **fields})


async def cut_list(store: VideoStore, folder: str) -> CutList:
    return CutList.model_validate_json(await store.folder.read(f"{folder}/cut_list.json") or b"")


def pictures(data: bytes) -> list[Image.Image]:
    with av.open(io.BytesIO(data), "r") as container:
        frames: list[Any] = [*container.decode(video=0)]
        return [frame.to_image() for frame in frames]


def difference(one: Image.Image, other: Image.Image) -> float:
    """How far two pictures are apart, 0 to 255 on average."""
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3


async def test_shots_go_on_from_one_another_and_a_second_run_pays_nothing(
    renderer: Renderer, provider: OpenAICredentials, store: VideoStore
) -> None:
    fox = {"prompt": {"subject": "a fox"}, "takes": 2}
    made = board("a kite", fox, "ships", chain="last_frame")

    film = await storyboard(made, provider, store, scope="A", **QUICK)

    assert renderer.accepted() == 4
    shown = pictures(await store.folder.read(f"{film.folder}/film.mp4") or b"")
    assert len(shown) == film.frames == 72
    for joint in (24, 48):
        assert difference(shown[joint - 1], shown[joint]) < 3
    cuts = (await cut_list(store, film.folder)).cuts
    assert [cut.continuity for cut in cuts] == ["cut", "last_frame", "last_frame"]
    assert [(cut.take, cut.takes) for cut in cuts] == [(1, 1), (1, 2), (1, 1)]
    assert cuts[1].prompt == "A fox."

    assert await storyboard(made, provider, store, scope="A", **QUICK) == film
    assert renderer.accepted() == 4
    assert len(renderer.requests("create")) == 4

    other_take = board("a kite", {**fox, "use_take": 2}, "ships", chain="last_frame")
    another = await storyboard(other_take, provider, store, scope="A", **QUICK)
    assert another.folder != film.folder
    assert renderer.accepted() == 4, "this renderer's takes are alike, and so is their last frame"


@pytest.mark.slow
async def test_a_shot_that_fails_keeps_the_others_and_the_scope_goes_on_with_it(
    renderer: Renderer, provider: OpenAICredentials, store: VideoStore
) -> None:
    renderer.faults([{"on": "create", "do": "fail", "match": "a fox"}])
    made = board("a kite", "a fox", {"prompt": "ships", "continuity": "last_frame"}, "a heron")

    with pytest.raises(StoryboardError) as caught:
        await storyboard(made, provider, store, scope="A", **QUICK)

    error = caught.value
    assert error.message.startswith("2 of 4 shots are kept. Shot 2 has none: ")
    assert "start from another's last frame: 3." in error.message
    assert (list(error.failures), error.waiting, error.paid) == ([2], (3,), "yes")
    assert 'with the scope "A"' in str(error.next_step)
    assert not await store.folder.names("films")
    paid = renderer.accepted()

    renderer.clear_faults()
    film = await storyboard(made, provider, store, scope="A", **QUICK)

    assert film.shots == 4
    assert renderer.accepted() == paid + 2


async def test_a_defect_in_one_shot_loses_no_other(
    renderer: Renderer,
    provider: OpenAICredentials,
    store: VideoStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def breaks(request: VideoRequest, steps: Steps) -> StoredVideo:
        if request.prompt == "a fox":
            await asyncio.to_thread(until, lambda: renderer.requests("retrieve"), "it waits")
            raise RuntimeError("a defect")
        return await render(request, steps)

    monkeypatch.setattr(shots, "render", breaks)
    with pytest.raises(RuntimeError, match="a defect"):
        await storyboard(
            board("a kite", "a fox"), provider, store, scope="A", on_cancel="delete", **QUICK
        )
    assert renderer.requests("delete") == []
    (kite,) = [f for f in await store.ledger.folders() if f.startswith("a-kite")]
    assert (await store.ledger.state(kite)).name == "stored"


async def test_a_take_that_the_film_does_not_show_may_fail(
    renderer: Renderer, provider: OpenAICredentials, store: VideoStore
) -> None:
    renderer.faults([{"on": "create", "do": "pass"}, {"on": "create", "do": "moderate"}])
    made = board({"prompt": "a kite", "takes": 2, "use_take": 2})
    # The one that is shown is sent first.
    film = await storyboard(made, provider, store, max_concurrent=1, **QUICK)
    assert film.shots == 1
    assert film.frames == 24


class Crowd(Listener):
    """Counts how many renders are under way."""

    def __init__(self) -> None:
        self.now: set[str] = set()
        self.most = 0

    def submitted(self, job: VideoJob) -> None:
        self.now.add(job.key)
        self.most = max(self.most, len(self.now))

    def kept(self, video: StoredVideo) -> None:
        self.now.discard(video.key)


@pytest.mark.slow
async def test_no_more_are_rendered_at_once_than_was_said(
    provider: OpenAICredentials, store: VideoStore
) -> None:
    crowd = Crowd()
    with listening(crowd):
        made = board("one", "two", "three", {"prompt": "four", "takes": 2})
        await storyboard(made, provider, store, max_concurrent=2, **QUICK)
    assert crowd.most == 2


@pytest.mark.parametrize(
    ("shots", "fields", "said"),
    [
        pytest.param(
            ["a kite", {"prompt": "a fox", "keyframe": "/no/such.png"}],
            {},
            'Shot 2: The reference image "/no/such.png" does not exist',
            id="a keyframe that is not there",
        ),
        pytest.param(
            ["a kite", {"prompt": "a fox", "seconds": 5}],
            {"model": "sora-2", "size": "720p", "seconds": 4},
            "Shot 2: sora-2 renders",
            id="a length that the model does not offer",
        ),
        pytest.param(
            ["a kite", {"prompt": {"subject": "a fox", "template": "/no/such.j2"}}],
            {},
            'Shot 2: The template "/no/such.j2" does not exist',
            id="a template that is not there",
        ),
    ],
)
async def test_what_one_shot_lacks_is_found_before_any_is_paid(
    renderer: Renderer,
    store: VideoStore,
    shots: Sequence[Any],
    fields: dict[str, Any],
    said: str,
) -> None:
    # The local renderer itself would draw any length.
    provider = OpenAICredentials(base_url=renderer.base_url, profile="openai")
    with pytest.raises(InvalidRequestError) as caught:
        await storyboard(board(*shots, **fields), provider, store, **QUICK)
    assert said in caught.value.message
    assert renderer.requests("create") == []


@pytest.mark.slow
async def test_on_s3_a_shot_begins_with_a_frame_of_the_private_store(
    renderer: Renderer, provider: OpenAICredentials, s3: S3
) -> None:
    store = VideoStore(url=s3.folder().root, storage_options=dict(s3.folder().options))
    film = await storyboard(board("a kite", "a fox", chain="last_frame"), provider, store, **QUICK)
    assert film.url.startswith("s3://")
    assert film.frames == 48
    kept = s3.keys()
    assert any(key.endswith("last_frame.png") for key in kept)
    assert not s3.unfinished_uploads()


async def test_a_file_names_the_run_and_the_ui_shows_the_film(
    renderer: Renderer, provider: OpenAICredentials, tmp_path: Path, prefect: str
) -> None:
    path = tmp_path / "kites.yaml"
    path.write_text(
        "title: Kites | & <b>\nmodel:\nsize: 64x64\nseconds: 1\nshots: [{prompt: a *kite*}]\n"
    )
    film = await storyboard(str(path), provider, str(tmp_path / "clips"), **QUICK)

    filters = {"artifacts": {"key": {"any_": [f"film-{film.key}"]}}}
    (artifact,) = httpx2.post(f"{prefect}/artifacts/filter", json=filters).json()
    page = artifact["data"]
    assert "## Kites \\| \\& \\<b\\>" in page
    assert "data:image/jpeg;base64," in page
    assert "<video controls" in page
    assert "| 1 | a \\*kite\\* | 0.00 s | 1.00 s | cut | 1 of 1 |" in page
    (run,) = httpx2.post(
        f"{prefect}/flow_runs/filter",
        json={"flow_runs": {"id": {"any_": [artifact["flow_run_id"]]}}},
    ).json()
    assert run["name"] == "storyboard · kites.yaml"


def test_a_form_offers_a_file_or_the_storyboard_itself() -> None:
    schema = parameter_schema(storyboard)
    written, path = schema.properties["board"]["anyOf"]
    assert written == {"$ref": "#/definitions/Storyboard"}
    assert path == {"type": "string"}
    assert "chain" in schema.definitions["Storyboard"]["properties"]


async def test_errors_of_shots_travel_with_the_storyboards() -> None:
    failure = ModerationError("Refused.", code="x")
    error = StoryboardError("One of two.", failures={2: failure}, waiting=[3], paid="yes")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own, as Prefect keeps it
    assert (again.waiting, str(again), again.failures[2].code) == ((3,), str(error), "x")
