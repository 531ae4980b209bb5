"""Hosted servers, gateways and kin whose `/videos` is of a form of their own.

What stands here was read in the vendors' own clients and specifications, or in their docs; the
pages in docs/servers say which, and what is not sure.
"""

from typing import Final

from prefect_sora.servers.profiles.profile import Derives, ExtraField, Profile

_TEXT, _BOOL, _OBJECT = ExtraField(), ExtraField(type="bool"), ExtraField(type="object")
_INT, _NUMBER, _LIST = ExtraField(type="int"), ExtraField(type="number"), ExtraField(type="list")
_CONTINUES: Final[frozenset[Derives]] = frozenset({"edit", "extend"})

# Python package openrouter 1.3.84; @openrouter/ai-sdk-provider 2.10.0; OpenRouterTeam/docs
# (2026-08-22).
OPENROUTER: Final = Profile(
    name="openrouter",
    base_url="https://openrouter.ai/api/v1",
    key_variable="OPENROUTER_API_KEY",
    keeps_catalogue=False,
    paths={"edit": "/videos", "extend": "/videos"},
    model_names=("*/*",),
    model_required=True,
    length_field="duration",
    length_type="int",
    resolutions=("360p", "480p", "720p", "768p", "1080p", "1K", "2K", "4K"),
    aspect_ratios=("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9", "9:21"),
    image_transport="data_url",
    image_fields={
        "frame_images": [
            {
                "type": "image_url",
                "image_url": {"url": "{image}"},
                "frame_type": "first_frame",
            }
        ]
    },
    source_fields={"previous_job_id": "{id}"},
    fields={
        **dict.fromkeys(("frame_images", "input_references"), _LIST),
        "seed": _INT,
        "generate_audio": _BOOL,
        **dict.fromkeys(("provider", "trace"), _OBJECT),
        **dict.fromkeys(("callback_url", "user", "session_id"), _TEXT),
        **dict.fromkeys(("creativity", "upscale_factor"), _NUMBER),
    },
    statuses={"dead": "failed"},
    url_paths=("urls.0", "unsigned_urls.0"),
    content_route="last",
    content_query={"index": "0"},
    callback_field="callback_url",
    webhook_scheme="openrouter",
    transient_402=("openrouter_in_flight_budget",),
    refusing_statuses=(503,),  # no provider can take it
    can_list=False,
    can_delete=False,
    derives=_CONTINUES,
    characters=False,
    progress="none",
    catalog_path="/videos/models",
    cost_path="usage.cost",
    cost_elsewhere_path="usage.is_byok",
    # Nothing tells of a create without an answer, so this one is waited for. Ours.
    create_seconds=300.0,
    longest_create_s=300.0,
)
# Python package together 3.1.1, together-ai 0.52.0 (JS); togethercomputer/skills (2026).
TOGETHER: Final = Profile(
    name="together",
    base_url="https://api.together.ai",
    key_variable="TOGETHER_API_KEY",
    keeps_catalogue=False,
    paths={"create": "/v2/videos", "edit": "/v2/videos", "retrieve": "/v2/videos/{id}"},
    model_names=("*/*",),
    model_required=True,
    size_style="width_height",
    image_transport="data_url",
    image_fields={"media": {"frame_images": [{"input_image": "{image}", "frame": "first"}]}},
    source_fields={"media": {"source_video": "{url}"}},
    fields={
        **dict.fromkeys(("fps", "steps", "seed", "output_quality"), _INT),
        "guidance_scale": _NUMBER,
        **dict.fromkeys(("negative_prompt", "output_format"), _TEXT),
        "generate_audio": _BOOL,
        "media": _OBJECT,
    },
    url_paths=("outputs.video_url",),
    url_auth="none",
    content_route="none",
    can_list=False,
    can_delete=False,
    derives=frozenset({"edit"}),
    characters=False,
    progress="none",
    cost_path="outputs.cost",
    create_seconds=300.0,
    longest_create_s=300.0,
)
# xai-sdk 1.21.0, @ai-sdk/xai 5.0.12.
XAI: Final = Profile(
    name="xai",
    base_url="https://api.x.ai/v1",
    key_variable="XAI_API_KEY",
    keeps_catalogue=False,
    paths={"create": "/videos/generations"},
    model_names=("grok-*",),
    model_required=True,
    length_field="duration",
    length_type="int",
    size_style="resolution_aspect",
    resolutions=("480p", "720p", "1080p"),
    aspect_ratios=("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3"),
    longest_seconds=15,
    longest_extension=10,
    image_transport="data_url",
    image_fields={"image": {"url": "{image}"}},
    source_fields={"video": {"url": "{url}"}},
    fields={
        **dict.fromkeys(("last_frame", "storage_options"), _OBJECT),
        **dict.fromkeys(("keyframes", "reference_images", "reference_audios"), _LIST),
        "generate_audio": _BOOL,
        "user": _TEXT,
    },
    id_keys=("request_id",),
    names_itself=False,
    url_paths=("video.url", "video.file_output.public_url"),
    url_auth="none",
    content_route="none",
    done_by_url=True,
    empty_is_failed=True,
    moderated={"video.respect_moderation": False},
    keeps_seconds=86_400,
    can_list=False,
    can_delete=False,
    derives=_CONTINUES,
    characters=False,
    cost_path="usage.cost_in_usd_ticks",
    cost_scale=1e-10,
    create_seconds=300.0,
    longest_create_s=300.0,
)
# maximhq/bifrost, inference.go and openai/videos.go (2026); npm @maximhq/bifrost 1.6.3.
BIFROST: Final = Profile(
    name="bifrost",
    model_names=("*/*",),
    model_required=True,
    image_transport="data_url",
    fields={
        **dict.fromkeys(("negative_prompt", "video_uri"), _TEXT),
        "seed": _INT,
        "audio": _BOOL,
    },
    url_paths=("videos.0.url",),
    list_query={"provider": "{provider}"},
    derives=frozenset({"remix"}),
    characters=False,
    longest_create_s=120.0,
)
# ai-dynamo/dynamo, videos.rs (2026).
DYNAMO: Final = Profile(
    name="dynamo",
    sync_create=True,
    can_list=False,
    can_delete=False,
    derives=frozenset(),
    characters=False,
)
