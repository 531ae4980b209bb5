"""Capabilities: what a server lacks is refused before anything is sent, naming who has it."""

from typing import Any

import pytest
from pydantic import SecretStr

from prefect_sora.errors import InvalidRequestError
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.renders.submit.prepare import identify
from prefect_sora.renders.submit.submit import submit
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.profiles import PROFILES
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.request_checks import check
from prefect_sora.servers.server import Server, remote
from prefect_sora.servers.video_models import find
from prefect_sora.store.ledger import Ledger
from tests.support.renderer import StartRenderer
from tests.support.renders import clip, render
from tests.support.scripted import Script


def server(profile: str) -> Server:
    return remote("http://127.0.0.1:9/v1", profile=PROFILES[profile])


def derived(kind: str) -> VideoRequest:
    return VideoRequest.of(prompt="in winter", kind=kind, source_video_id="video_1", model=None)


@pytest.mark.parametrize(
    ("profile", "request_", "said"),
    [
        ("sglang", derived("remix"), "no remix of a finished video"),
        ("azure", derived("extend"), "no extend of a finished video"),
        ("vllm-omni", clip(characters=("char_1",)), "no characters"),
        ("tensorrt-llm", clip(seconds=61), "no clips of 61 s, only up to 60 s"),
        ("tensorrt-llm", clip(extra={"n": 2}), "no field 'n'"),
        ("vllm-omni", clip(extra={"num_inference_steps": 500}), "a whole number, at least 1"),
        ("sglang", clip(extra={"fps": "24"}), "'24' is not a whole number"),
        ("sglang", clip(extra={"enable_teacache": 1}), "not true or false"),
        ("fastvideo", clip(extra={"negative_prompt": 3}), "not text"),
        ("tensorrt-llm", clip(extra={"extra_params": "{}"}), "not an object"),
    ],
    ids=str,
)
def test_what_it_lacks_is_named_with_the_server(
    profile: str, request_: VideoRequest, said: str
) -> None:
    with pytest.raises(InvalidRequestError, match=said) as caught:
        check(request_, server(profile))
    assert profile in caught.value.message
    assert caught.value.next_step
    assert "Nothing was paid" in str(caught.value)


@pytest.mark.parametrize(
    ("profile", "extra"),
    [
        ("sglang", {"num_frames": 81, "guidance_scale": 5, "a_field_of_its_model": True}),
        ("vllm-omni", {"fps": 24.5, "lora": {"name": "kite"}}),
        ("tensorrt-llm", {"seed": 7, "frame_rate": 24}),
        ("generic", {"anything": ["goes"]}),
    ],
)
def test_what_it_takes_passes(profile: str, extra: dict[str, Any]) -> None:
    check(clip(extra=extra), server(profile))


def test_who_has_a_verb_is_said() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check(derived("edit"), server("sglang"))
    assert "openai" in str(caught.value)
    assert "vllm-omni" not in (caught.value.next_step or "")


@pytest.mark.parametrize("profile", ["sglang", "vllm-omni", "fastvideo", "tensorrt-llm"])
async def test_a_server_with_a_model_of_its_own_is_not_told_of_soras(
    start_renderer: StartRenderer, disk: Ledger, profile: str
) -> None:
    assert find("sora-2")
    renderer = start_renderer(dialect=profile)
    client = VideoClient(remote(renderer.base_url, profile=PROFILES[profile]))
    request = VideoRequest.of(prompt="a kite", model="sora-2", size="64x64", seconds=1)
    job = await submit(
        await identify(request, client, "tonight"), client, disk, RenderOptions("tonight")
    )
    await client.close()
    assert job.model != "sora-2"
    assert renderer.accepted() == 1


async def test_a_server_of_forms_gets_a_form_and_nested_values_as_json_text(
    scripted: Script, disk: Ledger
) -> None:
    job = {"id": "video_1", "status": "queued"}
    server, client = scripted(lambda *_: (200, {}, job), PROFILES["vllm-omni"])
    request = clip(extra={"lora": {"name": "kite"}})
    await submit(await identify(request, client, "tonight"), client, disk, RenderOptions("tonight"))
    [create] = server.asked("POST")
    assert create.headers["content-type"].startswith("multipart/form-data")
    assert b'{"name": "kite"}' in create.body


@pytest.mark.slow
@pytest.mark.parametrize(
    "dialect",
    ["openai", "azure", "sglang", "vllm-omni", "fastvideo", "tensorrt-llm", "litellm", "new-api"],
)
async def test_no_kind_of_server_costs_a_render_more_requests_than_openais(
    start_renderer: StartRenderer, disk: Ledger, dialect: str
) -> None:
    # OpenAI's: one create, the video and two stills. Polls go by the time that a render takes.
    renderer = start_renderer(dialect=dialect, api_key="a-key")
    profile = PROFILES[{"litellm": "litellm-proxy"}.get(dialect, dialect)]
    root = "/openai/v1" if dialect == "azure" else "/v1"
    client = VideoClient(
        remote(f"{renderer.root}{root}", profile=profile, api_key=SecretStr("a-key"))
    )
    sized = {"size": "1280x720", "seconds": 4} if dialect in ("azure", "new-api") else {}
    request = clip(model="sora-2", allow_unlisted=True, **sized)
    await render(request, client, disk, "tonight", poll_interval_seconds=0.05)
    await client.close()
    asked = [r["operation"] for r in renderer.requests()]
    assert asked.count("create") == 1
    assert len([one for one in asked if one not in ("retrieve", "list")]) <= 4
