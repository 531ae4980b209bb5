"""Blocks: who renders, and where videos are kept, saved once and named in flows.

Each has a required field, without which a deployment could not refer to a
saved document of it.
"""

from prefect_sora.blocks.choices import OneOrMore, Provider, ProviderOrName, Store, store_of
from prefect_sora.blocks.providers import AzureOpenAICredentials, LocalRenderer, OpenAICredentials
from prefect_sora.blocks.store import VideoStore

__all__ = [
    "AzureOpenAICredentials",
    "LocalRenderer",
    "OneOrMore",
    "OpenAICredentials",
    "Provider",
    "ProviderOrName",
    "Store",
    "VideoStore",
    "store_of",
]
