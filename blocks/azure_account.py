"""Models on Azure OpenAI, as the openai SDK's environment variables name them."""

import os

from prefect_sora import AzureOpenAICredentials
from prefect_sora.renders.environment import Described, named_provider


def document() -> AzureOpenAICredentials | str:
    """Take endpoint, deployments and who asks from the environment, as `--provider azure` does."""
    if not os.environ.get("AZURE_OPENAI_ENDPOINT"):
        return "AZURE_OPENAI_ENDPOINT is not set"
    described = named_provider("azure")
    assert isinstance(described, Described)  # noqa: S101 - that is what the name stands for
    return AzureOpenAICredentials(**described.fields)
