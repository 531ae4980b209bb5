"""Pay: what costs money is asked for once, whoever calls and however often.

`reserve → send → record`, and after a crash or a lost answer `reconcile`: look for what may have
been accepted, and adopt it. One reservation sends at most one create. `decide` says what is
done next; here it is done, for videos and for pictures.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from random import random
from time import monotonic, time
from typing import Any, Generic, TypeVar

from prefect_sora.errors import (
    Paid,
    SoraError,
    StorageError,
    UnavailableError,
    UncertainSubmitError,
)
from prefect_sora.errors.next_steps import NOTHING_SENT
from prefect_sora.limits import limits
from prefect_sora.renders.submit.attempt import Attempt, is_busy
from prefect_sora.renders.submit.budget_charges import Charges
from prefect_sora.renders.submit.decide import (
    Call,
    Have,
    How,
    PassOn,
    Reserve,
    Settle,
    Stop,
    Wait,
    after,
    decide,
    too_late,
)
from prefect_sora.renders.submit.send import LapsedError, Sender, UnclearError, release, send
from prefect_sora.renders.submit.send_window import Window, send_seconds
from prefect_sora.store.records import RenderState
from prefect_sora.store.server_turns import PassedOnError

log = logging.getLogger(__name__)

_T = TypeVar("_T")


@dataclass(frozen=True)
class _Ended:
    """An attempt that is closed without a job, after which another may be made."""

    how: How
    why: SoraError | None = None
    slow_s: float = 0.0


async def made_once(sender: Sender[Any, Any, _T], *, passed_on_after: int | None = None) -> _T:
    """Have something made that costs money: found in the records, adopted, or paid for now.

    While the call waits for a server that refuses for the moment, its attempt is closed. So other
    machines may go on with the render at once, and lose no time where this one dies. The charge
    stands, and the call's next attempt takes it over, if nobody has begun one between.

    Args:
        sender: What is asked for, of whom, and under which options.
        passed_on_after: Send nothing where the render was passed on in a later attempt than this.

    Raises:
        PassedOnError: It was passed on.
        SoraError: As `submit.submit` says.
    """
    prepared, options = sender.prepared, sender.options
    for warning in prepared.warnings:
        log.warning("%s", warning)
    with sender.ledger.about(prepared.key):
        budget = options.budget
        if budget and (not budget.has_limits or sender.is_free()):
            budget = None
        charges = Charges(prepared.folder, sender.ledger, budget)
        call = Call(time() + sender.timeout_seconds, options.in_doubt, passed_on_after)
        try:
            return await _Making(sender, charges, call).run()
        finally:
            await charges.let_go()


async def settled(sender: Sender[Any, Any, _T], state: RenderState) -> _T | None:
    """Find out what became of a render in doubt, and send nothing.

    Returns:
        What was made; None where nothing was, or where the policy pays again.

    Raises:
        UncertainSubmitError: Nobody can tell, and a person is to decide.
    """
    with sender.ledger.about(state.key):
        try:
            return await sender.settle(state)
        except UncertainSubmitError as error:
            if sender.options.in_doubt == "stop":
                raise
            now = await sender.ledger.state(state.folder)
            await sender.write_off(now.newest, error)
    return None


class _Making(Generic[_T]):
    """One call's attempts at a render."""

    def __init__(self, sender: Sender[Any, Any, _T], charges: Charges, call: Call) -> None:
        self.sender, self.charges, self.call = sender, charges, call
        self.ledger, self.prepared = sender.ledger, sender.prepared

    async def run(self) -> _T:
        before: RenderState | None = None
        while True:
            begun = monotonic()
            with self._nothing_sent("unknown"):
                state = await self.ledger.state(self.prepared.folder)
            self._took(monotonic() - begun)
            held = state.reserved is not None and self.ledger.is_held(state.reserved)
            step = decide(
                state,
                self.call,
                fingerprint=self.prepared.fingerprint,
                held=held,
                seen_twice=state == before,
                by_store=self.sender.by_store,
                now=time(),
            )
            # A look while another worker held it may have come before that worker's record.
            before = None if held else state
            outcome: _T | _Ended | None = None
            if isinstance(step, Have):
                return self.sender.had(state)
            if isinstance(step, PassOn):
                raise PassedOnError
            if isinstance(step, Stop):
                raise step.error
            if isinstance(step, Wait):
                self.call = replace(self.call, waits=self.call.waits + 1)
                await asyncio.sleep(step.seconds)
            elif isinstance(step, Settle):
                outcome = await self._settled(state)
            elif isinstance(step, Reserve):
                if not step.in_doubt:
                    self.sender.check()
                outcome = await self._begun(state, step)
                self.call = replace(self.call, begun=self.call.begun + 1)
            if isinstance(outcome, _Ended):
                await self._pause(outcome)
            elif outcome is not None:
                self.charges.settled()
                return outcome

    async def _pause(self, ended: _Ended) -> None:
        """Leave the server alone for a while, or end the call."""
        self._took(ended.slow_s)
        spread = random()  # noqa: S311 - no secret
        self.call, go_on = after(self.call, ended.how, ended.why, now=time(), spread=spread)
        if isinstance(go_on, Stop):
            raise go_on.error
        await asyncio.sleep(go_on.seconds)

    def _took(self, seconds: float) -> None:
        self.call = replace(self.call, slow_s=max(self.call.slow_s, seconds))

    async def _begun(self, state: RenderState, step: Reserve) -> _T | _Ended | None:
        """Begin an attempt; None where another worker was quicker."""
        with self._nothing_sent("no" if state.name == "new" else "unknown"):
            await self.ledger.store.require_exclusive()  # before the stamp: it may take its time
        async with AsyncExitStack() as place:
            if not step.in_doubt:  # a search takes its time, and may send nothing
                await self._have(place)
            return await self._reserved(state, step, place)

    async def _have(self, place: AsyncExitStack) -> None:
        """Wait for a place before a reservation is stamped, which would lapse meanwhile."""
        try:
            async with asyncio.timeout(max(0.0, self.call.deadline - time())):
                await place.enter_async_context(self.sender.client.place())
        except TimeoutError:
            raise self.call.why or too_late() from None

    async def _reserved(
        self, state: RenderState, step: Reserve, place: AsyncExitStack
    ) -> _T | _Ended | None:
        sender, charges = self.sender, self.charges
        reserved, doubt = sender.reservation(step.attempt, state, step.in_doubt)
        said = {
            "send_seconds": send_seconds(self.call.slow_s),
            "lease_seconds": reserved.lease_seconds or limits().lease_seconds,
        }
        reserved = reserved.model_copy(update=said)
        attempt = sender.attempt(charges.written(reserved))
        window = Window.of(attempt.reserved, has_place=not step.in_doubt)
        with self._nothing_sent("no" if state.name == "new" else "unknown"):
            won = await self.ledger.reserve(attempt.folder, attempt.reserved)
        if not won:
            return None
        slow_s = monotonic() - window.begun
        try:
            if step.in_doubt and (made := await self._recorded_late(attempt)) is not None:
                return made
            if (made := await sender.found(attempt, doubt)) is not None:
                return made
            # The search may have taken minutes.
            if step.in_doubt and (made := await self._recorded_late(attempt)) is not None:
                return made
            begun = monotonic()
            try:
                await charges.make(attempt, sender.charge)
            except SoraError as error:
                raise await attempt.refuse(error) from None
            slow_s += monotonic() - begun
            return await send(sender, attempt, window)
        except LapsedError:
            nothing = UnavailableError("The reservation lapsed before the request was sent.")
            await attempt.refuse(nothing)
            charges.settled()
            return _Ended("lapsed", slow_s=slow_s)
        except UnclearError as unclear:
            await place.aclose()  # a search takes its time
            return await self._unclear(attempt, unclear)
        except UncertainSubmitError as error:
            charges.settled()
            return await self._by_policy(error, attempt.number)
        except SoraError as error:
            if is_busy(error):  # refused before any work, and closed, with its charge standing
                return _Ended("busy", error)
            charges.settled()
            if isinstance(error, StorageError) and error.key is None:
                error.about(paid="unknown")
            raise
        finally:
            release(attempt)

    async def _recorded_late(self, attempt: Attempt) -> _T | None:
        """Look once more, now that nobody else begins: its owner may have recorded the outcome."""
        state = await self.ledger.state(attempt.folder)
        if not (state.is_kept or state.is_on_its_way):
            return None
        await attempt.refuse(
            UnavailableError("Another attempt of this render was accepted; nothing was sent.")
        )
        return self.sender.had(state)

    async def _unclear(self, attempt: Attempt, unclear: UnclearError) -> _T | _Ended:
        """Look for what was sent and not clearly answered; close it where there is none."""
        if unclear.is_taken:
            log.warning("The answer to the create request names another render's video.")
        else:
            log.warning("No clear answer to the create request: %s", unclear)
        try:
            made = await self.sender.looked_up(attempt, unclear)
        except UncertainSubmitError as error:
            self.charges.settled()
            if unclear.is_taken:
                raise
            return await self._by_policy(error, attempt.number)
        except StorageError as error:
            self.charges.settled()
            if error.key is None:
                error.about(paid="unknown")
            raise
        if made is not None:
            return made
        shown = unclear.why or UnavailableError(str(unclear))
        closed = await attempt.refuse(shown, keep_charge=is_busy(shown))
        if is_busy(shown):
            return _Ended("busy", closed)
        self.charges.settled()
        return _Ended("unmade", closed)

    async def _settled(self, state: RenderState) -> _T | _Ended | None:
        """Resolve in the store what was in doubt before."""
        try:
            return await self.sender.settle(state)
        except UncertainSubmitError as error:
            return await self._by_policy(error, state.attempt)
        except StorageError as error:
            error.about(paid="unknown")
            raise

    async def _by_policy(self, error: UncertainSubmitError, number: int) -> _Ended:
        """Stop for a person, or close the attempt as paid for nothing."""
        if self.call.policy == "stop":
            raise error
        await self.sender.write_off(number, error)
        return _Ended("paid again", error)

    @contextmanager
    def _nothing_sent(self, paid: Paid) -> Iterator[None]:
        """Add to a store's error what the failure means for the money."""
        try:
            yield
        except StorageError as error:
            error.about(paid=paid)
            if not self.call.begun and NOTHING_SENT not in error.steps:
                error.advise(NOTHING_SENT, *error.steps)
            raise
