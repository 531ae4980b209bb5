"""Send: one request that costs money, over as many connections as that takes, and who sends it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from time import monotonic, time
from typing import Final, Protocol, TypeVar

from prefect_sora.budgets import Budget
from prefect_sora.departures import Departure
from prefect_sora.errors import UnavailableError
from prefect_sora.matching import Doubt
from prefect_sora.records import RenderState, Reserved
from prefect_sora.windows import Window

CONNECT_ATTEMPTS: Final = 4
"""How often a create that never left is tried: over about four seconds. Ours."""

_T = TypeVar("_T")
_Made_co = TypeVar("_Made_co", covariant=True)


class LapsedError(Exception):
    """Nothing was sent: others may by now believe that nothing will be."""


class UnclearError(Exception):
    """A create was sent, and its answer does not say what became of it.

    Attributes:
        why: What came in place of an answer; None where one came that is none.
        sent_at: When the request left, Unix seconds.
        is_taken: Whether another render holds the id that it was answered with.
    """

    def __init__(
        self,
        message: str,
        sent_at: float,
        why: UnavailableError | None = None,
        *,
        is_taken: bool = False,
    ) -> None:
        super().__init__(message)
        self.sent_at, self.why, self.is_taken = sent_at, why, is_taken


async def connected(ask: Callable[[Departure], Awaitable[_T]], window: Window) -> _T:
    """Send a request once, over as many connections as that takes.

    Args:
        ask: Sends it, no later than it may leave. With `never_sent` in its error it is tried
            again.
        window: Until when it may leave.

    Raises:
        LapsedError: The reservation is too old to send anything under it.
        Exception: As `ask` raises.
    """
    refused: UnavailableError | None = None
    for n in range(CONNECT_ATTEMPTS):
        if n:
            await asyncio.sleep(0.25 * 2**n)
        if not window.is_open(time(), monotonic()):
            break
        departure = Departure(window.left_s(time(), monotonic()), has_place=window.has_place)
        try:
            return await ask(departure)
        except UnavailableError as error:
            if not error.never_sent:
                raise
            if not departure.had_its_time:
                break  # others' requests kept it
            refused = error
    if refused:
        raise refused
    raise LapsedError


class Asked(Protocol):
    """What is asked for, of a video or of pictures."""

    @property
    def key(self) -> str:
        """The render's key."""

    @property
    def fingerprint(self) -> str:
        """The whole of it."""

    @property
    def folder(self) -> str:
        """The render's folder below the store's root."""


class Sender(Protocol[_Made_co]):
    """In what a video and pictures differ."""

    by_store: bool

    @property
    def wish(self) -> Asked:
        """What is asked for."""

    def place(self) -> AbstractAsyncContextManager[None]:
        """A place among the requests under way at its server."""

    def had(self, state: RenderState) -> _Made_co:
        """What is accepted or kept."""

    def reservation(
        self, attempt: int, state: RenderState, in_doubt: bool
    ) -> tuple[Reserved, Doubt | None]:
        """What is written down before anything is sent, and what is to be looked for first."""

    async def in_store(self, state: RenderState) -> _Made_co:
        """Find, where the store alone can tell, what came of a create of before.

        Raises:
            UncertainSubmitError: It does not tell.
        """

    async def found(self, mine: Reserved, doubt: Doubt | None) -> _Made_co | None:
        """Find, where the server can tell, what was accepted before or is there already."""

    async def charge(self, mine: Reserved, budget: Budget) -> None:
        """Count the attempt against its budgets."""

    async def send(self, mine: Reserved, window: Window) -> _Made_co:
        """Send the request once, and write down what comes of it."""

    async def looked_up(self, mine: Reserved, unclear: UnclearError) -> _Made_co | None:
        """Find what came of a request whose answer is unclear; None where it is nothing.

        Raises:
            UncertainSubmitError: Nobody can tell.
        """
