"""Images: the requests for pictures that were answered, each kept for as long as a video."""

import json
import re
import time
from asyncio import Lock, to_thread
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shutil import rmtree
from uuid import uuid4

from prefect_sora.servers.local.state.files import write_whole


@dataclass(frozen=True)
class ImageOrder:
    """A request for pictures that passed every check.

    Attributes:
        size: Width and height in pixels.
        background: What stands behind the subject; `auto` is settled.
        inputs: The pictures to edit; none where new ones are drawn.
        mask: Where the first of them may change: where this is transparent.
    """

    prompt: str
    model: str
    count: int
    size: tuple[int, int]
    quality: str
    background: str
    format: str
    compression: int
    response: str
    inputs: tuple[bytes, ...] = ()
    mask: bytes | None = None


@dataclass(frozen=True)
class KeptImages:
    """The pictures of one answered request.

    Attributes:
        folder: Where they lie, as `0.png`, `1.png` …
        created: When they were drawn, in seconds since 1970.
        count: How many there are.
        key: The Idempotency-Key of their request.
    """

    folder: Path
    created: int
    count: int
    key: str | None


@dataclass
class Images:
    """The answered image requests of one renderer's folder.

    ```text
    images/accepted.json    how many were ever accepted
    images/ID/0.png …       the pictures
    images/ID/answer.json   what was answered but for their bytes, written last
    ```
    """

    home: Path
    ttl: float
    accepted: int = 0
    _counting: Lock = field(default_factory=Lock)

    @property
    def folder(self) -> Path:
        """Where all of it lies."""
        return self.home / "images"

    def load(self) -> None:
        """Read what the last process left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with suppress(OSError, ValueError, KeyError):
            counted = json.loads((self.folder / "accepted.json").read_text("utf-8"))
            self.accepted = int(counted["accepted"])

    async def count(self) -> None:
        """Write down that one more request was accepted."""
        async with self._counting:
            self.accepted += 1
            count = json.dumps({"accepted": self.accepted}).encode()
            await to_thread(write_whole, self.folder / "accepted.json", count)

    def keep(self, pictures: Iterable[bytes], suffix: str, key: str | None) -> KeptImages:
        """Write the pictures of one request as they come, and then its record."""
        folder = self.folder / f"image_{uuid4().hex}"
        folder.mkdir(parents=True)
        count = 0
        for picture in pictures:
            write_whole(folder / f"{count}.{suffix}", picture)
            count += 1
        kept = KeptImages(folder, int(time.time()), count, key)
        record = asdict(kept)
        del record["folder"]
        write_whole(folder / "answer.json", json.dumps(record).encode())
        return kept

    def made_with(self, key: str) -> KeptImages | None:
        """The pictures of the request that had this Idempotency-Key."""
        for path in self.folder.glob("image_*/answer.json"):
            with suppress(OSError, ValueError, TypeError):
                kept = KeptImages(path.parent, **json.loads(path.read_text("utf-8")))
                if kept.key == key:
                    return kept
        return None

    def file(self, image_id: str, name: str) -> Path | None:
        """One picture, or None where it is unknown or expired."""
        path = self.folder / image_id / name
        known = re.fullmatch("image_[0-9a-f]{32}", image_id) and re.fullmatch("[0-9]+.[a-z]+", name)
        return path if known and path.is_file() and not self._expired(path.parent) else None

    async def purge(self) -> None:
        """Remove what has expired."""
        for folder in self.folder.glob("image_*"):
            if self._expired(folder):
                await to_thread(rmtree, folder, ignore_errors=True)

    async def reset(self) -> None:
        """Forget everything, the count included."""
        self.accepted = 0
        await to_thread(rmtree, self.folder, ignore_errors=True)
        self.load()

    def _expired(self, folder: Path) -> bool:
        try:
            return time.time() >= folder.stat().st_mtime + self.ttl + 1
        except OSError:
            return True
