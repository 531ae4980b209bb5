"""Fallback: a request is made by the first of several servers that makes it, and by no other.

What was or may have been accepted or kept is found before anything is sent, from the records
alone. For that no server has to answer, and no picture has to be unchanged. A request's course
says which render the request stands for: all workers follow the newest turn in it.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from prefect_sora.errors import (
    InvalidRequestError,
    Paid,
    ReferenceImageError,
    RenderFailedError,
    SoraError,
)
from prefect_sora.handles import VideoJob
from prefect_sora.limits import limits
from prefect_sora.renders.submit.candidates import Asked, Way, may_pass_on
from prefect_sora.renders.submit.pay import made_once, settled
from prefect_sora.renders.submit.send import Prepared
from prefect_sora.servers.server import Server
from prefect_sora.store.identity import key_of
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import RenderState
from prefect_sora.store.server_turns import Course, PassedOnError, Turn, pass_on

log = logging.getLogger(__name__)

_Prepared = TypeVar("_Prepared", bound=Prepared)
_Made = TypeVar("_Made")


async def on_the_first(ways: Sequence[Way], asked: Asked[Any, _Prepared, _Made]) -> _Made:
    """Have something made by the first server; by the next only where that one certainly has not.

    An attempt that is closed unsent records that a server has not made it. So no other worker can
    have it accepted there after all, and a later run goes straight to the server that it went to.

    Args:
        ways: The servers, the preferred first.
        asked: What is to be made.

    Raises:
        SoraError: What the last server said, or the first that may have made it.
    """
    missing: ReferenceImageError | None = None
    try:
        await asked.load()
    except ReferenceImageError as error:
        if not asked.at_url:
            raise
        missing = error
    if len(ways) == 1 and not asked.at_url:
        client = await ways[0].connect()
        prepared = asked.prepared(client.server, asked.inputs_sha256)
        return await made_once(asked.sender(asked.checked(prepared, client.server), client))
    return await _Passing(ways, asked, missing).run()


async def pass_on_failed(
    error: RenderFailedError, job: VideoJob, last: str, ledger: Ledger
) -> None:
    """Pass a failed job on to the next server of a list.

    Args:
        error: How it failed.
        job: The job.
        last: The label of the last server of the list, where passing on ends.
        ledger: The store's records.

    Raises:
        RenderFailedError: It must not be passed on.
    """
    if job.provider == last or not may_pass_on(error) or not await pass_on(job.folder, ledger):
        raise error


class _Passing(Generic[_Prepared, _Made]):
    """One call's way along a request's course."""

    def __init__(
        self,
        ways: Sequence[Way],
        asked: Asked[Any, _Prepared, _Made],
        missing: ReferenceImageError | None,
    ) -> None:
        self.ways, self.asked, self.missing = ways, asked, missing
        self.ledger = asked.ledger
        only = ways[0].server.identity if len(ways) == 1 else None
        self.course = Course.of(asked.ledger, asked.as_written(), asked.options.scope, only)
        self.tried: list[str] = []
        self.begun_anew = 0

    async def run(self) -> _Made:
        turn = await self.course.newest()
        older = turn.number if turn else 0
        patience = limits().passing_looks
        while True:
            if turn is None:
                await self._begin()
            else:
                way = self._way_of(turn)
                same = self.missing is None and turn.inputs_sha256 == self.asked.inputs_sha256
                state = await self.ledger.state(turn.folder)
                if way is None:
                    _refuse_what_is_elsewhere(turn, state)
                if (made := self.asked.found(state)) is not None:
                    self._tell_of_the_picture(same)
                    return made
                if way and same:
                    if made := await self._ask(turn, way):
                        return made
                elif (
                    state.reserved
                    and state.name == "reserved"
                    and self.ledger.is_held(state.reserved)
                ):
                    await asyncio.sleep(limits().passing_look_seconds)  # its worker will know
                elif way and state.name == "reserved":
                    if (made := await self._settled(state, way, turn.inputs_sha256)) is not None:
                        self._tell_of_the_picture(same)
                        return made
                elif self.missing is not None:
                    raise self.missing
                elif turn.number > older and state.name == "new" and patience:
                    # Its worker has just begun: to take it away would begin a tug of war.
                    patience -= 1
                    await asyncio.sleep(limits().passing_look_seconds)
                else:
                    await self._change(turn)
            turn = await self.course.newest()

    async def _begin(self) -> None:
        """Write the first turn: the server that records older than courses name, or the first."""
        if self.missing is not None:
            raise self.missing
        states = []
        if len(self.ways) > 1:
            folders = [self._prepared(way, self.asked.inputs_sha256).folder for way in self.ways]
            states = list(await asyncio.gather(*(self.ledger.state(f) for f in folders)))
        doubts = [n for n, state in enumerate(states) if state.name == "reserved"]
        for n in doubts if len(doubts) > 1 else ():
            # Two may have accepted it: nothing more is sent before it is known of both.
            await self._settled(states[n], self.ways[n], self.asked.inputs_sha256)
            states[n] = await self.ledger.state(states[n].folder)
        ranked = sorted(range(len(states)), key=lambda n: _rank(states[n]))
        first = ranked[0] if ranked else 0
        if states and all(state.passed_on for state in states):
            first = len(states) - 1  # where it was passed on to
        await self._turn_to(self.ways[first])

    async def _ask(self, turn: Turn, way: Way) -> _Made | None:
        """Ask a turn's server; None where the course goes on."""
        error: SoraError | None = None
        try:
            client = await way.connect()
            prepared = self.asked.checked(self._prepared(way, turn.inputs_sha256), client.server)
            sender = self.asked.sender(prepared, client)
            return await made_once(sender, passed_on_after=turn.after)
        except PassedOnError:
            pass
        except SoraError as refused:
            if not may_pass_on(refused) or self._next(way) is None:
                raise
            error = refused
        following = self._next(way)
        if error is not None and not await self._closed(turn, way):
            # Another worker has begun a new attempt there: what comes of it counts.
            self.begun_anew += 1
            if self.begun_anew < limits().passing_turns:
                return None
            if (await self.ledger.state(turn.folder)).name == "reserved":
                error.about(paid="unknown")  # of an earlier attempt
            raise error
        if error is not None:
            log.warning("Passed on to the next provider: %s", error.message)
        self.tried.append(turn.server)
        await self._turn_to(following or way)
        return None

    async def _settled(
        self, state: RenderState, way: Way, inputs_sha256: str | None
    ) -> _Made | None:
        """Find out what became of a render in doubt; None where another may be begun."""
        prepared = self._prepared(way, inputs_sha256)
        return await settled(self.asked.sender(prepared, await way.connect()), state)

    async def _change(self, turn: Turn) -> None:
        """Close a render with another picture, or at a server not on this list; begin this one."""
        way = self._way_of(turn)
        why = "Its picture has changed, and nothing had been accepted of it."
        if await self._closed(turn, way, whatever_paid=way is not None, why=why):
            await self._turn_to(way or self.ways[0])

    async def _closed(self, turn: Turn, way: Way | None, **how: Any) -> bool:
        there = way.server if way else Server("", turn.server, turn.label)
        unsent = self.asked.unsent(self.asked.prepared(there, turn.inputs_sha256), there)
        return await pass_on(turn.folder, self.ledger, unsent=unsent, **how)

    async def _turn_to(self, way: Way) -> None:
        prepared = self._prepared(way, self.asked.inputs_sha256)
        state = await self.ledger.state(prepared.folder)
        await self.course.turn_to(
            prepared.folder,
            way.server.identity,
            way.server.label,
            self.asked.inputs_sha256,
            state.next_attempt - 1,
        )

    def _prepared(self, way: Way, inputs_sha256: str | None) -> _Prepared:
        return self.asked.prepared(way.server, inputs_sha256)

    def _way_of(self, turn: Turn) -> Way | None:
        return next((way for way in self.ways if way.server.identity == turn.server), None)

    def _next(self, way: Way) -> Way | None:
        """The next server that this call has not asked; after the last comes the first."""
        here = self.ways.index(way)
        others = (*self.ways[here + 1 :], *self.ways[:here])
        return next((o for o in others if o.server.identity not in self.tried), None)

    def _tell_of_the_picture(self, same: bool) -> None:
        if self.missing is not None:
            log.warning("%s What was begun with it is continued.", self.missing.message)
        elif not same:
            log.warning(
                "A picture at a URL has changed since this render was begun. What was begun is "
                "continued; to render the new picture, name another take or scope."
            )


def _rank(state: RenderState) -> int:
    if state.is_kept:
        return 0
    if state.is_on_its_way:
        return 1
    return 2 if state.name == "reserved" else 4 if state.passed_on else 3


def _refuse_what_is_elsewhere(turn: Turn, state: RenderState) -> None:
    """Stop where a server that is not on this list has made it, or may have."""
    paid: Paid = "yes" if state.is_kept or state.is_on_its_way else "unknown"
    if state.failed:
        paid = state.failed.paid
    if paid != "no" and state.name != "new":
        raise InvalidRequestError(
            f"It was sent to {turn.label}, which is none of the providers given.",
            key=key_of(turn.folder),
            paid=paid,
            next_step="Nothing was sent this time. Add that server to the list, or name another "
            "take or scope to render it anew.",
        )
