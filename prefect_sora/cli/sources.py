"""Sources: the finished video that a command starts from, as its words name it."""

import re
from typing import Final

from prefect_sora.errors import InvalidRequestError
from prefect_sora.handles import StoredVideo
from prefect_sora.identity import KEY_DIGITS
from prefect_sora.ledger import Ledger
from prefect_sora.storage import VideoFolder

_KEY: Final = re.compile(rf"[0-9a-f]{{{KEY_DIGITS}}}")


async def find_source(word: str, store: str) -> tuple[str, StoredVideo | None]:
    """Tell the server's id of a video, and its clip where the store has it.

    Args:
        word: The server's id, or the key of a render that the store has kept.
        store: Where it may be kept.

    Raises:
        InvalidRequestError: A key of a render that is not kept.
        StorageError: The store cannot be read.
    """
    if not _KEY.fullmatch(word):
        return word, None
    ledger = Ledger(VideoFolder(store))
    for folder in await ledger.find(word):
        if stored := await ledger.stored(folder):
            return stored.video.video_id, stored.video
    raise InvalidRequestError(
        f"The store {store} keeps no render {word}.",
        next_step="Name a kept render's key, or the server's id of a video; nothing was sent.",
    )
