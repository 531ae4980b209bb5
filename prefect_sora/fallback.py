"""Fallback: a render that one server has certainly not made is passed on to the next of a list.

That it was is written down, as an attempt that is closed unsent. So no other worker
can have it accepted there after all, and a later run goes straight to where it went.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import time
from typing import Any, Final, Protocol, TypeVar

from prefect_sora.client import VideoClient
from prefect_sora.errors import (
    ApiError,
    InvalidRequestError,
    ModerationError,
    ReferenceImageError,
    RenderFailedError,
    SoraError,
)
from prefect_sora.handles import VideoJob
from prefect_sora.identity import new_owner
from prefect_sora.ledger import Ledger
from prefect_sora.records import PASSED_ON, Failed
from prefect_sora.requests import VideoRequest
from prefect_sora.submitting import PassedOnError, submit
from prefect_sora.wishes import Wish, identify

log = logging.getLogger(__name__)

TURNS: Final = 3
"""How often one server is asked where other workers keep beginning anew there. Ours."""

Connect = Callable[[], Awaitable[VideoClient]]


def may_pass_on(error: SoraError) -> bool:
    """Whether the error says for certain that nothing was accepted, or charged, there.

    What moderation refuses is refused: to look for somebody who lets it through is a
    person's decision. A picture that cannot be read is so everywhere.
    """
    theirs = isinstance(error, (ApiError, RenderFailedError, InvalidRequestError))
    ours = isinstance(error, (ModerationError, ReferenceImageError))
    return theirs and not ours and error.paid == "no"


async def submit_to_first(
    request: VideoRequest,
    servers: Sequence[Connect],
    ledger: Ledger,
    scope: str,
    *,
    parent_key: str | None = None,
    reference_options: Mapping[str, Any] | None = None,
    **submitting: Any,
) -> VideoJob:
    """Submit to the first server; to the next only where one has certainly not accepted.

    Args:
        request: What to render.
        servers: How to connect to each, the preferred first.
        ledger: The store's records.
        scope: Whom the render is shared with.
        parent_key: The render that this one starts from.
        reference_options: fsspec options for the reference image's URL.
        submitting: As `submitting.submit` takes it.

    Raises:
        SoraError: As `identify` and `submit` say; what the last server said, or the first
            that may have accepted it.
    """

    async def identified(client: VideoClient) -> Wish:
        return await identify(
            request, client, scope, parent_key=parent_key, reference_options=reference_options
        )

    async def made(wish: Wish, client: VideoClient, unless_passed_on: bool) -> VideoJob:
        return await submit(wish, client, ledger, unless_passed_on=unless_passed_on, **submitting)

    return await on_the_first(servers, ledger, identified, made)


class _HasFolder(Protocol):
    """A wish, of a video or of pictures."""

    @property
    def folder(self) -> str:
        """The render's folder below the store's root."""


_Wish = TypeVar("_Wish", bound=_HasFolder)
_Made = TypeVar("_Made")


async def on_the_first(
    servers: Sequence[Connect],
    ledger: Ledger,
    identified: Callable[[VideoClient], Awaitable[_Wish]],
    made: Callable[[_Wish, VideoClient, bool], Awaitable[_Made]],
) -> _Made:
    """Have something made by the first server; by the next only where one has certainly not.

    Args:
        servers: How to connect to each, the preferred first.
        ledger: The store's records.
        identified: Makes the wish that a server is asked.
        made: Asks it, and where its last argument is true, raises `PassedOnError` in place
            of sending anything for a wish that was passed on.

    Raises:
        SoraError: What the last server said, or the first that may have made it.
    """
    for connect in servers[:-1]:
        for turn in range(TURNS):
            wish = None
            try:
                client = await connect()
                wish = await identified(client)
                return await made(wish, client, True)
            except PassedOnError:
                break
            except SoraError as error:
                if not may_pass_on(error):
                    raise
                if wish is None or await pass_on(wish.folder, ledger):
                    log.warning("Passed on to the next provider: %s", error.message)
                    break
                # Another worker has begun a new attempt there: what comes of it counts.
                if turn == TURNS - 1:
                    raise
    client = await servers[-1]()
    return await made(await identified(client), client, False)


async def pass_on_failed(
    error: RenderFailedError, job: VideoJob, last: str, ledger: Ledger
) -> None:
    """Pass a failed job on to the next server of a list.

    Args:
        error: How it failed.
        job: The job.
        last: The label of the last server of the list: there it ends.
        ledger: The store's records.

    Raises:
        RenderFailedError: It must not be passed on.
    """
    if job.provider == last or not may_pass_on(error) or not await pass_on(job.folder, ledger):
        raise error


async def pass_on(folder: str, ledger: Ledger) -> bool:
    """Close a render at one server for good, so that it may be sent to another.

    Returns:
        False where another worker has begun a new attempt meanwhile, has it accepted, or
        had it fail at a price.

    Raises:
        StorageError: The records cannot be read or written: then it must not be passed on.
    """
    state = await ledger.state(folder)
    if state.passed_on or state.name == "new":
        return True
    if state.failed is None or state.failed.paid != "no" or state.reserved is None:
        return False
    mine = state.reserved.model_copy(
        update={
            "attempt": state.attempt + 1,
            "at": time(),
            "owner": new_owner(),
            "uncertain_since": None,
        }
    )
    if not await ledger.reserve(folder, mine):
        return False
    try:
        record = Failed(
            key=mine.key,
            attempt=mine.attempt,
            at=time(),
            kind="refused",
            code=PASSED_ON,
            message="It was passed on to the next provider of a list.",
        )
        await ledger.fail(folder, record)
    finally:
        ledger.release(mine)
    return True
