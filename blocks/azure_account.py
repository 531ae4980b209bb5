"""A video model on Azure OpenAI, as the SDK's environment variables name it."""

import os

from pydantic import SecretStr

from prefect_sora import AzureOpenAICredentials
from prefect_sora.servers.access.addresses import clean_url


def document() -> AzureOpenAICredentials | str:
    """Take the resource's endpoint, its key and the deployment from the environment."""
    endpoint, key = os.environ.get("AZURE_OPENAI_ENDPOINT"), os.environ.get("AZURE_OPENAI_API_KEY")
    if not endpoint:
        return "AZURE_OPENAI_ENDPOINT is not set"
    clean_url(endpoint)  # refuses a key in it, which would be saved for all to read
    return AzureOpenAICredentials(
        endpoint=endpoint,
        deployment=os.environ.get("AZURE_OPENAI_DEPLOYMENT") or None,
        api_key=SecretStr(key) if key else None,
        api_version=os.environ.get("OPENAI_API_VERSION") or None,
    )
