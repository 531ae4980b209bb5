"""Film: kept clips become one film in the store, once, and the list of its cuts is its record.

```text
<store>/films/<words-of-the-title>-<key>/
    film.mp4             whole, or not there
    contact_sheet.jpg    a picture of each shot
    cut_list.json        written last: where it stands, the film is kept
```

The key follows from title, shots and the clips' hashes: the same clips make the same film,
and a run that is repeated finds it. A clip's last frame is kept beside the clip, so that a shot
which starts from it is the same render whenever it is asked for.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field

from prefect_sora.errors import CorruptVideoError, JoinError
from prefect_sora.handles import StoredVideo, UrlOf
from prefect_sora.limits import limits
from prefect_sora.media.drawing import last_frame
from prefect_sora.media.join import (
    Film,
    contact_sheet,
    join,
)
from prefect_sora.media.mp4 import Mp4Scanner
from prefect_sora.renders.film.audio import audio_of, lay
from prefect_sora.requests import files
from prefect_sora.requests.storyboard import Audio
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.backends.concurrency import pieces, to_its_end
from prefect_sora.store.backends.filesystems import on_disk
from prefect_sora.store.identity import KEY_DIGITS, title_slug
from prefect_sora.store.records import SCHEMA, read_record

log = logging.getLogger(__name__)

FOLDER: Final = "films"
LAST_FRAME: Final = "last_frame.png"
CUT_LIST: Final = "cut_list.json"
CONTACT_SHEET: Final = "contact_sheet.jpg"


class Cut(BaseModel):
    """One shot as the film shows it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    number: int = Field(description="Which shot of the storyboard, from 1.")
    title: str
    prompt: str = Field(description="What was sent.")
    take: int = Field(description="The take that the film shows.")
    takes: int = Field(description="How many were asked for.")
    continuity: str = Field(description="last_frame, keyframe, or cut.")
    key: str = Field(description="The render's key.")
    video_id: str
    provider: str
    folder: str = Field(description="The render's folder below the store's root.")
    url: str = Field(description="The clip in the store.")
    sha256: str = Field(description="Of the clip.")
    first_frame: int = Field(default=0, description="Its first frame in the film, from 0.")
    frames: int = Field(default=0, description="How many frames of the film it is.")
    starts_at: float = Field(default=0.0, description="Seconds from the film's beginning.")
    ends_at: float = Field(default=0.0, description="The same.")


class StoredFilm(BaseModel):
    """A film that is kept: a small handle, as `StoredVideo` is one of a clip."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str = Field(description="12 hex digits, from its title and clips.")
    folder: str = Field(description="Its folder below the store's root.")
    title: str
    url: str = Field(description="The film's URL in the store.")
    sha256: str
    size_bytes: int
    width: int = Field(description="Pixels.")
    height: int = Field(description="Pixels.")
    duration_seconds: float
    frames: int
    frames_per_second: float
    shots: int
    copied_picture: bool = Field(description="Whether no picture was encoded anew.")
    copied_sound: bool | None = Field(description="The same of sound; None where there is none.")
    audio: str | None = Field(
        default=None, description="Where its sound is from; None: its clips' own."
    )
    cost_usd: float | None = Field(
        default=None, description="Of all takes together; None where one is not known."
    )
    actual_usd: float | None = Field(
        default=None,
        description="The same by the servers' word; None where one of them does not say.",
    )
    cut_list_url: str
    contact_sheet_url: str
    created_at: float = Field(description="When it was kept, Unix seconds.")


class CutList(BaseModel):
    """The film and its cuts, as `cut_list.json` holds them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: int = SCHEMA
    film: StoredFilm
    cuts: tuple[Cut, ...]

    def placed(self, folder: str, url_of: UrlOf) -> Self:
        """The same film in a folder of a store, wherever that was when it was kept."""
        names = {"url": "film.mp4", "cut_list_url": CUT_LIST, "contact_sheet_url": CONTACT_SHEET}
        film = {"folder": folder, **{key: url_of(f"{folder}/{n}") for key, n in names.items()}}
        cuts = (
            cut.model_copy(update={"url": url_of(f"{cut.folder}/video.mp4")}) for cut in self.cuts
        )
        return self.model_copy(
            update={"film": self.film.model_copy(update=film), "cuts": tuple(cuts)}
        )


async def read_film(folder: str, store: VideoFolder) -> CutList | None:
    """Read the film that is kept in a folder of the store; None where it is not whole.

    Raises:
        StorageError: The store cannot be read, or a later version wrote it.
    """
    name = f"{folder}/{CUT_LIST}"
    standing = read_record(CutList, await store.read(name), name)
    if standing is None or "film.mp4" not in await store.names(folder):
        return None
    return standing.placed(folder, store.url)


