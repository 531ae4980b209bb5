"""Entries: what a store holds, one value for each render, film and batch."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from prefect_sora.errors import Paid
from prefect_sora.handles import StoredImage, StoredVideo
from prefect_sora.renders.batches.results import BatchRecord, Result
from prefect_sora.renders.film import keep as films


class StoreAttempt(BaseModel):
    """One submission of a render, and what became of it."""

    model_config = ConfigDict(frozen=True)

    attempt: int = Field(description="Counts the submissions of this render.")
    at: float = Field(description="When it was begun, Unix seconds.")
    state: Literal["reserved", "accepted", "kept", "failed"]
    video_id: str | None = Field(default=None, description="The server's id of the job.")
    paid: Paid = Field(description="Whether it was charged, as far as that is known.")
    cost_usd: float | None = Field(
        default=None,
        description="What it cost, or may have, by its server's prices; None: not known.",
    )
    actual_usd: float | None = Field(
        default=None, description="What the server says that it cost; None where it does not say."
    )
    error: str | None = Field(default=None, description="Why it made nothing.")


class StoreEntry(BaseModel):
    """A render, a film or a batch, as a store's records tell it."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["video", "image", "film", "batch"]
    state: Literal["kept", "failed", "open", "unreadable"] = Field(
        description="`open` was begun, and is neither kept nor failed; what is `unreadable` says "
        "why in `error`."
    )
    key: str = Field(description="12 hex digits.")
    folder: str = Field(description="Its folder below the store's root.")
    title: str = Field(description="The prompt, cut to one short line, or the name.")
    at: float | None = Field(default=None, description="When it was begun, Unix seconds.")
    prompt: str | None = Field(default=None, description="All of it.")
    provider: str | None = Field(default=None, description="Which server was asked.")
    model: str | None = None
    scope: str | None = Field(default=None, description="Whom it is shared with.")
    take: int = 1
    request: dict[str, JsonValue] = Field(
        default={}, description="What was asked for; `labels` are the user's own."
    )
    url: str | None = Field(
        default=None, description="Where its file is; of a batch, its results as CSV."
    )
    attempts: tuple[StoreAttempt, ...] = ()
    video: StoredVideo | None = None
    image: StoredImage | None = None
    film: films.CutList | None = None
    batch: BatchRecord | None = None
    rows: tuple[Result, ...] = Field(default=(), description="Of a batch.")
    cost_usd: float | None = Field(
        default=None,
        description="Of all attempts together, or all takes of a film; None where one is unknown.",
    )
    actual_usd: float | None = Field(
        default=None,
        description="The same by the servers' word; None where one of them does not say.",
    )
    error: str | None = Field(default=None, description="Why it is not kept, or cannot be read.")
