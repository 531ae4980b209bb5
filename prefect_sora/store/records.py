"""Records: what is written down of a render; each is written once and never changed."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from time import time
from typing import Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from prefect_sora.errors import ModerationError, NewerStoreError, Paid, RenderFailedError
from prefect_sora.errors.next_steps import CHANGE_THE_PROMPT, NOTHING_SENT, NextStep
from prefect_sora.handles import StoredImage, StoredVideo, UrlOf, VideoJob
from prefect_sora.store.identity import Owner, key_of, new_owner

SCHEMA: Final = 1
"""What is written now. A record of an earlier number is read for ever: what a later one adds
has a default, and what it changes is turned into the new form in `read_record`."""

PASSED_ON: Final = "passed_on"
"""The code of an attempt that was closed, unsent, so that another server may be asked."""

IN_STORE: Final = "store:"
"""How the address of a picture begins that lies in the same store; its name there follows."""

UNSAID_LEASE_SECONDS: Final = 180.0
UNSAID_SEND_SECONDS: Final = 10.0
"""What a reservation means that does not say these times, as earlier versions wrote it."""

_R = TypeVar("_R", bound=BaseModel)


def read_record(model: type[_R], data: bytes | None, name: str) -> _R | None:
    """Read a record of this version or an earlier one; None where it is absent or torn.

    Args:
        model: What it is.
        data: Its file's bytes.
        name: Its file's name, for the error.

    Raises:
        NewerStoreError: A later version wrote it. To take it for absent or torn, as one
            that cannot be understood would be, might pay for the render again.
    """
    try:
        value = json.loads(data) if data else None
    except (ValueError, RecursionError):
        return None
    version = value.get("schema_version") if isinstance(value, dict) else None
    if isinstance(version, int) and version > SCHEMA:
        raise NewerStoreError(
            f"{name} was written by a newer version of prefect-sora: its schema is {version}, "
            f"and this version reads up to {SCHEMA}.",
            paid="unknown",
            next_step=(
                NOTHING_SENT,
                "Upgrade here, with `pip install -U prefect-sora`, then run the same again.",
            ),
        )
    try:
        return model.model_validate(value)
    except ValidationError:
        return None


class Record(BaseModel):
    """What all records say."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: int = SCHEMA
    key: str
    attempt: int
    at: float

    def placed(self, folder: str, url_of: UrlOf) -> Self:
        """The same record with places as `url_of` gives them, for files of this store.

        Args:
            folder: The render's folder, which may have another name than it had.
            url_of: Gives a file's place from its name below the store's root. Written down is the
                name itself, so that a store may be copied, moved and mounted anywhere.
        """
        del folder, url_of
        return self


class Reserved(Record):
    """Somebody is about to send the create request."""

    fingerprint: str
    request_digest: str
    request: dict[str, JsonValue]
    reference: str | None = None
    reference_sha256: str | None = None
    server: str
    provider: str
    scope: str
    parent_key: str | None = None
    owner: Owner
    uncertain_since: float | None = None
    kind: Literal["video", "image"] = "video"
    lease_seconds: float | None = None
    """How long after `at` it speaks for its worker, if nothing else is known of that."""
    usd_each: float | None = None
    charged_to: tuple[str, ...] = ()
    """The periods whose budgets it counts against, such as a day or a run."""
    limits_usd: tuple[float, ...] = ()
    """What may be spent in each of these periods."""
    charged_attempt: int | None = None
    """The attempt, refused for the moment, whose charge it took over; None: it has its own."""
    send_seconds: float | None = None
    """How long after `at` its create may leave at the latest."""
    account: str | None = None
    """Who was, or may have been, asked, as `Server.account` says it; None where not known."""

    def placed(self, folder: str, url_of: UrlOf) -> Self:
        """The same, with pictures of this store where they are now."""
        del folder
        return self.with_pictures(
            lambda place: (
                url_of(place.removeprefix(IN_STORE)) if place.startswith(IN_STORE) else place
            )
        )

    def with_pictures(self, changed: Callable[[str], str]) -> Self:
        """The same, with another address of each picture that the request starts from."""

        def one(place: JsonValue) -> JsonValue:
            return changed(place) if isinstance(place, str) else place

        images = self.request.get("images")
        several = {"images": [one(place) for place in images]} if isinstance(images, list) else {}
        mask = {"mask": one(self.request["mask"])} if "mask" in self.request else {}
        return self.model_copy(
            update={
                "request": {**self.request, **several, **mask},
                "reference": one(self.reference),
            }
        )

    @property
    def charged_as(self) -> int:
        """The attempt whose number its charge carries."""
        return self.charged_attempt or self.attempt

    @property
    def lease_until(self) -> float:
        """Until when it speaks for its worker, Unix seconds."""
        return self.at + (self.lease_seconds or UNSAID_LEASE_SECONDS)

    @property
    def leaves_within_s(self) -> float:
        """How long after `at` its create may leave at the latest, in seconds."""
        return UNSAID_SEND_SECONDS if self.send_seconds is None else self.send_seconds

    def again(self, attempt: int, uncertain_since: float | None = None) -> "Reserved":
        """Reserve the same now, for this process, as a later attempt.

        Args:
            attempt: Its number.
            uncertain_since: From when on an earlier one may have been accepted.
        """
        return self.model_copy(
            update={
                "attempt": attempt,
                "at": time(),
                "owner": new_owner(),
                "uncertain_since": uncertain_since,
            }
        )

    @property
    def in_doubt_since(self) -> float:
        """From when on the server may hold a job of this render, Unix seconds."""
        return self.at if self.uncertain_since is None else self.uncertain_since


