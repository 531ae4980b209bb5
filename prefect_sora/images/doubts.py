"""Doubts: what is in the store of an image render whose record is missing, and what is not."""

from prefect_sora.attempts import Attempt
from prefect_sora.client import VideoClient
from prefect_sora.errors import UncertainSubmitError
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.handles import StoredImage
from prefect_sora.images.keeping import keep, left_whole
from prefect_sora.ledger import Ledger
from prefect_sora.records import RenderState


async def bring_home(state: RenderState, client: VideoClient, ledger: Ledger) -> StoredImage | None:
    """Find the pictures that stand in the store, recorded or not; nothing is sent.

    Raises:
        StorageError: The store cannot be read.
    """
    if state.pictures:
        return state.pictures.image
    if state.reserved is None or state.failed:
        return None
    attempt = Attempt(state.reserved, state.folder, client, ledger)
    pictures = await left_whole(attempt)
    return await keep(pictures, attempt) if pictures else None


def uncertain(key: str, why: str = "Its worker is gone.") -> UncertainSubmitError:
    """Say that a person has to decide: image servers keep no list of what they made."""
    return UncertainSubmitError(
        f"The request for this picture was sent, and its answer is lost. {why} A server keeps no "
        "list of its pictures, so nobody can tell whether it was made.",
        key=key,
        paid="unknown",
        next_step=(NextStep("resubmit"), 'in_doubt="resubmit" does so by itself.'),
    )
