"""Providers: one block, or a list of them in the order in which they are asked."""

from collections.abc import Sequence
from typing import Any, cast

from prefect.blocks.core import Block

from prefect_sora.blocks import (
    AzureOpenAICredentials,
    LocalRenderer,
    OpenAICredentials,
    Provider,
    ProviderOrName,
)
from prefect_sora.blocks.choices import awaited
from prefect_sora.errors import InvalidRequestError, SoraError
from prefect_sora.handles import VideoJob
from prefect_sora.renders import environment
from prefect_sora.renders.submit.candidates import Way, may_pass_on, refuse_twice
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.connections import connect

Providers = ProviderOrName | Sequence[ProviderOrName]


async def provider_of(provider: ProviderOrName) -> Provider:
    """Take a provider as it is, or make the one that is named; a saved block is loaded.

    Raises:
        InvalidRequestError: The name is none, what it names is not set up, or it is a coroutine
            that nobody has awaited.
    """
    provider = awaited(provider)
    if not isinstance(provider, str):
        return provider
    name = provider
    match environment.named_provider(name):
        case environment.Local(folder=folder):
            return LocalRenderer(folder=str(folder))
        case environment.Described(name="azure", fields=fields):
            return AzureOpenAICredentials(**fields)
        case environment.Described(fields=fields):
            return OpenAICredentials(**fields)
    try:
        block: object = await cast(Any, Block.aload(name))
    except ValueError as error:
        raise InvalidRequestError(
            f"Prefect has no block {name}.", next_step=f"Name one: {environment.CHOICES}"
        ) from error
    if not isinstance(block, Provider):
        raise InvalidRequestError(
            f"The block {name} is a {type(block).__name__}, which renders nothing.",
            next_step=f"Name one: {environment.CHOICES}",
        )
    return block


async def listed(provider: Providers) -> list[Provider]:
    """Take one provider, or several, as a list, and find those that are named.

    Raises:
        InvalidRequestError: There is none in it, or a name stands for none.
    """
    if isinstance(provider, str) or not isinstance(provider, Sequence):
        provider = [provider]  # a single provider, also of a user's own class
    several = [*provider]
    if not several:
        raise InvalidRequestError("The list of providers is empty.", next_step="Give one at least.")
    return [await provider_of(one) for one in several]


async def distinct(provider: Providers) -> list[Provider]:
    """List the providers, and check that each is another server.

    Raises:
        InvalidRequestError: There is none, or two are one server, by whose name a job is
            not told from the other's.
    """
    several = await listed(provider)
    if len(several) > 1:
        refuse_twice([(await each.describe()).label for each in several])
    return several


async def ways_to(provider: Providers) -> list[Way]:
    """Describe the providers, and how to connect to each; none is asked anything.

    Raises:
        InvalidRequestError: As `distinct` says.
    """
    several = await distinct(provider)
    return [Way(await each.describe(), each.get_client) for each in several]


async def first_there(provider: Providers) -> VideoClient:
    """Connect to the first provider that tells what it can do, to check requests against.

    Raises:
        SoraError: What the last of them said.
    """
    several = await distinct(provider)
    for each in several[:-1]:
        try:
            return await each.get_client()
        except SoraError as error:
            if not may_pass_on(error):
                raise
    return await several[-1].get_client()


async def of_label(label: str, provider: Providers) -> Provider:
    """Choose the provider whose server made something, by the server's name on it.

    A single provider is taken without a check.

    Raises:
        InvalidRequestError: None of a list is that server's.
    """
    several = await listed(provider)
    if len(several) == 1:
        return several[0]
    for each in several:
        if (await each.describe()).label == label:
            return each
    raise InvalidRequestError(
        f"It was made by {label}, which is none of the providers given.",
        paid="yes",
        next_step="Add that server to the list.",
    )


async def client_of(job: VideoJob, provider: Providers) -> VideoClient:
    """Connect to the provider that made a job; a single provider is taken without a check.

    For a video that is kept, the server is asked nothing, so it need not be running.
    """
    holder = await of_label(job.provider, provider)
    return connect(await holder.describe()) if job.stored else await holder.get_client()