async def last_frame_of(video: StoredVideo, store: VideoFolder) -> str:
    """Keep the last frame of a clip beside it, and return its path or URL.

    It is written once and never again, because its bytes are part of the next shot's key.

    Raises:
        CorruptVideoError: The clip cannot be decoded.
        StorageError: The store refuses.
    """
    name = f"{video.folder}/{LAST_FRAME}"

    def drawn() -> bytes:
        with store.open(f"{video.folder}/video.mp4") as file:
            return last_frame(file)

    if LAST_FRAME not in await store.names(video.folder):
        await store.create(name, await to_its_end(drawn))
    url = store.url(name)
    return on_disk(url) or url


async def keep_film(
    title: str,
    cuts: Sequence[Cut],
    store: VideoFolder,
    cost_usd: float | None = None,
    audio: Audio | None = None,
    actual_usd: float | None = None,
) -> CutList:
    """Join the clips into a film and keep it; one that is kept already is returned as it stands.

    Args:
        title: The film's.
        cuts: What it shows, in order; their times are filled in here.
        store: Holds the clips, and the film.
        cost_usd: What all of it has cost, by the servers' prices.
        audio: Its sound, in place of the clips' own.
        actual_usd: What it has cost by the servers' word.

    Raises:
        InvalidRequestError: The audio cannot be read; the clips are kept.
        JoinError: Clips cannot be joined; it says which.
        StorageError: The store refuses. Run it again: no clip is paid for anew.
    """
    sound = await audio_of(audio, store)
    key = _key(title, cuts, audio, sound)
    slug = title_slug(title)
    folder = f"{FOLDER}/{slug}-{key}" if slug else f"{FOLDER}/{key}"
    if standing := await read_film(folder, store):
        return standing
    with TemporaryDirectory(prefix="prefect-sora-", ignore_cleanup_errors=True) as scratch:
        path = Path(scratch) / "joined.mp4"
        try:
            film, sheet = await to_its_end(lambda: _made(cuts, store, path))
            if audio and sound is not None:
                joined, path = path, path.with_name("film.mp4")
                await to_its_end(partial(lay, joined, path, audio, sound))
        except JoinError as error:
            raise error.about(paid="yes") from None
        written = await store.write(
            f"{folder}/film.mp4",
            pieces(VideoFolder(scratch).open(path.name)),
            expected_bytes=path.stat().st_size,
            check=Mp4Scanner(),
        )
    await store.put(f"{folder}/{CONTACT_SHEET}", sheet)
    kept = CutList(
        film=StoredFilm(
            key=key,
            folder=folder,
            title=title,
            url=written.url,
            sha256=written.sha256,
            size_bytes=written.size_bytes,
            width=film.width,
            height=film.height,
            duration_seconds=film.seconds,
            frames=sum(part.frames for part in film.parts),
            frames_per_second=film.frames_per_second,
            shots=len(cuts),
            copied_picture=film.copied_picture,
            copied_sound=film.copied_sound if sound is None else False,
            audio=files.public_address(audio.source) if audio else None,
            cost_usd=cost_usd,
            actual_usd=actual_usd,
            cut_list_url=store.url(f"{folder}/{CUT_LIST}"),
            contact_sheet_url=store.url(f"{folder}/{CONTACT_SHEET}"),
            created_at=time(),
        ),
        cuts=tuple(
            cut.model_copy(
                update={
                    "first_frame": part.first_frame,
                    "frames": part.frames,
                    "starts_at": part.starts_at,
                    "ends_at": part.ends_at,
                }
            )
            for cut, part in zip(cuts, film.parts, strict=True)
        ),
    )
    record = kept.placed(folder, lambda name: name).model_dump(mode="json")
    await store.put(f"{folder}/{CUT_LIST}", json.dumps(record, indent=1).encode())
    return kept


def _made(cuts: Sequence[Cut], store: VideoFolder, film: Path) -> tuple[Film, bytes]:
    clips = {cut.key: _at_hand(cut, store, film.parent) for cut in cuts}
    made = join([clips[cut.key] for cut in cuts], film)
    try:
        return made, contact_sheet([(clips[c.key], f"{c.number} · {c.title}") for c in cuts])
    except CorruptVideoError as error:
        raise JoinError(f"No contact sheet can be drawn. {error.message}") from error


def _at_hand(cut: Cut, store: VideoFolder, scratch: Path) -> Path:
    """The clip as a file on this machine, copied where it is elsewhere."""
    if (at_hand := on_disk(cut.url)) and Path(at_hand).is_file():
        return Path(at_hand)
    path = scratch / f"{cut.number:03d}.mp4"
    with store.open(f"{cut.folder}/video.mp4") as source, path.open("wb") as target:
        shutil.copyfileobj(source, target, limits().piece_bytes)
    return path


def _key(title: str, cuts: Sequence[Cut], audio: Audio | None, sound: bytes | None) -> str:
    made_of: dict[str, Any] = {
        "title": title,
        "cuts": [[cut.number, cut.title, cut.key, cut.sha256] for cut in cuts],
    }
    if audio and sound is not None:
        how = audio.model_dump(exclude={"source"})
        made_of["audio"] = {**how, "sha256": hashlib.sha256(sound).hexdigest()}
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:KEY_DIGITS]


__all__ = ["Cut", "CutList", "StoredFilm", "keep_film", "last_frame_of"]
