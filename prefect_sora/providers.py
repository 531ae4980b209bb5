"""Providers: one block, or a list of them in the order in which they are asked."""

from collections.abc import Sequence

from prefect_sora.blocks import Provider
from prefect_sora.client import VideoClient
from prefect_sora.errors import InvalidRequestError
from prefect_sora.handles import VideoJob

Providers = Provider | Sequence[Provider]


def listed(provider: Providers) -> list[Provider]:
    """Take one provider, or several, as a list.

    Raises:
        InvalidRequestError: There is none in it.
    """
    several = [*provider] if isinstance(provider, Sequence) else [provider]
    if not several:
        raise InvalidRequestError(
            "The list of providers is empty.", next_step="Give one at least; nothing was sent."
        )
    return several


async def distinct(provider: Providers) -> list[Provider]:
    """List the providers, and see that each is another server.

    Raises:
        InvalidRequestError: There is none, or two are one server, by whose name a job is
            not told from the other's.
    """
    several = listed(provider)
    if len(several) > 1:
        labels = [(await each.get_server()).label for each in several]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise InvalidRequestError(
                f"The list of providers names {twice[0]} twice.",
                next_step="Name each server once; nothing was sent.",
            )
    return several


async def of_label(label: str, provider: Providers) -> Provider:
    """Choose the provider of a server, by the name that stands on what it made.

    A single one is taken at its word.

    Raises:
        InvalidRequestError: None of a list is that server's.
    """
    several = listed(provider)
    if len(several) == 1:
        return several[0]
    for each in several:
        if (await each.get_server()).label == label:
            return each
    raise InvalidRequestError(
        f"It was made by {label}, which is none of the providers given.",
        paid="yes",
        next_step="Add that server to the list; nothing was sent.",
    )


async def client_of(job: VideoJob, provider: Providers) -> VideoClient:
    """Connect to the provider that made a job; as `of_label` says."""
    return await (await of_label(job.provider, provider)).get_client()
