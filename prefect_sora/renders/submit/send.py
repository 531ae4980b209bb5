"""Send: a request that costs money is sent once, over as many connections as needed, and recorded.

`Sender` says how videos and pictures differ; `send` carries an attempt out. Sending and recording
are one separate task, for which even a cancelled caller waits: nothing that ends the caller comes
between an answer and its record.
"""

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from time import monotonic, time
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from prefect_sora.errors import SoraError, UnavailableError, UncertainSubmitError
from prefect_sora.limits import limits
from prefect_sora.renders.matching.match import Doubt
from prefect_sora.renders.submit.attempt import Attempt, is_busy
from prefect_sora.renders.submit.options import Budget, RenderOptions
from prefect_sora.renders.submit.send_window import Window
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.send_times import Departure
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import Failed, RenderState, Reserved

log = logging.getLogger(__name__)

# By the reservation's token; this also keeps the tasks from garbage collection.
_under_way: dict[str, asyncio.Task[Any]] = {}

_T = TypeVar("_T")
_Answer = TypeVar("_Answer")
_Made = TypeVar("_Made")


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


class Prepared(Protocol):
    """A request for a video or for pictures, with its identity."""

    @property
    def key(self) -> str:
        """The render's key."""

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the whole request."""

    @property
    def folder(self) -> str:
        """The render's folder below the store's root."""

    @property
    def warnings(self) -> Sequence[str]:
        """What a person should hear before it is sent."""


_Prepared = TypeVar("_Prepared", bound=Prepared)


class Sender(ABC, Generic[_Prepared, _Answer, _Made]):
    """How a video and pictures differ, on one server.

    Args:
        prepared: What is asked for.
        client: The server that is asked.
        ledger: The store's records, which decide whether anything is sent.
        options: How long it may take, what it may cost, and what is done in doubt.
    """

    by_store: ClassVar[bool]
    """Whether the store alone can tell what became of a create: no list shows pictures."""

    def __init__(
        self, prepared: _Prepared, client: VideoClient, ledger: Ledger, options: RenderOptions
    ) -> None:
        self.prepared, self.client = prepared, client
        self.ledger, self.options = ledger, options

    @property
    @abstractmethod
    def timeout_seconds(self) -> float:
        """How long to wait for another worker, or a server that asks to come back later."""

    @abstractmethod
    def is_free(self) -> bool:
        """Whether it costs nothing, so that no budget can forbid it."""

    def check(self) -> None:
        """Refuse what the server's own catalogue lacks; what was accepted before needs no check.

        Raises:
            InvalidRequestError: It says what is offered; nothing was sent.
        """

    @abstractmethod
    def had(self, state: RenderState) -> _Made:
        """What is accepted or kept."""

    @abstractmethod
    def reservation(
        self, number: int, state: RenderState, in_doubt: bool
    ) -> tuple[Reserved, Doubt | None]:
        """What is written down before anything is sent, and what to look for first."""

    @abstractmethod
    async def settle(self, state: RenderState) -> _Made | None:
        """Find out what became of a render in doubt; nothing is sent, or paid.

        Returns:
            What was made of it; None where it is shown that nothing was, which is recorded.

        Raises:
            UncertainSubmitError: Nobody can tell.
        """

    @abstractmethod
    async def found(self, attempt: Attempt, doubt: Doubt | None) -> _Made | None:
        """Find, where the server can tell, what was accepted before or is there already."""

    @abstractmethod
    async def charge(self, attempt: Attempt, budget: Budget) -> None:
        """Count an attempt against its budgets."""

    @abstractmethod
    def request(self, attempt: Attempt) -> Callable[[Departure], Awaitable[_Answer]]:
        """The one request that costs money, ready to be sent."""

    @abstractmethod
    async def record(self, attempt: Attempt, answer: _Answer, sent_at: float) -> _Made:
        """Write down what the server answered.

        Raises:
            UnclearError: It is no answer to this request.
            StorageError: The store goes on failing; the error says where what was paid is.
        """

    async def refused(self, attempt: Attempt, error: SoraError) -> SoraError:
        """Close an attempt whose request was refused, or never left; return what to raise."""
        return await attempt.refuse(error, keep_charge=is_busy(error))

    @abstractmethod
    async def looked_up(self, attempt: Attempt, unclear: UnclearError) -> _Made | None:
        """Find what came of a request whose answer is unclear; None where it is nothing.

        Raises:
            UncertainSubmitError: Nobody can tell.
        """

    async def write_off(self, number: int, doubt: UncertainSubmitError) -> None:
        """Close an attempt in doubt as paid for nothing, as the policy says."""
        key = self.prepared.key
        log.warning("Render %s is in doubt; paying again, as the policy says.", key)
        record = Failed(
            key=key,
            attempt=number,
            at=time(),
            kind="failed",
            message=f"Paid for again, as the policy says. {doubt.message}",
            paid="unknown",
        )
        await self.ledger.fail(self.prepared.folder, record)

    def attempt(self, reserved: Reserved) -> Attempt:
        """The attempt of a reservation."""
        return Attempt(reserved, self.prepared.folder, self.client, self.ledger)


async def send(sender: Sender[Any, Any, _Made], attempt: Attempt, window: Window) -> _Made:
    """Send the request of a reservation, and record its outcome, whatever ends the caller.

    Raises:
        LapsedError: The reservation is too old to send anything under it.
        UnclearError: Sent, and nothing is known; the reservation stands for that.
        ApiError: Refused or never sent; the attempt is closed.
        StorageError: It was made, and the store would not take it, or its id.
    """
    return await to_its_end(attempt.reserved, _sent(sender, attempt, window))


async def _sent(sender: Sender[Any, Any, _Made], attempt: Attempt, window: Window) -> _Made:
    try:
        answer, sent_at = await _answered(sender, attempt, window)
    except SoraError as error:
        raise await sender.refused(attempt, error) from None
    return await sender.record(attempt, answer, sent_at)


async def _answered(
    sender: Sender[Any, _Answer, Any], attempt: Attempt, window: Window
) -> tuple[_Answer, float]:
    """Send a request once, over as many connections as needed; return answer and departure."""
    ask = sender.request(attempt)
    never_sent: UnavailableError | None = None
    for n in range(limits().connect_attempts):
        if n:
            await asyncio.sleep(limits().look_pause_seconds * 2**n)
        if not window.is_open(time(), monotonic()):
            break
        departure = Departure(window.left_s(time(), monotonic()), has_place=window.has_place)
        begun = time()
        silence = asyncio.get_running_loop().call_later(
            limits().silent_seconds, _tell_silence, departure
        )
        try:
            return await ask(departure), departure.at or begun
        except UnavailableError as error:
            if not error.never_sent:
                # A server's own word that it has failed is final where no list shows more.
                if sender.by_store and error.ended:
                    raise
                raise UnclearError(error.message, departure.at or begun, error) from None
            if not departure.had_its_time:
                break  # other requests held it up
            never_sent = error
        finally:
            silence.cancel()
    if never_sent:
        raise never_sent
    raise LapsedError


def _tell_silence(departure: Departure) -> None:
    if departure.at is not None:
        log.warning(
            "The server has not answered the request yet; it has %g s. Nothing is sent twice.",
            departure.answer_s,
        )


async def to_its_end(reserved: Reserved, work: Coroutine[Any, Any, _T]) -> _T:
    """Do the work of a reservation in a task of its own, for which a cancelled caller waits."""
    token = reserved.owner.token
    task = asyncio.ensure_future(work)
    _under_way[token] = task
    task.add_done_callback(lambda _: _under_way.pop(token, None))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        until = monotonic() + limits().cancelled_record_seconds
        while not task.done() and (left := until - monotonic()) > 0:
            # Some cancel again and again until they are obeyed.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task}, timeout=left)
        task.add_done_callback(_heard)
        raise


def release(attempt: Attempt) -> None:
    """Release a reservation as soon as no request of it is under way."""
    task = _under_way.get(attempt.reserved.owner.token)
    if task:
        task.add_done_callback(lambda _: attempt.ledger.release(attempt.reserved))
    else:
        attempt.ledger.release(attempt.reserved)


def _heard(task: asyncio.Task[Any]) -> None:
    """Take note of how a task ended that nobody waits for any more."""
    if not task.cancelled() and (error := task.exception()):
        log.warning("A request whose caller was cancelled: %s", error)
