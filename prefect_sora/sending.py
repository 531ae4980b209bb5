"""Send: one create request, and what came of it written down before anything else can happen.

Nothing that ends the caller may come between the answer and its record, so both
run in a task of their own, which a cancelled caller still waits for.
"""

import asyncio
import logging
from functools import partial
from time import time
from typing import Final

from prefect_sora.attempts import accept, recorded, refuse
from prefect_sora.client import VideoClient
from prefect_sora.errors import SoraError, UnavailableError
from prefect_sora.handles import VideoJob
from prefect_sora.ledger import TORN, Ledger
from prefect_sora.matching import Doubt
from prefect_sora.profiles import Profile
from prefect_sora.records import RenderState, Reserved
from prefect_sora.shielding import to_its_end
from prefect_sora.transport import CONNECT_TIMEOUT_SECONDS
from prefect_sora.wire import Video
from prefect_sora.wishes import Wish

log = logging.getLogger(__name__)

CONNECT_ATTEMPTS: Final = 4
"""How often a create that never left is tried: over about four seconds. Ours."""

SEND_SECONDS: Final = 5.0 + CONNECT_TIMEOUT_SECONDS
"""How long after its reservation a create may leave at the latest: what bounds when a dead
worker's create can be accepted. Later needs another reservation. Ours."""


class LapsedError(Exception):
    """Nothing was sent: others may by now believe that nothing will be."""


class UnclearError(Exception):
    """A create was sent, and its answer does not say what became of it.

    Attributes:
        why: What came in place of an answer; None where another render holds the id.
        sent_at: When the request left, Unix seconds.
    """

    def __init__(self, message: str, sent_at: float, why: UnavailableError | None = None) -> None:
        super().__init__(message)
        self.sent_at, self.why = sent_at, why


def doubt_of(state: RenderState, profile: Profile) -> Doubt:
    """When a reservation's worker, who is gone, may have had its create accepted."""
    if state.reserved is None:  # torn: it may be of any age, and its worker may live
        return Doubt(0.0, time() + SEND_SECONDS + profile.longest_create_s)
    sent_until = min(state.reserved.at + SEND_SECONDS, time())
    return Doubt(state.reserved.in_doubt_since, sent_until + profile.longest_create_s)


async def send(wish: Wish, mine: Reserved, client: VideoClient, ledger: Ledger) -> VideoJob:
    """Send the create request of a reservation, and record its outcome.

    Raises:
        LapsedError: The reservation is too old to send anything under it.
        UnclearError: Sent, and nothing is known; the reservation stands for that.
        ApiError: Refused or never sent; the attempt is closed.
        StorageError: Accepted, and the store would not take the id, which the error names.
    """
    return await to_its_end(mine, _send(wish, mine, client, ledger))


async def _send(wish: Wish, mine: Reserved, client: VideoClient, ledger: Ledger) -> VideoJob:
    try:
        video, sent_at = await _connected(wish, mine, client)
    except SoraError as error:
        await refuse(error, mine, wish.folder, ledger)
        raise
    claim = partial(ledger.claim, client.server.identity, video.id, mine.key)
    holder = await recorded(claim, video.id, mine.key)
    # A claim that cannot be read is most likely ours, torn: the id is as new as our answer.
    if holder not in (mine.key, TORN):
        raise UnclearError(
            f"The server answered with video {video.id}, which render {holder} of this store "
            "took for its own while it was in doubt.",
            sent_at,
        )
    return await accept(mine, wish.folder, video, client.server, ledger, adopted=False)


async def _connected(wish: Wish, mine: Reserved, client: VideoClient) -> tuple[Video, float]:
    """Send the request once, over as many connections as that takes."""
    refused: UnavailableError | None = None
    for n in range(CONNECT_ATTEMPTS):
        if n:
            await asyncio.sleep(0.25 * 2**n)
        sent_at = time()
        if sent_at > mine.at + SEND_SECONDS - CONNECT_TIMEOUT_SECONDS:
            break
        try:
            key = f"{wish.fingerprint}-{mine.attempt}"
            return await client.submit(wish.request, wish.reference, key), sent_at
        except UnavailableError as error:
            if not error.never_sent:
                raise UnclearError(error.message, sent_at, error) from None
            refused = error
    if refused:
        raise refused
    raise LapsedError
