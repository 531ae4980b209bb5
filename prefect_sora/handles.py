"""One small value per step: `VideoJob` → `RenderedVideo` → `StoredVideo`.

They are frozen, plain JSON, under 1 kB, with no client, no secret and no bytes, so
they travel through Prefect, a queue or a file as they are.
"""

from collections.abc import Callable
from typing import Any, Literal, Self, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_serializer,
)

Kind = Literal["create", "remix", "edit", "extend", "existing"]
"""`create` renders anew; `remix`, `edit` and `extend` start from a finished video; `existing` pays
nothing: it keeps one."""

Status = Literal[
    "queued", "in_progress", "completed", "failed", "cancelled", "deleted", "expired", "unknown"
]

UrlOf = Callable[[str], str]
"""Gives a file's URL from its name below the store's root."""


class _Costs(BaseModel):
    """What a server says that something cost; as JSON it is left out where it says nothing."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    actual_usd: float | None = Field(
        default=None, description="What the server says that it cost; None where it does not say."
    )
    cost_doubt: str | None = Field(
        default=None, description="What it said of the cost that cannot be so, and why."
    )

    @model_serializer(mode="wrap")
    def _without_what_is_not_said(
        self, handler: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        if info.mode == "json":  # a handle is small: what few have, the others leave out
            for name in ("actual_usd", "cost_doubt", "asked_size", "asked_seconds"):
                if fields.get(name, "") is None:
                    del fields[name]
        return fields


class _Handle(_Costs):
    key: str = Field(description="The render's key: 12 hex digits.")
    attempt: int = Field(default=1, description="Counts the submissions of this render.")
    folder: str = Field(description="The render's folder below the store's root.")
    video_id: str = Field(description="The server's id of the job.")
    provider: str = Field(description="Which server made it.")
    title: str = Field(description="The prompt, cut to one short line.")
    model: str | None = None
    take: int = 1
    parent_key: str | None = Field(default=None, description="The render that this one remixes.")


class VideoJob(_Handle):
    """A render that the server accepted, so it counts as paid."""

    kind: Kind = "create"
    size: str | None = None
    seconds: int | None = None
    submitted_at: float = Field(description="When it was accepted, Unix seconds.")
    adopted: bool = Field(default=False, description="Found again after a crash, not submitted.")
    cost_usd: float | None = Field(
        default=None, description="Estimated by its prices; None where the price is unknown."
    )
    stored: bool = Field(default=False, description="It already stands in the store.")
    sent_here: bool = Field(
        default=False,
        exclude=True,
        repr=False,
        description="Who holds this has submitted it, and not found it; never written down.",
    )

    def __eq__(self, other: object) -> bool:
        """By what is written down of it."""
        return type(self) is type(other) and self.model_dump() == cast(Self, other).model_dump()

    def __hash__(self) -> int:
        """By what tells one job from another."""
        return hash((self.key, self.attempt, self.video_id))


class RenderedVideo(VideoJob):
    """A finished video that the server still holds."""

    expires_at: float | None = Field(
        default=None, description="When the server forgets it, Unix seconds, where it says so."
    )


class RemoteVideo(BaseModel):
    """A job as its server shows it now, whoever submitted it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    video_id: str = Field(description="The server's id of the job.")
    provider: str = Field(description="Which server has it.")
    status: Status = Field(description="The protocol's word; `unknown` for one that it lacks.")
    progress: float | None = Field(default=None, description="Percent, where the server tells.")
    title: str | None = Field(default=None, description="The prompt, cut to one short line.")
    model: str | None = None
    size: str | None = None
    seconds: str | None = None
    created_at: float | None = Field(default=None, description="Unix seconds.")
    completed_at: float | None = Field(default=None, description="Unix seconds.")
    expires_at: float | None = Field(
        default=None, description="When the server forgets it, Unix seconds, where it says so."
    )
    source_video_id: str | None = Field(default=None, description="What it is a remix of.")
    error: str | None = Field(default=None, description="Why it failed.")
    actual_usd: float | None = Field(
        default=None, description="What the server says that it cost; None where it does not say."
    )


