"""Aimock: another project's OpenRouter and xAI, run on Node, behind our flows.

It differs from the vendors (a create is answered with 200, ids are UUIDs, there are no webhooks,
edits or 202 without a body), so it holds the cycle: submitted, waited for, kept, and paid once.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from filelock import FileLock
from pydantic import SecretStr

from prefect_sora import (
    ModerationError,
    OpenAICredentials,
    RenderFailedError,
    StoredVideo,
    VideoStore,
    text_to_video,
)
from tests.media.test_mp4 import clip as drawn

NODE, NPM = shutil.which("node"), shutil.which("npm")
CLIP = drawn("faststart")
PACKAGE = "@copilotkit/aimock@1.43.0"


def _is_new_enough() -> bool:
    if not NODE or not NPM:
        return False
    said = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True).stdout
    return int(re.findall(r"\d+", said)[0]) >= 20


pytestmark = [
    pytest.mark.aimock,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("prefect"),
    pytest.mark.skipif(not _is_new_enough(), reason="needs Node 20 or newer, and npm"),
]


def installed() -> Path:
    """The folder that aimock is installed in, made once and kept in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prefect-sora"
    home = cache / PACKAGE.rpartition("/")[2].replace("@", "-")
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(home.with_suffix(".lock")):
        if not (home / "whole").exists():
            quiet = ["--no-audit", "--no-fund", "--silent"]
            subprocess.run(
                [str(NPM), "install", *quiet, "--prefix", str(home), PACKAGE], check=True
            )
            (home / "whole").touch()
    return home


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where aimock answers."""
    clip = tmp_path_factory.mktemp("aimock") / "clip.mp4"
    clip.write_bytes(CLIP)
    script = Path(__file__).with_name("aimock.mjs")
    command = [str(NODE), str(script), str(installed()), str(clip)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["root"]
        finally:
            process.kill()


PROVIDERS = {"openrouter": ("/api/v1", "a/kite"), "xai": ("/v1", "grok-imagine-video")}
each = pytest.mark.parametrize("name", PROVIDERS)


async def rendered(name: str, aimock: str, prompt: str, folder: Path) -> StoredVideo:
    """Render a prompt by the flow that users call."""
    path, model = PROVIDERS[name]
    provider = OpenAICredentials(
        base_url=f"{aimock}{path}", profile=name, api_key=SecretStr("sk-aimock-canary")
    )
    small: dict[str, Any] = {"size": "1280x720", "seconds": 4, "poll_interval_seconds": 0.05}
    stored: StoredVideo = await text_to_video(
        prompt,
        provider=provider,
        store=VideoStore(url=str(folder)),
        model=model,
        scope="tonight",
        **small,
    )
    return stored


def creates(aimock: str, prompt: str) -> int:
    """How many creates of a prompt arrived."""
    entries = httpx2.get(f"{aimock}/__aimock/journal").json()
    return sum(entry["method"] == "POST" and prompt in json.dumps(entry) for entry in entries)


@each
async def test_a_clip_is_submitted_waited_for_and_kept_and_paid_once(
    name: str, aimock: str, tmp_path: Path
) -> None:
    prompt = f"a red kite of {name}"
    first = await rendered(name, aimock, prompt, tmp_path)
    again = await rendered(name, aimock, prompt, tmp_path)

    assert first.sha256 == hashlib.sha256(CLIP).hexdigest()
    assert first.actual_usd == 0.25
    assert again == first
    assert creates(aimock, prompt) == 1


@each
async def test_a_job_that_fails_says_why(name: str, aimock: str, tmp_path: Path) -> None:
    with pytest.raises(RenderFailedError, match="The kite tore") as failed:
        await rendered(name, aimock, "a kite that tears", tmp_path)
    assert not isinstance(failed.value, ModerationError)
    assert failed.value.paid == "unknown"


@each
async def test_a_job_that_moderation_ends_is_told_from_one_that_fails(
    name: str, aimock: str, tmp_path: Path
) -> None:
    with pytest.raises(ModerationError):
        await rendered(name, aimock, "a kite that nobody may see", tmp_path)
