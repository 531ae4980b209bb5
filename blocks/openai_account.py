"""OpenAI, or any server of its protocol, as the openai SDK's environment variables name it."""

import os

from pydantic import SecretStr

from prefect_sora import OpenAICredentials
from prefect_sora.servers.access.addresses import clean_url


def document() -> OpenAICredentials | str:
    """Take the address and the key from the environment; a server may ask for no key."""
    base_url, key = os.environ.get("OPENAI_BASE_URL"), os.environ.get("OPENAI_API_KEY")
    if not base_url and not key:
        return "neither OPENAI_BASE_URL nor OPENAI_API_KEY is set"
    base_url = base_url or "https://api.openai.com/v1"
    clean_url(base_url)  # refuses a key in it, which would be saved for all to read
    secret = os.environ.get("OPENAI_WEBHOOK_SECRET")
    return OpenAICredentials(
        base_url=base_url,
        api_key=SecretStr(key) if key else None,
        organization=os.environ.get("OPENAI_ORG_ID") or None,
        project=os.environ.get("OPENAI_PROJECT_ID") or None,
        webhook_secret=SecretStr(secret) if secret else None,
    )
