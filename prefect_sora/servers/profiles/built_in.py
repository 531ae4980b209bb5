"""Built-in profiles: servers that people run themselves, OpenAI's form and Azure's."""

from typing import Final

from prefect_sora.servers.profiles.profile import Derives, ExtraField, Profile, Still

_STILLS: Final[frozenset[Still]] = frozenset({"thumbnail", "spritesheet"})
_NONE: Final[frozenset[Derives]] = frozenset()

_INT, _NUMBER = ExtraField(type="int"), ExtraField(type="number")
_TEXT, _BOOL, _OBJECT = ExtraField(), ExtraField(type="bool"), ExtraField(type="object")

# OpenAI's openapi.yaml (2026-08-21).
OPENAI: Final = Profile(
    name="openai",
    variants=_STILLS,
    webhook_scheme="standard",
    delete_stops=False,
    prompt_verbatim=True,
)
# Microsoft, azure-ai-docs "Video generation" (2026): remixes alone are documented, jobs live a day.
AZURE: Final = Profile(
    name="azure",
    derives=frozenset({"remix"}),
    characters=False,
    prompt_verbatim=True,
    remembers_seconds=86_400,
    submit_grace_s=10.0,
)
# SGLang 0.5.23, multimodal_gen/runtime/entrypoints/openai/{video_api,protocol}.py.
SGLANG: Final = Profile(
    name="sglang",
    own_model=True,
    fields={
        **dict.fromkeys(
            ("num_frames", "fps", "width", "height", "num_inference_steps", "max_sequence_length"),
            _INT,
        ),
        **dict.fromkeys(
            ("guidance_scale", "guidance_scale_2", "true_cfg_scale", "flow_shift"), _NUMBER
        ),
        **dict.fromkeys(
            ("enhance_prompt", "enable_teacache", "enable_frame_interpolation", "enable_upscaling"),
            _BOOL,
        ),
        **dict.fromkeys(("negative_prompt", "reference_url", "video_url", "output_quality"), _TEXT),
        "n": ExtraField(type="int", least=1, most=10),
        # `seed` is a number or a list of them, so it passes as it is.
        "extra_params": _OBJECT,
    },
    delete_stops=False,
    derives=_NONE,
    characters=False,
)
# vLLM-Omni 0.30.0, entrypoints/openai/{api_server,protocol/videos}.py.
VLLM_OMNI: Final = Profile(
    name="vllm-omni",
    form_only=True,
    own_model=True,
    fields={
        **dict.fromkeys(("num_frames", "width", "height"), ExtraField(type="int", least=1)),
        "fps": ExtraField(type="number", least=1),
        "num_inference_steps": ExtraField(type="int", least=1, most=200),
        **dict.fromkeys(
            ("guidance_scale", "guidance_scale_2", "true_cfg_scale"),
            ExtraField(type="number", least=0, most=20),
        ),
        "boundary_ratio": ExtraField(type="number", least=0, most=1),
        "flow_shift": _NUMBER,
        "seed": _INT,
        **dict.fromkeys(("quality", "negative_prompt"), _TEXT),
        "generate_sound": _BOOL,
        **dict.fromkeys(("lora", "extra_params", "image_reference"), _OBJECT),
    },
    delete_stops=True,
    derives=_NONE,
    characters=False,
    progress="ends",
    prompt_verbatim=True,
)
# FastVideo 0.2.1, entrypoints/openai/{video_api,protocol}.py.
FASTVIDEO: Final = Profile(
    name="fastvideo",
    own_model=True,
    fields={
        **dict.fromkeys(("num_frames", "fps", "seed", "num_inference_steps"), _INT),
        **dict.fromkeys(("guidance_scale", "guidance_scale_2", "true_cfg_scale"), _NUMBER),
        **dict.fromkeys(("negative_prompt", "reference_url"), _TEXT),
        "enable_teacache": _BOOL,
    },
    delete_stops=False,
    derives=_NONE,
    characters=False,
    progress="ends",
)
# TensorRT-LLM, serve/openai_{video_routes,protocol,server}.py, the newest stored version (2026).
TENSORRT_LLM: Final = Profile(
    name="tensorrt-llm",
    own_model=True,
    strict=True,
    fields={
        "num_frames": ExtraField(type="int", least=1, most=7200),
        **dict.fromkeys(("fps", "frame_rate"), ExtraField(type="number", least=0, most=120)),
        **dict.fromkeys(
            ("width", "height", "num_inference_steps", "max_sequence_length"),
            ExtraField(type="int", least=1),
        ),
        "guidance_scale": ExtraField(type="number", least=0),
        "seed": ExtraField(type="int", least=0),
        "negative_prompt": _TEXT,
        "extra_params": _OBJECT,
    },
    longest_seconds=60,
    delete_stops=True,
    derives=_NONE,
    characters=False,
    progress="none",
    prompt_verbatim=True,
)
# LiteLLM 1.109.1, proxy/video_endpoints/*; edits and extensions run on it, older ones lose the id.
LITELLM_PROXY: Final = Profile(
    name="litellm-proxy",
    can_list=False,
    can_delete=False,
    characters=False,
    # Seconds times its own price; 0.0 where it has none. Its polls always say 0.0 (run).
    cost_path="x-litellm-response-cost",
    cost_source="estimate_header",
    # Its create answers only after the server behind it, which it tries for up to this long.
    longest_create_s=120.0,
)
# new-api, relay/channel/task/sora/adaptor.go and router/video-router.go (2026).
NEW_API: Final = Profile(
    name="new-api",
    can_list=False,
    can_delete=False,
    derives=frozenset({"remix"}),
    characters=False,
    longest_create_s=120.0,
)
LOCAL: Final = Profile(
    name="local",
    keeps_catalogue=False,  # it draws any ratio, whatever model is named
    longest_seconds=120,
    longest_edge=4096,
    even_sizes=True,
    variants=_STILLS,
    delete_stops=True,
    prompt_verbatim=True,
    remembers_seconds=None,
    submit_grace_s=0.5,
    longest_create_s=2.0,
    lost_after_s=0.5,  # one process, whose jobs are on its disk
    webhook_scheme="standard",
)
GENERIC: Final = Profile(name="generic")
AUTO: Final = Profile(name="auto", keeps_catalogue=False)
"""The profile is not known yet: `detect.recognised` puts the server's own in its place."""
