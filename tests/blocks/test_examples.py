"""Examples: what a block's own page shows runs, in a script and in async code."""

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.core import Block
from pydantic import SecretStr

from prefect_sora import (
    AzureOpenAICredentials,
    InvalidRequestError,
    LocalRenderer,
    OpenAICredentials,
    VideoStore,
    list_videos,
    text_to_video,
)
from tests.support.renderer import StartRenderer

pytestmark = pytest.mark.usefixtures("prefect")


def shown(block: type[Block]) -> str:
    """The example on the block's page, with a small clip in place of its own."""
    page = str(block.get_code_example()).replace("BLOCK_NAME", "shown")
    code = page.partition("```python\n")[2].partition("```")[0]
    code = re.sub(r'"(s3|abfs)://clips"', '"./renders"', code)
    code = code.replace('LocalRenderer(folder="./r")', '"sora-local-renderer/shown"')
    small = "seconds=1, size='64x64', model=None, allow_unlisted=True)"
    return re.sub(r"(store=[^)]*)\)", rf"\1, {small}", code)


@pytest.mark.slow
def test_what_a_page_shows_runs_in_a_script_and_in_async_code(
    start_renderer: StartRenderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    renderer, azure = (
        start_renderer(),
        start_renderer(dialect="azure", api_key="key", models="video"),
    )
    saved: list[Block] = [
        OpenAICredentials(base_url=renderer.base_url),
        AzureOpenAICredentials(
            endpoint=azure.base_url, deployment="video", api_key=SecretStr("key")
        ),
        LocalRenderer(folder=str(renderer.folder)),
        VideoStore(url="./renders"),
    ]
    for block in saved:
        block.save("shown", overwrite=True)
    for block in saved:
        script, awaits, in_async_code = shown(type(block)).partition("# In async code:\n")
        assert awaits
        exec(script, {})  # noqa: S102 - what is shown is tried
        names: dict[str, Any] = {}
        imports = script.partition("#")[0]
        main = f"async def main():\n{textwrap.indent(in_async_code, '    ')}"
        exec(f"{imports}\n{main}\nasyncio.run(main())", names)  # noqa: S102 - the same
    assert renderer.accepted() + azure.accepted() == 8


async def test_a_coroutine_in_place_of_a_block_is_named_as_such(tmp_path: Path) -> None:
    there = LocalRenderer(folder=str(tmp_path / "r"))
    advice = r"coroutine \(Block\.aload\), which nobody has awaited.*await LocalRenderer\.aload"
    with pytest.raises(Exception, match=advice):
        await text_to_video("a kite", LocalRenderer.load("kites"), tmp_path)  # type: ignore[arg-type]
    with pytest.raises(Exception, match=advice):
        await text_to_video("a kite", there, VideoStore.load("kites"))  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match=advice):
        await list_videos.fn(LocalRenderer.load("kites"))  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match=advice):
        await text_to_video.fn("a kite", there, VideoStore.load("kites"))  # type: ignore[arg-type]
    assert not list(tmp_path.glob("*coroutine*")), "no store is named after a coroutine"
