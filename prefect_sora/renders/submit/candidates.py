"""Candidates: what is to be made, and the servers that may be asked for it."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from prefect_sora.errors import (
    ApiError,
    InvalidRequestError,
    ModerationError,
    ReferenceImageError,
    RenderFailedError,
    SoraError,
)
from prefect_sora.renders.submit.options import RenderOptions
from prefect_sora.renders.submit.send import Prepared, Sender
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import Server
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import RenderState, Reserved

Connect = Callable[[], Awaitable[VideoClient]]


@dataclass(frozen=True)
class Way:
    """One server that may be asked.

    Attributes:
        server: Who it is. What it can do need not be known yet.
        connect: Asks it what it can do, and connects to it.
    """

    server: Server
    connect: Connect


def refuse_twice(labels: Sequence[str]) -> None:
    """Refuse a list of servers that names one twice: its jobs are not told from each other.

    Raises:
        InvalidRequestError: It does.
    """
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise InvalidRequestError(
            f"The list of providers names {twice[0]} twice.",
            next_step="Name each server once.",
        )


_Request = TypeVar("_Request")
_Prepared = TypeVar("_Prepared", bound=Prepared)
_Made = TypeVar("_Made")


class Asked(ABC, Generic[_Request, _Prepared, _Made]):
    """What is to be made: a video, or pictures.

    Args:
        request: What is to be made.
        ledger: The store's records.
        options: Whom it is shared with, how long it may take, and what it may cost.
        parent_key: The render that it starts from.
        reference_options: fsspec options for the URLs of its pictures.

    Attributes:
        inputs_sha256: Hash of its pictures, once they are loaded.
    """

    inputs_sha256: str | None = None

    def __init__(
        self,
        request: _Request,
        ledger: Ledger,
        options: RenderOptions,
        parent_key: str | None = None,
        reference_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.request, self.ledger, self.options = request, ledger, options
        self.parent_key, self.reference_options = parent_key, reference_options

    @property
    @abstractmethod
    def at_url(self) -> bool:
        """Whether one of its pictures is at a URL, where the bytes may change."""

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
    def prepared(self, server: Server, inputs_sha256: str | None) -> _Prepared:
        """Compute its key with these pictures; asks nobody, and checks nothing."""

    @abstractmethod
    def checked(self, prepared: _Prepared, server: Server) -> _Prepared:
        """Check it against a server that has told what it can do.

        Raises:
            InvalidRequestError: It cannot be made there as it stands; nothing was sent.
        """

    @abstractmethod
    def unsent(self, prepared: _Prepared, server: Server) -> Reserved:
        """Make a reservation that closes a render which was never begun."""

    @abstractmethod
    def found(self, state: RenderState) -> _Made | None:
        """What was made, or is being made, by the records."""

    @abstractmethod
    def sender(self, prepared: _Prepared, client: VideoClient) -> Sender[_Prepared, Any, _Made]:
        """How it is sent to one server."""


def may_pass_on(error: SoraError) -> bool:
    """Whether the error says for certain that nothing was accepted, or charged, there.

    What moderation refuses is not passed on: a person decides whether to try another server.
    A picture that cannot be read is unreadable everywhere.
    """
    theirs = isinstance(error, (ApiError, RenderFailedError, InvalidRequestError))
    ours = isinstance(error, (ModerationError, ReferenceImageError))
    return theirs and not ours and error.paid == "no"
