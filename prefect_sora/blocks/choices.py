"""Choices: what flows and tasks take as a provider or a store."""

import inspect
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from prefect_sora.blocks.providers import AzureOpenAICredentials, LocalRenderer, OpenAICredentials
from prefect_sora.blocks.store import VideoStore
from prefect_sora.errors import InvalidRequestError


def awaited(value: Any) -> Any:
    """Pass on what is no coroutine.

    Raises:
        InvalidRequestError: It is one: `.load` gives one in async code. Nothing was sent.
    """
    if inspect.iscoroutine(value):
        value.close()  # it would warn that nobody has awaited it
    elif not isinstance(value, Coroutine):
        return value
    name = getattr(value, "__qualname__", repr(value))
    raise InvalidRequestError(
        f"It is a coroutine ({name}), which nobody has awaited, and no block.",
        next_step='In async code, load a block with `await LocalRenderer.aload("NAME")`, or '
        "whichever block it is.",
    )


Provider = OpenAICredentials | AzureOpenAICredentials | LocalRenderer
ProviderOrName = Provider | SkipJsonSchema[str]
"""A provider, or in a script its name as the command line takes it; the UI's form has blocks."""
OneOrMore = Annotated[
    Provider | list[Provider] | SkipJsonSchema[str | Sequence[Provider | str]],
    BeforeValidator(awaited),
]
"""The same, or a list of them."""
Store = Annotated[
    # One field in the UI, whichever of the two a script passes.
    VideoStore | Annotated[str | Path, WithJsonSchema({"type": "string"})],
    BeforeValidator(awaited),
    Field(description="A saved store, or the URL of a folder to keep videos in."),
]


def store_of(store: VideoStore | str | Path) -> VideoStore:
    """Take a store as it is, or make one of its URL.

    Raises:
        InvalidRequestError: It is a coroutine that nobody has awaited, or the name of a block.
    """
    store = awaited(store)
    kind, _, name = str(store).partition("/")
    if kind == VideoStore.get_block_type_slug() and name:
        raise InvalidRequestError(
            f"{store} is the name of a saved store, and no folder.",
            next_step=f'Load it: `VideoStore.load("{name}")`, or in async code '
            f'`await VideoStore.aload("{name}")`.',
        )
    return store if isinstance(store, VideoStore) else VideoStore(url=str(store))
