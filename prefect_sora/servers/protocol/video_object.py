"""What servers answer, read tolerantly: the Video object and lists of it."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from prefect_sora.errors.redaction import MASK
from prefect_sora.handles import Status
from prefect_sora.limits import limits
from prefect_sora.servers.costs.told import NOTHING, Told, told_of
from prefect_sora.servers.profiles import GENERIC, Profile, found
from prefect_sora.servers.protocol.error_bodies import Failure, read_failure
from prefect_sora.servers.protocol.payload import is_id

_ALIASES: Final[Mapping[Status, str]] = {
    "queued": "queued pending submitted created waiting scheduled not_start notstarted not_started "
    "preparing starting accepted validating",
    "in_progress": "in_progress inprogress processing running generating postprocessing "
    "post_processing preprocessing rendering encoding finalizing started",
    "completed": "completed complete succeeded success finished done ready",
    "failed": "failed failure fail error errored rejected moderation_blocked blocked timeout "
    "timed_out",
    "cancelled": "cancelled canceled aborted",
    "deleted": "deleted removed",
    "expired": "expired",
}
_CANONICAL: Final[Mapping[str, Status]] = {
    alias: status for status, aliases in _ALIASES.items() for alias in aliases.split()
}


# The protocol has no such field: these are the names that gateways use.
_COSTS: Final = ("cost", "cost_usd", "total_cost")


# 2020 to 2100: no server of this protocol has rendered earlier, and a later time, or 0, is none.
# A time lies between them either as seconds or as milliseconds, never as both. Ours.
_EARLIEST: Final = 1_577_836_800.0
_LATEST: Final = 4_102_444_800.0
_MILLISECONDS: Final = 1_000 * _EARLIEST


_WORD: Final = 1_000
"""Characters of a status, a model, a size: longer ones are none. Ours."""


def canonical_status(value: object) -> Status:
    """Map a server's word to the protocol's; what we do not know is `unknown`, never final."""
    word = str(value or "").strip().lower().replace("-", "_").replace(" ", "_")
    return _CANONICAL.get(word, "unknown")


class Video(BaseModel):
    """The server's job. All but the id may be missing; unknown fields are let through."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str = Field(min_length=1)
    raw_status: str = Field(default="", alias="status")
    progress: float | None = None
    created_at: float | None = None
    completed_at: float | None = None
    expires_at: float | None = None
    model: str | None = None
    prompt: str | None = None
    size: str | None = None
    seconds: str | None = None
    urls: tuple[str, ...] = Field(default=(), repr=False)
    """Where the file lies, on servers that keep it elsewhere, the best first; often signed."""
    remixed_from_video_id: str | None = None
    failure: Failure | None = Field(default=None, alias="error")
    is_free: bool = False
    """The server says that it charges nothing for it."""
    told: Told = NOTHING
    """What the server says that it cost."""
    _poll_after_s: float | None = PrivateAttr(default=None)
    _is_estimate: bool = PrivateAttr(default=False)

    @property
    def status(self) -> Status:
        """The protocol's word for the server's."""
        return canonical_status(self.raw_status)

    @property
    def poll_after_s(self) -> float | None:
        """When the server itself wants to be asked again, in seconds."""
        return self._poll_after_s

    @property
    def is_estimate(self) -> bool:
        """Whether its progress is estimated from earlier renders, and not the server's word."""
        return self._is_estimate

    def estimated(self, progress: float) -> Self:
        """Return the same with a progress that is estimated, in percent."""
        video = self.model_copy(update={"progress": progress})
        video._is_estimate = True
        return video

    @field_validator("raw_status", mode="before")
    @classmethod
    def _any_word(cls, value: object) -> str:
        return "" if value is None else str(value)[:_WORD]

    @field_validator("progress", mode="before")
    @classmethod
    def _a_number_or_nothing(cls, value: object) -> float | None:
        return _number(value)

    @field_validator("created_at", "completed_at", "expires_at", mode="before")
    @classmethod
    def _a_time_or_nothing(cls, value: object) -> float | None:
        number = _number(value)
        if number is None and isinstance(value, str):
            number = _written_time(value)
        if number is not None and number >= _MILLISECONDS:
            number /= 1000
        return number if number is not None and _EARLIEST <= number < _LATEST else None

    @field_validator("model", "prompt", "size", "seconds", "remixed_from_video_id", mode="before")
    @classmethod
    def _text_or_nothing(cls, value: object, info: ValidationInfo) -> str | None:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            return None
        text = f"{value:g}" if isinstance(value, float) else str(value)
        long = info.field_name != "prompt" and len(text) > _WORD
        return text if text.strip() and not long else None  # some servers send a blank for nothing

    @field_validator("failure", mode="before")
    @classmethod
    def _any_error(cls, value: object) -> Failure | None:
        return read_failure(value)


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]  # the except below is the check
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def read_video(
    value: object,
    profile: Profile = GENERIC,
    poll_after_s: float | None = None,
    *,
    asked_for: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Video | None:
    """Read a Video, or None where this is none: no object, or no id in it.

    Args:
        value: What came as JSON.
        profile: Where the server writes what.
        poll_after_s: When the server wants to be asked again, in seconds.
        asked_for: The job's id, where it was asked for by that; some servers do not repeat it.
        headers: Of the answer to a create.
    """
    if not isinstance(value, Mapping):
        return None
    given = next(filter(None, (found(value, key) for key in profile.id_keys)), None)
    word = found(value, profile.status_path)
    urls = tuple(url for path in profile.url_paths if _is_url(url := found(value, path)))
    if given is None and not profile.names_itself and (word or urls):
        given = asked_for
    if not isinstance(given, (str, int)) or isinstance(given, bool) or not is_id(str(given)):
        return None
    if not word and urls and profile.done_by_url:
        word = "completed"
    try:
        status = profile.statuses.get(word, word) if isinstance(word, str) else word
        told = told_of(value, canonical_status(status), profile, headers)
        video = Video.model_validate(
            {
                **value,
                "id": str(given),
                "urls": urls,
                "status": status,
                "is_free": _is_free(value, told, profile),
                "told": told,
                **_withheld(value, profile, status, urls),
            }
        )
    except ValidationError:
        return None
    video._poll_after_s = poll_after_s
    return video


def _is_url(value: object) -> bool:
    # An address that holds our key was blanked out: the route of the protocol is left.
    return isinstance(value, str) and bool(value.strip()) and MASK not in value


def _withheld(
    value: Mapping[str, Any], profile: Profile, status: object, urls: tuple[str, ...]
) -> dict[str, Any]:
    """Say that a finished job has failed whose file was withheld, or which should name one."""
    if canonical_status(status) != "completed":
        return {}
    for path, wanted in profile.moderated.items():
        if (there := found(value, path)) is not None and there == wanted:
            said = {"message": "the finished video was withheld", "type": "moderation"}
            return {"status": "failed", "error": said}
    if profile.empty_is_failed and not urls:
        return {"status": "failed", "error": "it is said to be finished, and names no file"}
    return {}


def _written_time(text: str) -> float | None:
    """Read a time as ISO 8601 writes it; without a zone it is UTC."""
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _is_free(value: Mapping[str, Any], told: Told, profile: Profile) -> bool:
    """Look for a cost of 0, as gateways tell it, beside the job or among its usage."""
    if profile.cost_path and profile.cost_source == "final":
        return told.usd == 0
    usage = value.get("usage")
    holders = [*([usage] if isinstance(usage, Mapping) else []), value]
    costs = [holder[name] for holder in holders for name in _COSTS if name in holder]
    return bool(costs) and all(
        isinstance(cost, (int, float)) and not isinstance(cost, bool) and cost == 0
        for cost in costs
    )


class ServedModel(BaseModel):
    """A model that a server names.

    Attributes:
        id: Its name.
        shutdown_date: The day that the server ends it, as the server writes it, where it says.
    """

    id: str
    shutdown_date: str | None = None


def read_model(value: Mapping[str, Any]) -> ServedModel:
    """Read one entry of the list of models; it has an id."""
    ends = value.get("shutdown_date")
    return ServedModel(id=str(value["id"]), shutdown_date=ends if isinstance(ends, str) else None)


class VideoPage(BaseModel):
    """One page of the list, newest first.

    Attributes:
        videos: Its jobs.
        next_after: What to ask for next; None where there is no more.
        has_more: Whether the server says that there is more; None where it says nothing.
        poll_after_s: When the server itself wants to be asked again, in seconds.
        clock_ahead_s: How far the server's clock is ahead of ours, where it tells.
        is_whole: Whether each of its entries could be read.
    """

    videos: list[Video]
    next_after: str | None = None
    has_more: bool | None = None
    poll_after_s: float | None = None
    clock_ahead_s: float | None = None
    is_whole: bool = True


def read_page(
    value: object,
    profile: Profile = GENERIC,
    poll_after_s: float | None = None,
    clock_ahead_s: float | None = None,
) -> VideoPage | None:
    """Read a page of the list, or None where this is none."""
    data = value.get("data") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(data, list):
        return None
    read = data[: limits().list_max_jobs]
    videos = [video for item in read if (video := read_video(item, profile))]
    last = value.get("last_id") or (videos[-1].id if videos else None)
    more = value.get("has_more")
    return VideoPage(
        videos=videos,
        next_after=str(last) if last and videos and more is not False else None,
        has_more=more if isinstance(more, bool) else None,
        poll_after_s=poll_after_s,
        clock_ahead_s=clock_ahead_s,
        is_whole=len(videos) == len(data),
    )
