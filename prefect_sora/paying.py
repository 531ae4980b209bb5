"""Pay: what costs money is asked for once, by whoever, however often.

`reserve → send → record`, and after a crash or a lost answer `reconcile`: look for what
may have been accepted, and adopt it. One reservation sends at most one create. What is
done next, `deciding` says; here it is done, for videos and for pictures.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from random import random
from time import monotonic, time
from typing import Generic, TypeVar

from prefect_sora.attempts import is_busy, refuse
from prefect_sora.budgets import Budget
from prefect_sora.charging import Charges
from prefect_sora.courses import PassedOnError
from prefect_sora.deciding import (
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
from prefect_sora.errors import (
    Paid,
    SoraError,
    StorageError,
    UnavailableError,
    UncertainSubmitError,
)
from prefect_sora.errors.next_steps import NOTHING_SENT
from prefect_sora.ledger import Ledger
from prefect_sora.records import Failed, RenderState, Reserved
from prefect_sora.sending import LapsedError, Sender, UnclearError
from prefect_sora.shielding import release
from prefect_sora.windows import Window, send_seconds

log = logging.getLogger(__name__)

_T = TypeVar("_T")


@dataclass(frozen=True)
class _Made(Generic[_T]):
    """What was asked for."""

    made: _T


@dataclass(frozen=True)
class _Ended:
    """An attempt that is closed without a job, after which another may be made."""

    how: How
    why: SoraError | None = None
    slow_s: float = 0.0


async def made_once(sender: Sender[_T], ledger: Ledger, call: Call, budget: Budget | None) -> _T:
    """Have something made that costs money: found in the records, adopted, or paid for now.

    While it waits for a server that refuses for the moment its attempt stands as closed. Other
    machines may go on with the render at once, and lose no time where this one dies. Its charge
    stands, and its next attempt takes it over, if nobody has begun one between.

    Args:
        sender: How it is sent, and looked up.
        ledger: The store's records.
        call: What may be done.
        budget: What may be spent.

    Raises:
        SoraError: As `submitting.submit` says.
    """
    charges = Charges(sender.wish.folder, ledger, budget)
    before: RenderState | None = None
    try:
        while True:
            begun = monotonic()
            with _nothing_sent(call, "unknown"):
                state = await ledger.state(sender.wish.folder)
            call = replace(call, slow_s=max(call.slow_s, monotonic() - begun))
            held = state.reserved is not None and ledger.is_held(state.reserved)
            step = decide(
                state,
                call,
                fingerprint=sender.wish.fingerprint,
                held=held,
                seen_twice=state == before,
                by_store=sender.by_store,
                now=time(),
            )
            # What was seen while it was held may have been read before its owner's record.
            before, ended = None if held else state, None
            if isinstance(step, Have):
                return sender.had(state)
            if isinstance(step, PassOn):
                raise PassedOnError
            if isinstance(step, Stop):
                raise step.error
            if isinstance(step, Wait):
                call = replace(call, waits=call.waits + 1)
                await asyncio.sleep(step.seconds)
            elif isinstance(step, Settle):
                ended = await _settled(sender, ledger, state, call)
            elif isinstance(step, Reserve):
                ended = await _begun(sender, ledger, charges, state, step, call)
                call = replace(call, begun=call.begun + 1)
            if isinstance(ended, _Made):
                charges.settled()
                return ended.made
            if ended is not None:
                call = replace(call, slow_s=max(call.slow_s, ended.slow_s))
                spread = random()  # noqa: S311 - no secret
                call, go_on = after(call, ended.how, ended.why, now=time(), spread=spread)
                if isinstance(go_on, Stop):
                    raise go_on.error
                await asyncio.sleep(go_on.seconds)
    finally:
        await charges.let_go()


async def _begun(
    sender: Sender[_T],
    ledger: Ledger,
    charges: Charges,
    state: RenderState,
    step: Reserve,
    call: Call,
) -> _Made[_T] | _Ended | None:
    """Begin an attempt; None where another worker was quicker."""
    with _nothing_sent(call, "no" if state.name == "new" else "unknown"):
        await ledger.store.require_exclusive()  # before the stamp: it may take its time
    async with AsyncExitStack() as place:
        if not step.in_doubt:  # a search takes its time, and may send nothing
            await _have(place, sender, call)
        return await _reserved(sender, ledger, charges, state, step, call, place)


async def _have(place: AsyncExitStack, sender: Sender[_T], call: Call) -> None:
    """Wait for a place, before anything is stamped that would lapse meanwhile."""
    try:
        async with asyncio.timeout(max(0.0, call.deadline - time())):
            await place.enter_async_context(sender.place())
    except TimeoutError:
        raise call.why or too_late() from None


async def _reserved(
    sender: Sender[_T],
    ledger: Ledger,
    charges: Charges,
    state: RenderState,
    step: Reserve,
    call: Call,
    place: AsyncExitStack,
) -> _Made[_T] | _Ended | None:
    mine, doubt = sender.reservation(step.attempt, state, step.in_doubt)
    mine = mine.model_copy(update={"send_seconds": send_seconds(call.slow_s)})
    mine = charges.written(mine)
    window = Window.of(mine, has_place=not step.in_doubt)
    with _nothing_sent(call, "no" if state.name == "new" else "unknown"):
        won = await ledger.reserve(sender.wish.folder, mine)
    if not won:
        return None
    slow_s = monotonic() - window.begun
    try:
        if step.in_doubt and (made := await _recorded_late(sender, ledger, mine)) is not None:
            return _Made(made)
        if (made := await sender.found(mine, doubt)) is not None:
            return _Made(made)
        # The search may have taken minutes.
        if step.in_doubt and (made := await _recorded_late(sender, ledger, mine)) is not None:
            return _Made(made)
        begun = monotonic()
        try:
            await charges.make(mine, sender.charge)
        except SoraError as error:
            raise await refuse(error, mine, sender.wish.folder, ledger) from None
        slow_s += monotonic() - begun
        return _Made(await sender.send(mine, window))
    except LapsedError:
        nothing = UnavailableError("The reservation lapsed before the request was sent.")
        await refuse(nothing, mine, sender.wish.folder, ledger)
        charges.settled()
        return _Ended("lapsed", slow_s=slow_s)
    except UnclearError as unclear:
        await place.aclose()  # a search takes its time
        return await _unclear(sender, ledger, charges, mine, unclear, call)
    except UncertainSubmitError as error:
        charges.settled()
        return await _by_policy(error, mine.key, mine.attempt, sender, ledger, call)
    except SoraError as error:
        if is_busy(error):  # refused before any work, and closed, with its charge standing
            return _Ended("busy", error)
        charges.settled()
        if isinstance(error, StorageError) and error.key is None:
            error.about(paid="unknown")
        raise
    finally:
        release(mine, ledger)


async def _recorded_late(sender: Sender[_T], ledger: Ledger, mine: Reserved) -> _T | None:
    """Look once more, now that nobody else begins: its owner may have recorded the outcome."""
    state = await ledger.state(sender.wish.folder)
    if not (state.is_kept or state.is_on_its_way):
        return None
    nothing = UnavailableError("Another attempt of this render was accepted; nothing was sent.")
    await refuse(nothing, mine, sender.wish.folder, ledger)
    return sender.had(state)


async def _unclear(
    sender: Sender[_T],
    ledger: Ledger,
    charges: Charges,
    mine: Reserved,
    unclear: UnclearError,
    call: Call,
) -> _Made[_T] | _Ended:
    """Look for what was sent and not clearly answered; close it where it is shown to be none."""
    why = unclear.why
    log.warning("No clear answer to the create request: %s", unclear)
    try:
        made = await sender.looked_up(mine, unclear)
    except UncertainSubmitError as error:
        charges.settled()
        if unclear.is_taken:
            raise
        return await _by_policy(error, mine.key, mine.attempt, sender, ledger, call)
    except StorageError as error:
        charges.settled()
        if error.key is None:
            error.about(paid="unknown")
        raise
    if made is not None:
        return _Made(made)
    shown = why or UnavailableError(str(unclear))
    closed = await refuse(shown, mine, sender.wish.folder, ledger, keep_charge=is_busy(shown))
    if is_busy(shown):
        return _Ended("busy", closed)
    charges.settled()
    return _Ended("unmade", closed)


async def _settled(
    sender: Sender[_T], ledger: Ledger, state: RenderState, call: Call
) -> _Made[_T] | _Ended:
    """Resolve in the store what was in doubt before."""
    try:
        return _Made(await sender.in_store(state))
    except UncertainSubmitError as error:
        return await _by_policy(error, state.key, state.attempt, sender, ledger, call)
    except StorageError as error:
        error.about(paid="unknown")
        raise


async def _by_policy(
    error: UncertainSubmitError,
    key: str,
    attempt: int,
    sender: Sender[_T],
    ledger: Ledger,
    call: Call,
) -> _Ended:
    """Stop for a person, or close the attempt as paid for nothing."""
    if call.policy == "stop":
        raise error
    log.warning("Render %s is in doubt; paying again, as the policy says.", key)
    await ledger.fail(
        sender.wish.folder,
        Failed(
            key=key,
            attempt=attempt,
            at=time(),
            kind="failed",
            message=f"Paid for again, as the policy says. {error.message}",
            paid="unknown",
        ),
    )
    return _Ended("paid again", error)


@contextmanager
def _nothing_sent(call: Call, paid: Paid) -> Iterator[None]:
    """Say of a store that fails what this means for the money."""
    try:
        yield
    except StorageError as error:
        error.about(paid=paid)
        if not call.begun and NOTHING_SENT not in error.steps:
            error.advise(NOTHING_SENT, *error.steps)
        raise
