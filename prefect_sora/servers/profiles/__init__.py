"""What a server can do, as data: code branches on these, never on a server's name.

A profile of your own names one of these and what differs from it, in the block or in a file:
`{"base": "generic", "name": "my gateway", "can_list": false}`.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final, Literal

from pydantic import ValidationError

from prefect_sora.errors import InvalidRequestError
from prefect_sora.requests.problems import in_words
from prefect_sora.servers.profiles.built_in import (
    AUTO,
    AZURE,
    FASTVIDEO,
    GENERIC,
    LITELLM_PROXY,
    LOCAL,
    NEW_API,
    OPENAI,
    SGLANG,
    TENSORRT_LLM,
    VLLM_OMNI,
)
from prefect_sora.servers.profiles.hosted import BIFROST, DYNAMO, OPENROUTER, TOGETHER, XAI
from prefect_sora.servers.profiles.profile import (
    PATHS,
    Derives,
    ExtraField,
    Profile,
    Route,
    Service,
    Still,
    found,
)

_RENDER: Final = (OPENAI, AZURE, SGLANG, VLLM_OMNI, FASTVIDEO, TENSORRT_LLM, LOCAL)
_PASS_ON: Final = (LITELLM_PROXY, NEW_API, BIFROST)
HOSTED: Final = {each.name: each for each in (OPENROUTER, TOGETHER, XAI)}
"""Servers whose address is the same for everybody, and whose key stands in a variable of theirs."""
PROFILES: Final = {
    each.name: each for each in (*_RENDER, *_PASS_ON, *HOSTED.values(), DYNAMO, GENERIC, AUTO)
}

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
    "bifrost",
    "openrouter",
    "together",
    "xai",
    "dynamo",
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
        named = {"name": f"my {base.name}", **fields}
        if isinstance(fields.get("paths"), Mapping):
            named["paths"] = {**base.paths, **fields["paths"]}
        return Profile.model_validate({**base.model_dump(), **named})
    except ValidationError as error:
        raise InvalidRequestError(
            f"The profile cannot be used: {in_words(error, Profile.model_fields)}",
            next_step=f"Its fields are {', '.join(Profile.model_fields)}, and base.",
        ) from None


__all__ = [
    "AUTO",
    "AZURE",
    "BIFROST",
    "DYNAMO",
    "FASTVIDEO",
    "GENERIC",
    "HOSTED",
    "LITELLM_PROXY",
    "LOCAL",
    "NEW_API",
    "OPENAI",
    "OPENROUTER",
    "PATHS",
    "PROFILES",
    "SGLANG",
    "TENSORRT_LLM",
    "TOGETHER",
    "VLLM_OMNI",
    "XAI",
    "Derives",
    "ExtraField",
    "Name",
    "Profile",
    "Route",
    "Service",
    "Still",
    "found",
    "read_profile",
]