class Character(BaseModel):
    """A character that one server made from a video, and that prompts there can name."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(description="What `VideoRequest.characters` takes.")
    name: str = Field(description="What a prompt calls it.")
    provider: str = Field(description="Which server knows it.")
    created_at: float | None = Field(default=None, description="Unix seconds.")


class ImageFile(BaseModel):
    """One picture of an image render."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(description="The file's name in the render's folder.")
    sha256: str
    size_bytes: int


class StoredImage(_Costs):
    """The kept pictures of one image render: where they are, and who made them."""

    key: str = Field(description="The render's key: 12 hex digits.")
    attempt: int = Field(default=1, description="Counts the submissions of this render.")
    folder: str = Field(description="The render's folder below the store's root.")
    provider: str = Field(description="Which server made them.")
    title: str = Field(description="The prompt, cut to one short line.")
    model: str | None = None
    take: int = 1
    parent_key: str | None = Field(default=None, description="The render that this one edits.")
    url: str = Field(description="The first picture's URL in the store.")
    files: tuple[ImageFile, ...]
    width: int = Field(description="Pixels.")
    height: int = Field(description="Pixels.")
    format: str = Field(description="png, jpeg, webp or gif, told from the content.")
    has_alpha: bool = Field(description="Whether a pixel of the first is see-through.")
    cost_usd: float | None = Field(
        default=None, description="Estimated by its prices; None where the price is unknown."
    )
    created_at: float = Field(description="When they were kept, Unix seconds.")

    @property
    def urls(self) -> list[str]:
        """Where each picture is, in the order of the answer."""
        beside = self.url.rpartition("/")[0]
        return [f"{beside}/{file.name}" for file in self.files]

    def placed(self, folder: str, url_of: UrlOf) -> Self:
        """The same pictures in a folder of a store, wherever that was when they were kept."""
        url = url_of(f"{folder}/{self.url.rpartition('/')[2]}")
        return self.model_copy(update={"folder": folder, "url": url})


class StoredVideo(_Handle):
    """A video that is kept: where it is, what it is, and who made it.

    As JSON its pictures' URLs are relative to `url`, so that a long store's name does not
    stand there four times. Read back, they are whole again.
    """

    url: str = Field(description="The video file's URL in the store.")
    sha256: str
    size_bytes: int
    width: int = Field(description="Pixels.")
    height: int = Field(description="Pixels.")
    duration_seconds: float | None = None
    thumbnail_url: str | None = None
    spritesheet_url: str | None = None
    preview_url: str | None = Field(default=None, description="A small animated WebP.")
    cost_usd: float | None = Field(
        default=None, description="Estimated by its prices; None where the price is unknown."
    )
    created_at: float = Field(description="When it was kept, Unix seconds.")
    asked_size: str | None = Field(
        default=None, description="The size that was asked for, where this is another."
    )
    asked_seconds: float | None = Field(
        default=None, description="The length that was asked for, where this is another."
    )

    @property
    def differences(self) -> tuple[str, ...]:
        """What is not as it was asked for, such as `64x64 in place of 1280x720`."""
        length = "no length" if self.duration_seconds is None else f"{self.duration_seconds:.2f} s"
        size = f"{self.width}x{self.height} in place of {self.asked_size}"
        return (
            *([size] if self.asked_size else []),
            *([f"{length} in place of {self.asked_seconds:g} s"] if self.asked_seconds else []),
        )

    def placed(self, folder: str, url_of: UrlOf) -> Self:
        """The same video in a folder of a store, wherever that was when it was kept."""
        files: dict[str, str | None] = {"url": url_of(f"{folder}/video.mp4")}
        for field, url in self:
            still, _, ours = field.rpartition("_")
            if ours == "url" and still:
                name = url.rpartition("/")[2] if url else ""
                files[field] = url_of(f"{folder}/{name}") if name.startswith(f"{still}.") else None
        return self.model_copy(update={"folder": folder, **files})

    @field_validator("thumbnail_url", "spritesheet_url", "preview_url")
    @classmethod
    def _whole(cls, url: str | None, info: ValidationInfo) -> str | None:
        beside = str(info.data.get("url", "")).rpartition("/")[0]
        return f"{beside}/{url}" if url and "/" not in url else url

    @field_serializer("thumbnail_url", "spritesheet_url", "preview_url", when_used="json")
    def _relative(self, url: str | None) -> str | None:
        return url.removeprefix(self.url.rpartition("/")[0] + "/") if url else None
