"""xAI, whose address is known, by the key in the environment."""

import os

from pydantic import SecretStr

from prefect_sora import OpenAICredentials


def document() -> OpenAICredentials | str:
    """Take the key from the environment."""
    key = os.environ.get("XAI_API_KEY")
    if not key:
        return "XAI_API_KEY is not set"
    return OpenAICredentials(profile="xai", api_key=SecretStr(key))
