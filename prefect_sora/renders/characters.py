"""Characters: a figure of a video that later prompts can name, made once and found again."""

import asyncio
import hashlib
from functools import partial
from pathlib import Path
from typing import Final

from prefect_sora.errors import InvalidRequestError, UnavailableError
from prefect_sora.handles import Character, StoredVideo
from prefect_sora.limits import limits
from prefect_sora.requests.files import binary
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.store.backends.concurrency import BYTES, start
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import read_record

MAX_NAME_CHARACTERS: Final = 80
"""OpenAI's openapi.yaml, `CreateVideoCharacterBody.name` (2026-08-21)."""


async def create_character(
    name: str, video: StoredVideo | Path | str, client: VideoClient, ledger: Ledger
) -> Character:
    """Make a character of a video, or find the one that was made of it under this name.

    The character is written down in the store. Only where the answer is lost and the call is
    repeated may the server hold it twice: no server lists its characters, and none is known
    to charge for them.

    Args:
        name: What prompts call it, 1 to 80 characters.
        video: A video that is kept in this store, or a file on this machine.
        client: The server that shall know it.
        ledger: The store's records.

    Raises:
        InvalidRequestError: No name, no such video, too large, or no characters there.
        ApiError: Refused.
        StorageError: The store refuses.
    """
    name = name.strip()
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS:
        raise InvalidRequestError(
            f"A character's name has 1 to {MAX_NAME_CHARACTERS} characters, not {len(name)}.",
            next_step="Choose another.",
        )
    server = client.server
    if not server.profile.characters:
        raise InvalidRequestError(
            f"The {server.profile.name} server {server.label} has no characters.",
            next_step="Describe them in the prompt, or use a server that has.",
        )
    data = await _read(video, ledger)
    digest = hashlib.sha256(data).hexdigest()
    made_of = hashlib.sha256("\n".join((server.identity, name, digest)).encode()).hexdigest()
    record = f".characters/{made_of[:32]}.json"
    standing = read_record(Character, await ledger.store.read(record), record)
    if standing:
        return standing
    try:
        character = await client.create_character(name, "character.mp4", data)
    except UnavailableError as error:
        error.advise("Run it again: should the server have it already, it holds it twice.")
        raise
    if not await ledger.store.create(record, character.model_dump_json(indent=1).encode()):
        # Another worker was faster: all use its character.
        return read_record(Character, await ledger.store.read(record), record) or character
    return character


async def _read(video: StoredVideo | Path | str, ledger: Ledger) -> bytes:
    try:
        if isinstance(video, StoredVideo):
            data = await start(BYTES, partial(_read_kept, ledger, f"{video.folder}/video.mp4"))
        else:
            data = await asyncio.to_thread(_read_file, Path(video).expanduser())
    except OSError as error:
        raise InvalidRequestError(
            f"The character's video cannot be read: {error.strerror or type(error).__name__}.",
            next_step="Name a video of this store, or an MP4 file.",
        ) from None
    most = limits().character_max_bytes
    if len(data) > most or data[4:8] != b"ftyp":
        raise InvalidRequestError(
            f"The character's video is larger than {binary(most)}."
            if len(data) > most
            else "The character's video is no MP4 file.",
            next_step="Give a short MP4 clip.",
        )
    return data


def _read_kept(ledger: Ledger, name: str) -> bytes:
    with ledger.store.open(name) as file:
        return file.read(limits().character_max_bytes + 1)


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(limits().character_max_bytes + 1)
