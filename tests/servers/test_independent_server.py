"""Any server: the flows work with one that shares no line of code with us."""

import asyncio
import base64
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import SecretStr

from prefect_sora import (
    AuthenticationError,
    OpenAICredentials,
    UncertainSubmitError,
    image_to_video,
    remix_chain,
    text_to_video,
)
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import remote
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from tests.support import processes
from tests.support.bare_server import Bare, bare_server
from tests.support.renders import go
from tests.support.scripted import QUICK

pytestmark = pytest.mark.usefixtures("prefect")

ASK: dict[str, Any] = {"model": None, "size": "64x64", "seconds": 1, "poll_interval_seconds": 0.05}


@pytest.fixture
def bare() -> Iterator[Bare]:
    with bare_server() as server:
        yield server


def account(server: Bare) -> OpenAICredentials:
    return OpenAICredentials(base_url=server.url, api_key=SecretStr("sk-right"))


@pytest.fixture
def provider(bare: Bare) -> OpenAICredentials:
    return account(bare)


async def test_text_becomes_a_video(
    bare: Bare, provider: OpenAICredentials, tmp_path: Path
) -> None:
    video = await text_to_video("a kite", provider, str(tmp_path), **ASK)
    assert (video.width, video.height, video.duration_seconds) == (64, 64, 1.0)
    assert (video.cost_usd, video.provider.endswith("/some/path/v1")) == (None, True)
    assert Path(str(video.thumbnail_url).removeprefix("file://")).is_file()
    assert bare.jobs["v1"]["fields"] == {"prompt": "a kite", "size": "64x64", "seconds": "1"}


async def test_a_picture_is_sent_at_the_videos_exact_size(
    bare: Bare, provider: OpenAICredentials, tmp_path: Path
) -> None:
    Image.new("RGB", (300, 100), "red").save(tmp_path / "red.png")
    await image_to_video("it moves", tmp_path / "red.png", provider, str(tmp_path), **ASK)
    sent = bare.jobs["v1"]["fields"]
    assert (sent["seconds"], sent["prompt"]) == ("1", "it moves")
    assert Image.open(io.BytesIO(base64.b64decode(sent["input_reference"]))).size == (64, 64)


async def test_a_chain_remixes_each_clip_before(
    bare: Bare, provider: OpenAICredentials, tmp_path: Path
) -> None:
    await remix_chain(
        "a kite", remixes=["snow", "night"], provider=provider, store=str(tmp_path), **ASK
    )
    assert [job["source"] for job in bare.jobs.values()] == [None, "v1", "v2"]
    assert bare.jobs["v3"]["fields"] == {"prompt": "night"}


async def test_a_wrong_key_is_told_and_pays_nothing(bare: Bare, tmp_path: Path) -> None:
    wrong = OpenAICredentials(base_url=bare.url, api_key=SecretStr("sk-wrong"))
    with pytest.raises(AuthenticationError, match="Check api_key"):
        await text_to_video("a kite", wrong, str(tmp_path), **ASK)
    assert bare.jobs == {}


async def test_a_server_that_accepts_and_drops_is_paid_once_after_any_number_of_reruns(
    tmp_path: Path,
) -> None:
    with bare_server(drops=99) as bare:
        way = {"provider": account(bare), "store": str(tmp_path), "scope": "tonight", **ASK}
        for _ in range(3):
            with pytest.raises(UncertainSubmitError, match="--adopt VIDEO_ID") as caught:
                await text_to_video("a kite", **way)
            assert (caught.value.paid, list(bare.jobs)) == ("unknown", ["v1"])

        # It has no list, so a person who looks at the server decides.
        key = str(caught.value.key)
        words = ["resume", key, "--adopt", "v1", "--store", str(tmp_path), "--provider", "openai"]
        done = await asyncio.to_thread(
            processes.run,
            ["-m", "prefect_sora.cli", *words],
            env=os.environ | {"OPENAI_BASE_URL": bare.url, "OPENAI_API_KEY": "sk-right"},
        )
        assert done.returncode == 0, done.stderr
        video = await text_to_video("a kite", **way)
        assert (video.video_id, list(bare.jobs)) == ("v1", ["v1"])


async def test_a_list_that_says_little_is_no_licence_to_pay_again(tmp_path: Path) -> None:
    with bare_server(drops=99, lists=True) as bare:
        client = VideoClient(remote(bare.url, api_key=SecretStr("sk-right"), profile=QUICK))
        for _ in range(2):
            with pytest.raises(UncertainSubmitError, match="it may be one of v1"):
                await go(client, Ledger(VideoFolder(str(tmp_path))))
        assert list(bare.jobs) == ["v1"]
        await client.close()
