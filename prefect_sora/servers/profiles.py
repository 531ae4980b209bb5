"""What a server can do, as data: code branches on these, never on a server's name.

A profile of your own names one of these and what differs from it, in the block or in a file:
`{"base": "generic", "name": "my gateway", "can_list": false}`.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prefect_sora.errors import InvalidRequestError
from prefect_sora.handles import Status
from prefect_sora.requests.problems import in_words

Service = Literal["openai", "azure"]
"""The services that have ended models of their own."""

Derives = Literal["remix", "edit", "extend"]
Still = Literal["thumbnail", "spritesheet"]


class ExtraField(BaseModel):
    """A field that a server takes beyond the protocol, and what may stand in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["int", "number", "text", "bool", "object"] = "text"
    least: float | None = None
    most: float | None = None


class Profile(BaseModel):
    """The capabilities of one kind of video server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="As a block or the command line names it.")
    form_only: bool = Field(
        default=False, description="A create is a form (multipart), with a picture or without."
    )
    own_model: bool = Field(
        default=False,
        description="It serves one model, whose name need not be said: a Sora model's is not sent.",
    )
    keeps_catalogue: bool = Field(
        default=True,
        description="A model of the catalogue offers there what its own service offered, and no "
        "more; false: the server judges itself.",
    )
    sizes: tuple[str, ...] | None = Field(
        default=None, description="Sizes that it renders, as WIDTHxHEIGHT; None: it has no list."
    )
    strict: bool = Field(
        default=False, description="It refuses a create with a field that it does not know."
    )
    fields: Mapping[str, ExtraField] = Field(
        default={}, description="Fields that it takes beyond the protocol, for `extra`."
    )
    longest_seconds: float | None = Field(
        default=None, description="Longest clip that it renders at once, where it has a limit."
    )
    statuses: Mapping[str, Status] = Field(
        default={},
        description="Its own words for a job's status, as it writes them. Those that any server "
        "is known to use are read without.",
    )
    can_list: bool = Field(default=True, description="`GET /videos` lists this account's jobs.")
    can_delete: bool = Field(default=True, description="`DELETE /videos/{id}` exists.")
    delete_stops: bool | None = Field(
        default=None,
        description="Deleting a job that is being rendered ends its rendering; None: not known.",
    )
    derives: frozenset[Derives] = Field(
        default=frozenset({"remix", "edit", "extend"}),
        description="Which kinds of render start from a finished video there. A server of which "
        "nothing is known is asked: what it lacks, it refuses, and nothing is paid.",
    )
    characters: bool = Field(default=True, description="`POST /videos/characters` exists.")
    variants: frozenset[Still] = Field(
        default=frozenset(), description="Stills that `/content` serves besides the video."
    )
    progress: Literal["percent", "ends", "none"] = Field(
        default="percent", description="What it tells: percent, 0 and then 100, or nothing."
    )
    prompt_verbatim: bool = Field(
        default=False,
        description="A prompt in the Video object is the one that was sent, word for word, so "
        "that a job with another prompt is another's; some servers improve prompts.",
    )
    remembers_seconds: float | None = Field(
        default=86_400, gt=0, description="How long its list shows a job; None: always. As Azure's."
    )
    submit_grace_s: float = Field(
        default=5.0, ge=0, description="How long an accepted job may take to appear in the list."
    )
    longest_create_s: float = Field(
        default=90.0,
        ge=0,
        description="How long after a create request was sent its job may still be accepted. Ours.",
    )
    lost_after_s: float = Field(
        default=180.0,
        ge=0,
        description="How long it must go on saying that it does not know a job until that is "
        "believed: replicas behind one address may each know their own.",
    )

    def __hash__(self) -> int:
        """Hash the name alone; equality compares all fields."""
        return hash(self.name)


_STILLS: Final[frozenset[Still]] = frozenset({"thumbnail", "spritesheet"})
_NONE: Final[frozenset[Derives]] = frozenset()

_INT, _NUMBER = ExtraField(type="int"), ExtraField(type="number")
_TEXT, _BOOL, _OBJECT = ExtraField(), ExtraField(type="bool"), ExtraField(type="object")

# OpenAI's openapi.yaml (2026-08-21).
OPENAI: Final = Profile(
    name="openai",
    variants=_STILLS,
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
    keeps_catalogue=False,  # it draws any size and length, whatever model is named
    variants=_STILLS,
    delete_stops=True,
    prompt_verbatim=True,
    remembers_seconds=None,
    submit_grace_s=0.5,
    longest_create_s=2.0,
    lost_after_s=0.5,  # one process, whose jobs are on its disk
)
GENERIC: Final = Profile(name="generic")
AUTO: Final = Profile(name="auto", keeps_catalogue=False)
"""The profile is not known yet: `detect.recognised` puts the server's own in its place."""

_RENDER: Final = (OPENAI, AZURE, SGLANG, VLLM_OMNI, FASTVIDEO, TENSORRT_LLM, LOCAL)
_PASS_ON: Final = (LITELLM_PROXY, NEW_API)
PROFILES: Final = {each.name: each for each in (*_RENDER, *_PASS_ON, GENERIC, AUTO)}

Name = Literal[
    "auto",
    "openai",
    "azure",
    "sglang",
    "vllm-omni",
    "fastvideo",
    "tensorrt-llm",
    "litellm-proxy",
    "new-api",
    "local",
    "generic",
]
"""The built-ins, as a form offers them."""


def read_profile(given: str | Mapping[str, Any]) -> Profile:
    """Return a built-in profile by its name, or make a profile from its fields.

    Args:
        given: A built-in's name, or a mapping of `Profile`'s fields with a `base`, the
            built-in that it differs from; generic where none is said.

    Raises:
        InvalidRequestError: No such profile, or a field that no profile has.
    """
    if isinstance(given, str):
        if given not in PROFILES:
            like = get_close_matches(given, PROFILES, n=1)
            raise InvalidRequestError(
                f"There is no profile {given!r}: there are {', '.join(PROFILES)}.",
                next_step=f"{f'Did you mean {like[0]}? ' if like else ''}Name one of them, or "
                'describe what differs: {"base": "generic", "can_list": false}.',
            )
        return PROFILES[given]
    fields = dict(given)
    base = read_profile(str(fields.pop("base", "generic")))
    try:
        return Profile.model_validate({**base.model_dump(), "name": f"my {base.name}", **fields})
    except ValidationError as error:
        raise InvalidRequestError(
            f"The profile cannot be used: {in_words(error, Profile.model_fields)}",
            next_step=f"Its fields are {', '.join(Profile.model_fields)}, and base.",
        ) from None
