"""Image: pictures become files; what is in doubt is told, and paid again only where asked."""

import asyncio
from pathlib import Path

import pytest
from PIL import Image

from prefect_sora.cli import exits
from prefect_sora.renders.images.prepare import identify
from prefect_sora.requests.image import ImageRequest
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import remote
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from tests.cli.conftest import TINY, Cli
from tests.support.renderer import Renderer
from tests.support.renders import a_dead_process

PLAIN = ("--model", "", "--size", "64x48")


@pytest.fixture
def cli(cli: Cli, renderer: Renderer, prefect_api: str) -> Cli:
    """Commands that know a server and a Prefect server."""
    cli.environment.update(OPENAI_BASE_URL=renderer.base_url, PREFECT_API_URL=prefect_api)
    return cli


@pytest.mark.slow
def test_a_prompt_ends_as_a_transparent_file_and_an_edit_as_another(
    cli: Cli, renderer: Renderer, store: str
) -> None:
    words = ("--background", "transparent", "--store", store)
    ended = cli.typed("image", "a paper lantern", *PLAIN, *words)

    assert ended.code == exits.OK, ended.err
    (path,) = Path(store).glob("a-paper-lantern-*/image.png")
    assert ended.out.startswith(f"✓ {path}  ")
    assert "64x48 png · transparent · made by" in ended.out
    with Image.open(path) as picture:
        assert picture.getchannel("A").getextrema() == (0, 255)

    edit = cli(
        *("image", "make it night", "--edit", str(path), "--model", "", "--store", store),
        *("--format", "webp", "-n", "2", "--json"),
    )
    assert edit.code == exits.OK, edit.err
    assert [Path(url.removeprefix("file://")).name for url in edit.json["urls"]] == [
        "image-1.webp",
        "image-2.webp",
    ]
    assert (edit.json["width"], edit.json["has_alpha"]) == (64, True)
    assert renderer.counts()["images"] == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a fox", "--model", "gpt-image-2", "--background", "white"], "opaque or auto, not white"),
        (["a fox", "--model", "dall-e-3", "-n", "2"], "draws 1 picture at once, not 2"),
        (["a fox", "--style", "vivid"], "takes no style"),
        (["a fox", "--edit", "gone.png"], "gone.png"),
        (["a fox", "--mask", "mask.png"], "give that with --edit"),
        (["a fox", "--format", "gif"], "gif"),
        ([""], "prompt is empty"),
    ],
)
def test_a_wrong_request_for_a_picture_sends_nothing(
    cli: Cli, renderer: Renderer, words: list[str], says: str
) -> None:
    ended = cli("image", *words, PREFECT_SORA_PROFILE="openai")

    assert ended.code == exits.USAGE, ended.err
    assert says in ended.err
    assert "Traceback" not in ended.err
    assert renderer.requests() == []


def test_a_picture_in_doubt_is_told_and_drawn_again_only_where_that_is_said(
    cli: Cli, renderer: Renderer, store: str
) -> None:
    async def leave() -> str:
        server = remote(renderer.base_url)
        client, ledger = VideoClient(server), Ledger(VideoFolder(store))
        request = ImageRequest.of(prompt="a fox", model=None, size="64x48")
        prepared = await identify(request, server, "last night")
        record = prepared.reservation(server, 1, 300).model_copy(update={"owner": a_dead_process()})
        assert await ledger.reserve(prepared.folder, record)
        await client.close()
        return prepared.key

    key = asyncio.run(leave())

    all_of_them = cli("resume", "--store", store, "--json")
    assert all_of_them.code == exits.UNDECIDED
    (told,) = all_of_them.json["renders"]
    assert (told["outcome"], told["error"]["type"]) == ("in_doubt", "UncertainSubmitError")
    assert f"prefect-sora resume {key} --resubmit --store {store}" in told["error"]["next_step"]
    twin = cli("image", "a fox", *PLAIN, "--store", store)
    assert (twin.code, key in twin.err) == (exits.UNDECIDED, True)
    adopt = cli("resume", key, "--adopt", "video_1", "--store", store)
    assert (adopt.code, "no video can be its outcome" in adopt.err) == (exits.USAGE, True)
    assert renderer.requests("images") == []

    again = cli("resume", key, "--resubmit", "--store", store)
    assert again.code == exits.OK, again.err
    assert "image.attempt-2.png" in again.out
    assert renderer.counts()["images"] == 1
    kept = cli("resume", key, "--store", store, "--json")
    assert kept.json["renders"][0]["image"]["key"] == key


def test_a_keyframe_is_drawn_and_the_video_begins_with_it(
    cli: Cli, renderer: Renderer, store: str
) -> None:
    words = ("--keyframe", "a paper lantern", "--image-model", "", *TINY, "--store", store)
    ended = cli("render", "it sways", *words)

    assert ended.code == exits.OK, ended.err
    assert [*Path(store).glob("a-paper-lantern-*/image.png")]
    assert [*Path(store).glob("it-sways-*/video.mp4")]
    both = cli("render", "it sways", "--image", "a.png", "--keyframe", "a lantern")
    assert (both.code, "--keyframe" in both.err) == (exits.USAGE, True)
    assert (renderer.counts()["images"], renderer.accepted()) == (1, 1)
