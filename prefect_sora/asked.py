"""Asked: what is to be made, and the servers that may be asked for it."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from prefect_sora.client import VideoClient
from prefect_sora.errors import (
    ApiError,
    InvalidRequestError,
    ModerationError,
    ReferenceImageError,
    RenderFailedError,
    SoraError,
)
from prefect_sora.ledger import Ledger
from prefect_sora.records import RenderState, Reserved
from prefect_sora.server import Server

Connect = Callable[[], Awaitable[VideoClient]]


@dataclass(frozen=True)
class Way:
    """One server that may be asked.

    Attributes:
        server: Who it is. What it can do need not be known yet.
        connect: Connects to it, having asked it what it can do.
    """

    server: Server
    connect: Connect


class HasFolder(Protocol):
    """A wish, of a video or of pictures."""

    @property
    def folder(self) -> str:
        """The render's folder below the store's root."""


_Wish = TypeVar("_Wish", bound=HasFolder)
_Made = TypeVar("_Made")


class Asked(ABC, Generic[_Wish, _Made]):
    """What is to be made: a video, or pictures.

    Attributes:
        ledger: The store's records.
        scope: Whom it is shared with.
        at_url: Whether a picture of it is at a URL, whose bytes may change.
        inputs_sha256: Hash of its pictures, once they are loaded.
    """

    ledger: Ledger
    scope: str
    at_url: bool = False
    inputs_sha256: str | None = None

    @abstractmethod
    async def load(self) -> None:
        """Load its pictures.

        Raises:
            ReferenceImageError: One cannot be loaded.
        """

    @abstractmethod
    def as_written(self) -> dict[str, Any]:
        """The request as plain JSON, with what was written of its pictures."""

    @abstractmethod
    def wish(self, server: Server, inputs_sha256: str | None) -> _Wish:
        """Make its wish with these pictures; asks nobody."""

    @abstractmethod
    def unsent(self, wish: _Wish, server: Server) -> Reserved:
        """Make a reservation that closes a render which was never begun."""

    @abstractmethod
    def found(self, state: RenderState) -> _Made | None:
        """What was made, or is being made, by the records."""

    @abstractmethod
    async def settle(self, state: RenderState, client: VideoClient) -> _Made | None:
        """Find out what became of a render in doubt; sends nothing.

        Raises:
            UncertainSubmitError: Nobody can tell.
        """

    @abstractmethod
    async def make(self, wish: _Wish, client: VideoClient, passed_on_after: int | None) -> _Made:
        """Check the wish against its server, and have it made.

        Raises:
            PassedOnError: It was passed on in an attempt later than that; nothing was sent.
        """


def may_pass_on(error: SoraError) -> bool:
    """Whether the error says for certain that nothing was accepted, or charged, there.

    What moderation refuses is refused: to look for somebody who lets it through is a
    person's decision. A picture that cannot be read is so everywhere.
    """
    theirs = isinstance(error, (ApiError, RenderFailedError, InvalidRequestError))
    ours = isinstance(error, (ModerationError, ReferenceImageError))
    return theirs and not ours and error.paid == "no"
