"""What happened to each render, as small immutable records beside its video.

```text
<store>/<words-of-the-prompt>-<key>/
    reserved.json      before the create request: one of all racing workers wins it
    accepted.json      the video id, before anything else is done with it
    stored.json        or failed.json: how it ended
    …-2.json           the same of the second attempt, after a definite failure or a crash
<store>/.claims/       which render holds which video id, so that no two hold one
<store>/.open/         which renders are open, as empty files
<store>/.paid/         what each day and each run has paid for
```

Records are created exclusively and never edited; `latest_attempt` chooses the attempt whose
newest record is the state. A torn or unreadable record counts as absent, which is safe: an
unreadable acceptance is a doubt to resolve with the server, never a licence to pay again. A
record that a later version of this package wrote is an error.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from time import time

from pydantic import BaseModel

from prefect_sora.errors import SoraError, StorageError
from prefect_sora.errors.next_steps import NextStep
from prefect_sora.handles import StoredImage, StoredVideo, VideoJob
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.backends.filesystems import on_disk
from prefect_sora.store.backends.refusals import plain_url
from prefect_sora.store.claims import TORN, Claims
from prefect_sora.store.identity import KEY_DIGITS, is_key, key_of
from prefect_sora.store.open_markers import closings_of
from prefect_sora.store.open_renders import Left, Openings
from prefect_sora.store.payments import Cost
from prefect_sora.store.reading import Reading, path_of
from prefect_sora.store.records import (
    IN_STORE,
    Accepted,
    Failed,
    Record,
    RenderState,
    Reserved,
    Stored,
    StoredPictures,
)

# Tokens of the reservations that code in this process is working on now. A run that
# ended has left any other reservation of this process.
_working: set[str] = set()


class Ledger(Claims, Reading):
    """The records of one store."""

    def __init__(self, store: VideoFolder) -> None:
        self.store = store
        self._openings = Openings(self)

    @property
    def place(self) -> str:
        """Where the store is, as --store takes it in any folder."""
        root = self.store.root
        return self.store.name or on_disk(root) or plain_url(root)

    @contextlib.contextmanager
    def about(self, key: str, video_id: str | None = None) -> Iterator[None]:
        """Add to every error which render it is about, and where that render is kept."""
        try:
            yield
        except SoraError as error:
            error.about(key=key, video_id=video_id).known(store=self.place)
            raise

    async def sweep(self, folder: str, *, all_of_it: bool) -> None:
        """Remove half-written files of a kept render, as far as the store lets us.

        Args:
            folder: The render's, which nobody needs to write to any more.
            all_of_it: Remove those of living processes too, and those beside the claims.
        """
        with contextlib.suppress(StorageError):
            await self.store.sweep_parts(folder, older_than=timedelta(0) if all_of_it else None)
            if all_of_it:
                await self.store.sweep_parts(".claims", older_than=None)

    async def find(self, key: str) -> list[str]:
        """Find the folders whose key begins so; open renders are searched first for a whole key."""
        marked = await self._openings.marked() if len(key) == KEY_DIGITS else []
        folders = [folder for folder in marked if key_of(folder) == key.lower()]
        return folders or [f for f in await self.folders() if key_of(f).startswith(key.lower())]

    async def named(self, word: str, server: str | None = None) -> RenderState | None:
        """Read where the render stands that a word names; None where the store has none.

        Args:
            word: Its whole key, or the server's id of its video.
            server: Whose id that is, by its identity; without it only a key names a render.

        Raises:
            StorageError: The store cannot be read.
        """
        key = word if is_key(word) else await self.holder(server, word) if server else None
        folders = await self.find(key) if key and key != TORN else []
        states = [await self.state(folder) for folder in folders]
        return max(states, key=lambda one: (one.is_kept, one.is_on_its_way), default=None)

    async def open_folders(self) -> list[str]:
        """List the folders of the renders that are open, or may be; one look at their markers.

        Raises:
            StorageError: The store cannot be read.
        """
        return await self._openings.marked()

    def told_of_closing(
        self, folder: str, tell: Callable[[], object]
    ) -> contextlib.AbstractContextManager[None]:
        """Call `tell` when another process, too, has kept a render or closed it as failed."""
        return closings_of(self.store).told(folder, tell)

    async def unfinished(
        self, slug: str | None = None, *, tidy: bool = False, left: Left | None = None
    ) -> list[RenderState]:
        """Find the renders that were begun and have neither been kept nor failed.

        Args:
            slug: Only those whose folder begins so, before the key.
            tidy: Remove the markers of all others, and look at the whole store where that was
                last done long ago.
            left: Hears of each render that cannot be read, such as one of a later version, and
                of the error. Without it the first such error is raised.

        Raises:
            StorageError: The store cannot be read.
        """
        return await self._openings.unfinished(slug, tidy=tidy, left=left)

    async def paid(self, period: str, still_open: Sequence[RenderState]) -> list[float | None]:
        """Read what each attempt that was paid in a period cost in USD; None where nobody knows it.

        Args:
            period: From `run_of` or `day_of`.
            still_open: All unfinished renders, read just before, so that what is closed
                meanwhile is counted once.

        Raises:
            StorageError: The store cannot be read.
        """
        return await self._openings.paid(period, still_open)

    async def reserve(self, folder: str, record: Reserved) -> bool:
        """Take the right to send the create request; False where another worker has it.

        Raises:
            StorageError: The store refused, or lets two writers create the same file: then
                nothing may be sent.
        """
        await self.store.require_exclusive()
        _working.add(record.owner.token)
        won = False
        try:
            await self._openings.begin(folder, record)
            won = await self._create(folder, "reserved", record)
            await self._openings.begun(folder, record, won)
        except BaseException:
            won = False
            raise
        finally:
            if not won:
                _working.discard(record.owner.token)
        return won

    def release(self, record: Reserved) -> None:
        """Note that this process no longer works on a reservation."""
        _working.discard(record.owner.token)

    @staticmethod
    def is_held(record: Reserved) -> bool:
        """Whether a living worker may still be sending the create request of a reservation."""
        if record.owner.is_this_process():
            return record.owner.token in _working
        # A living process may have given up this render long ago.
        return record.owner.is_dead() is not True and time() < record.lease_until

    async def accept(self, folder: str, job: VideoJob) -> VideoJob:
        """Make the video id durable: the render is open, even where it was closed before."""
        record = Accepted(key=job.key, attempt=job.attempt, at=time(), job=job)
        if not await self._create(folder, "accepted", record):
            standing = await self._read(folder, "accepted", job.attempt, Accepted)
            if standing is None or standing.job.video_id != job.video_id:
                raise StorageError(
                    "The store holds another acceptance of this attempt.",
                    key=job.key,
                    video_id=job.video_id,
                    paid="yes",
                    next_step=NextStep("adopt", video_id=job.video_id),
                )
        await self._openings.accepted(folder, job.attempt)
        return job

    async def keep(
        self, folder: str, video: StoredVideo, begun: Reserved | None = None
    ) -> StoredVideo:
        """Record that the video is kept; the first record of several stands.

        Args:
            folder: The render's.
            video: What is kept.
            begun: Its attempt's reservation, where that is known already.
        """
        record = Stored(key=video.key, attempt=video.attempt, at=time(), video=video)
        if not await self._create(folder, "stored", record):
            standing = await self._read(folder, "stored", video.attempt, Stored)
            video = standing.video if standing else video
        cost = Cost(True, video.cost_usd, video.actual_usd)
        await self._openings.kept(folder, video.attempt, cost, begun)
        return video

    async def keep_pictures(self, image: StoredImage, begun: Reserved | None = None) -> StoredImage:
        """Record that pictures are kept; the first record of several stands."""
        record = StoredPictures(key=image.key, attempt=image.attempt, at=time(), image=image)
        if not await self._create(image.folder, "stored", record):
            standing = await self._read(image.folder, "stored", image.attempt, StoredPictures)
            image = standing.image if standing else image
        cost = Cost(True, image.cost_usd, image.actual_usd)
        await self._openings.kept(image.folder, image.attempt, cost, begun)
        return image

    async def fail(self, folder: str, record: Failed, begun: Reserved | None = None) -> None:
        """Close an attempt without a video; a record that stands already stays."""
        await self._create(folder, "failed", record)
        await self._openings.failed(folder, record, begun)

    async def close(self, folder: str) -> None:
        """Remove what a crash may have left beside a kept render's record, if possible."""
        await self.sweep(folder, all_of_it=False)
        await self._openings.close(folder)

    async def _create(self, folder: str, kind: str, record: Record) -> bool:
        if isinstance(record, Reserved):
            record = record.with_pictures(self._written)
        else:
            record = record.placed(folder, lambda name: name)
        return await self.store.create(path_of(folder, kind, record.attempt), _json(record))

    def _written(self, place: str) -> str:
        name = self.store.name_of(place)
        return place if name is None else f"{IN_STORE}{name}"


def _json(record: BaseModel) -> bytes:
    return record.model_dump_json(indent=1).encode()
