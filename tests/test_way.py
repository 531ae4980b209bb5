"""The way of a prompt: from the flow to the POST it passes through few files.

Counted are the files of this package that await when the request has left: of the flow's task,
and of those that it waits for, where a request is shielded in a task of its own.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import prefect_sora
from prefect_sora import OpenAICredentials, RejectedError, VideoStore, text_to_image, text_to_video
from tests.support.scripted import Reply, Script

PACKAGE: Final = Path(prefect_sora.__file__).parent
MOST_FILES: Final = 8
REFUSED: Final = {"error": {"message": "not today", "type": "invalid_request_error"}}


def awaiting(coroutine: Any) -> Iterator[str]:
    """The files that one coroutine passes through to what it waits for in the end."""
    while coroutine is not None:
        code = getattr(coroutine, "cr_code", None) or getattr(coroutine, "ag_code", None)
        if code:
            yield code.co_filename
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None)


@pytest.mark.usefixtures("prefect")
@pytest.mark.parametrize("flow", [text_to_video, text_to_image], ids=["a video", "a picture"])
async def test_a_prompt_reaches_the_post_through_few_files(
    flow: Any, scripted: Script, tmp_path: Path
) -> None:
    loop, passed = asyncio.get_running_loop(), list[str]()

    async def look() -> None:
        tasks = [[*awaiting(task.get_coro())] for task in asyncio.all_tasks(loop)]
        on_the_way = [
            files
            for files in tasks
            if any("httpcore2" in file for file in files) or __file__ in files
        ]
        for files in on_the_way:
            passed.extend(
                str(Path(file).relative_to(PACKAGE))
                for file in files
                if Path(file).is_relative_to(PACKAGE)
            )

    def answer(method: str, path: str, body: bytes) -> Reply:
        if method == "POST":
            asyncio.run_coroutine_threadsafe(look(), loop).result(10)
            return 400, {}, REFUSED
        return 200, {}, {"object": "list", "data": []}

    server, _ = scripted(answer)
    provider = OpenAICredentials(base_url=server.base_url, profile="generic")
    with pytest.raises(RejectedError):
        await flow("a red kite", provider, VideoStore(url=str(tmp_path)), model=None)

    assert passed
    assert len({*passed}) <= MOST_FILES, sorted({*passed})
