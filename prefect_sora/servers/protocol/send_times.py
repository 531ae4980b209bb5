"""Send times: when a request that costs money left, if it left at all; it never leaves late.

The HTTP library's errors do not tell this: a time-out may have come in the queue for a
connection, in a proxy's handshake, or after the whole request was read.
"""

import asyncio
from collections.abc import Mapping
from time import monotonic, time
from typing import Any

from prefect_sora.limits import limits


class TooLateError(Exception):
    """The request was about to leave, and others may by now believe that it never will."""


class Departure:
    """One request on its way out; give it as the `trace` of a request.

    Args:
        within_s: Seconds from now within which it may leave; None: `Limits.departure_seconds`.
        has_place: It already has a place among the requests under way, and waits for no others.

    Attributes:
        at: When it left, Unix seconds; None: it did not.
        answer_s: Seconds that its answer may take, once it has left.
        had_its_time: It was begun with half of its time left, so others did not hold it up.
    """

    def __init__(self, within_s: float | None = None, *, has_place: bool = False) -> None:
        self.at: float | None = None
        self.has_place = has_place
        self.had_its_time = False
        self._within_s = limits().departure_seconds if within_s is None else within_s
        self._since = time(), monotonic()
        self._limit: asyncio.Timeout | None = None
        self.answer_s = 0.0
        self._handed_over = self._heard = False

    @property
    def may_have_left(self) -> bool:
        """Whether it left, or may have: what traces HTTP in its place keeps its steps from it."""
        return self.at is not None or (self._handed_over and not self._heard)

    @property
    def left_s(self) -> float:
        """Seconds until it may no longer leave.

        Both clocks count: the date may be set back, and the monotonic clock may stand still
        while a machine sleeps.
        """
        by_date, by_time = self._since
        return self._within_s - max(time() - by_date, monotonic() - by_time)

    def limits(self, answer_s: float) -> asyncio.Timeout:
        """Bound the block that sends it: by the window, and once it has left, by `answer_s`."""
        self.answer_s = answer_s
        self._limit = asyncio.timeout(max(0.0, self.left_s))
        return self._limit

    def begin(self) -> None:
        """Take note that it need no longer wait for others."""
        self.had_its_time = self.left_s >= self._within_s / 2

    def hand_over(self) -> None:
        """Take note that the HTTP library has it from here on, and tells of each of its steps."""
        self._handed_over = True

    def refused(self) -> None:
        """Take note that the server refused it, unbegun: it may leave anew."""
        self.at = None
        if self._limit:
            self._limit.reschedule(asyncio.get_running_loop().time() + max(0.0, self.left_s))

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        """Hear of each step from httpcore2, in the task that makes it.

        Raises:
            TooLateError: The next step would be to send it.
        """
        self._heard = True
        if not event.endswith("send_request_headers.started"):
            return
        if info["request"].method == b"CONNECT":
            return  # it goes to a proxy, which learns the address alone
        if self.left_s <= 0:
            raise TooLateError
        if self._limit:
            self._limit.reschedule(asyncio.get_running_loop().time() + self.answer_s)
        self.at = time()
