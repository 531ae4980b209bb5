"""Hosted servers in a list: one is down, one is out of credit, and the last makes all."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from prefect_sora import OpenAICredentials, VideoRequest, VideoStore, render_batch
from prefect_sora.servers.local import DialectName
from tests.support.limits import Limit
from tests.support.renderer import Renderer, SpeakDialect

KEY = "sk-hosted-canary"
MODEL = "x-ai/grok-imagine-video"
"""As a router names it; its own service has no prefix."""


def at(renderer: Renderer, name: DialectName) -> OpenAICredentials:
    """Take a dialect for the server that it is like."""
    return OpenAICredentials(base_url=renderer.base_url, profile=name, api_key=SecretStr(KEY))


@pytest.mark.slow
@pytest.mark.usefixtures("prefect")
async def test_a_batch_goes_by_who_is_down_and_who_is_out_of_credit_and_each_is_paid_once(
    speak: SpeakDialect, tmp_path: Path, limit: Limit
) -> None:
    limit(connect_attempts=1)
    down = speak("openrouter", api_key=KEY, models=MODEL)
    poor = speak("together", api_key=KEY, models=MODEL)
    good = speak("xai", api_key=KEY)
    providers = [at(down, "openrouter"), at(poor, "together"), at(good, "xai")]
    down.kill()
    poor.faults([{"on": "create", "do": "status:402", "times": None}])
    rows: list[VideoRequest | dict[str, Any]] = [
        {"prompt": f"kite {n}", "model": MODEL, "size": "480x480", "seconds": 1} for n in range(20)
    ]

    result = await render_batch(
        rows,
        providers,
        VideoStore(url=str(tmp_path / "clips")),
        max_concurrent=4,
        poll_interval_seconds=0.05,
        timeout_seconds=60,
        scope="tonight",
    )

    assert (result.rows, result.kept, result.actual_usd) == (20, 20, 1.0)
    assert {video.provider for video in result.videos} == {good.base_url.partition("://")[2]}
    assert {video.model for video in result.videos} == {"grok-imagine-video"}
    assert [video.actual_usd for video in result.videos] == [0.05] * 20
    assert (poor.accepted(), good.accepted()) == (0, 20)
    assert len(list((tmp_path / "clips").glob("*/video.mp4"))) == 20
