"""One small value per step: `VideoJob` → `RenderedVideo` → `StoredVideo`.

Frozen, plain JSON, under 1 kB, with no client, no secret and no bytes, so that
they travel through Prefect, a queue or a file as they are.
"""

from pydantic import BaseModel, ConfigDict, Field

from prefect_sora.requests import Kind


class _Handle(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

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
    """A render that the server accepted, so one that is paid for."""

    kind: Kind = "create"
    size: str | None = None
    seconds: int | None = None
    submitted_at: float = Field(description="When it was accepted, Unix seconds.")
    adopted: bool = Field(default=False, description="Found again after a crash, not submitted.")
    stored: bool = Field(default=False, description="It already stands in the store.")


class RenderedVideo(VideoJob):
    """A finished video that the server still holds."""

    expires_at: float | None = Field(
        default=None, description="When the server forgets it, Unix seconds, where it says so."
    )


class StoredVideo(_Handle):
    """A video that is kept: where it is, what it is, and who made it."""

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
        default=None, description="By the catalogue's prices; None where the price is unknown."
    )
    created_at: float = Field(description="When it was kept, Unix seconds.")