class Accepted(Record):
    """The server accepted it under this id."""

    job: VideoJob

    def placed(self, folder: str, url_of: UrlOf) -> Self:
        """The same, with the job of this render, in this folder."""
        del url_of
        whose = {"key": self.key, "attempt": self.attempt, "folder": folder}
        return self.model_copy(update={"job": self.job.model_copy(update=whose)})


class Stored(Record):
    """The video is kept."""

    video: StoredVideo

    def placed(self, folder: str, url_of: UrlOf) -> Self:
        """The same, with the video's files where they are now."""
        return self.model_copy(update={"video": self.video.placed(folder, url_of)})


class StoredPictures(Record):
    """The pictures of an image render are kept."""

    image: StoredImage

    def placed(self, folder: str, url_of: UrlOf) -> Self:
        """The same, with the pictures where they are now."""
        return self.model_copy(update={"image": self.image.placed(folder, url_of)})


class Failed(Record):
    """This attempt ended without a video."""

    kind: Literal["refused", "failed", "moderated"]
    message: str
    code: str | None = None
    video_id: str | None = None
    paid: Paid = "no"
    actual_usd: float | None = None
    """What the server says that it cost all the same; None where it does not say."""

    def error(self) -> RenderFailedError:
        """The failure as an error again."""
        cls = ModerationError if self.kind == "moderated" else RenderFailedError
        return cls(
            self.message,
            code=self.code,
            actual_usd=self.actual_usd,
            key=self.key,
            video_id=self.video_id,
            paid=self.paid,
            next_step=CHANGE_THE_PROMPT
            if self.kind == "moderated"
            else (NextStep("again"), NextStep("resubmit")),
        )


@dataclass(frozen=True)
class RenderState:
    """Where a render stands: the attempt that `latest_attempt` chooses, and its records."""

    folder: str
    attempt: int = 0
    reserved: Reserved | None = None
    accepted: Accepted | None = None
    stored: Stored | None = None
    failed: Failed | None = None
    pictures: StoredPictures | None = None
    newest: int = 0

    @property
    def next_attempt(self) -> int:
        """The next attempt's number, as far as was read."""
        return max(self.newest, self.attempt) + 1

    @property
    def is_kept(self) -> bool:
        """Whether the video, or the pictures, are in the store."""
        return self.stored is not None or self.pictures is not None

    @property
    def is_on_its_way(self) -> bool:
        """Whether the server accepted it, and nothing more is known."""
        return self.accepted is not None and self.failed is None and not self.is_kept

    @property
    def is_image(self) -> bool:
        """Whether a picture was asked for, and no video."""
        return self.pictures is not None or (
            self.reserved is not None and self.reserved.kind == "image"
        )

    @property
    def name(self) -> Literal["new", "reserved", "accepted", "stored", "failed"]:
        """The newest record's kind."""
        if self.is_kept:
            return "stored"
        if self.failed:
            return "failed"
        if self.accepted:
            return "accepted"
        return "reserved" if self.attempt else "new"

    @property
    def is_open(self) -> bool:
        """Whether it was begun, and neither kept nor failed."""
        return self.name in ("reserved", "accepted")

    @property
    def key(self) -> str:
        """The render's key."""
        return key_of(self.folder)

    @property
    def passed_on(self) -> bool:
        """Whether another server was asked instead, as this one had certainly not made it."""
        return self.failed is not None and self.failed.code == PASSED_ON
