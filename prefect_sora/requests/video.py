"""What to render: one frozen value, checked before anything is sent."""

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, JsonValue, StringConstraints, field_validator, model_validator

from prefect_sora.handles import Kind, StoredVideo, VideoJob
from prefect_sora.requests.problems import Request
from prefect_sora.requests.shots import ShotPrompt, shot_of

MAX_PROMPT_CHARACTERS: Final = 32_000
"""OpenAI's openapi.yaml, `CreateVideoBody.prompt` (2026-08-21)."""

SIZES_BY_RATIO: Final = {
    "16:9": "1280x720",
    "9:16": "720x1280",
    "1:1": "1024x1024",
    "16:10": "1792x1024",
    "10:16": "1024x1792",
}
"""The nearest size of the Sora family to each ratio (OpenAI's video guide, 2026)."""

SIZES_BY_NAME: Final = {
    "720p": {"16:9": "1280x720", "9:16": "720x1280"},
    "1024p": {
        **dict.fromkeys(("16:9", "16:10"), "1792x1024"),
        **dict.fromkeys(("9:16", "10:16"), "1024x1792"),
    },
    "1080p": {"16:9": "1920x1080", "9:16": "1080x1920"},
}
"""1080p is 1920x1080 and nothing else. Some price tables call 1792x1024 so, the larger size that
sora-2-pro had first; by its lines that is 1024p, as others call it."""

_RATIO_TOLERANCE: Final = 0.05
"""How far a size may be off its ratio: models round to multiples of 32, such as 1280x704. Ours."""

DERIVED: Final[frozenset[Kind]] = frozenset({"remix", "edit", "extend"})
"""The kinds that start from a finished video, and take over its size, length and model."""

MAX_CHARACTERS: Final = 2
"""How many characters one video shows: OpenAI's video guide (2026)."""

_SIZE = re.compile(r"^(\d{1,5})x(\d{1,5})$")

_OWN_FIELDS: Final = {
    "prompt": "prompt",
    "model": "model",
    "size": "size or aspect_ratio",
    "seconds": "seconds",
    "input_reference": "reference",
    "characters": "characters",
}
"""What the wire calls the fields that are checked, fitted and priced, and what we call them."""

# The key leaves these out: the picture stands in it by its hash, and whether a check
# was on changes no pixel.
NOT_IN_FINGERPRINT: Final = frozenset({"reference", "allow_unlisted", "labels"})


class VideoRequest(Request):
    """One render, as it was asked for.

    Equal requests with equal takes, in one scope and on one server, are one render.

    Raises:
        InvalidRequestError: From `VideoRequest.of`, in words for a person.
            The constructor itself raises pydantic's `ValidationError`.
    """

    prompt: Annotated[str, StringConstraints(max_length=MAX_PROMPT_CHARACTERS)] = Field(
        description=f"What to show, 1 to {MAX_PROMPT_CHARACTERS:,} characters; a shot becomes "
        "its text."
    )
    model: str | None = Field(
        default="sora-2",
        description="The video model's name; None lets a server that has only one choose.",
    )
    size: str | None = Field(
        default=None, description="Pixels as WIDTHxHEIGHT, or 720p, 1024p or 1080p with a ratio."
    )
    aspect_ratio: str | None = Field(
        default=None, description="In place of a size: 16:9, 9:16, 1:1, 16:10 or 10:16."
    )
    seconds: int = Field(
        default=8,
        ge=1,
        le=3600,
        description="Length of the clip in seconds; of an extension, what it adds.",
    )
    reference: bytes | Path | str | None = Field(
        default=None, description="Path, URL, fsspec URL or bytes of the picture to start from."
    )
    fit: Literal["cover", "contain", "exact"] = Field(
        default="cover", description="How a reference of another size is made to fit."
    )
    kind: Kind = "create"
    source_video_id: str | None = Field(
        default=None,
        min_length=1,
        description="The finished video that a remix, edit or extension starts from.",
    )
    characters: tuple[Annotated[str, StringConstraints(min_length=1)], ...] | None = Field(
        default=None,
        max_length=MAX_CHARACTERS,
        description="Ids of the characters that the prompt names.",
    )
    take: int = Field(default=1, ge=1, description="The nth deliberate repeat of one request.")
    extra: dict[str, JsonValue] = Field(
        default_factory=dict, description="Further fields that this server takes, sent as they are."
    )
    allow_unlisted: bool = Field(
        default=False, description="Send what the catalogue says the model does not offer."
    )
    labels: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="What is yours, such as a product's number: written down with the render, and "
        "sent to nobody.",
    )

    # The key depends on the text alone, however the prompt was given.
    @field_validator("prompt", mode="before", json_schema_input_type=str | ShotPrompt)
    @classmethod
    def _a_shot_becomes_its_text(cls, prompt: Any) -> Any:
        prompt = shot_of(prompt)
        return prompt.text() if isinstance(prompt, ShotPrompt) else prompt

    @field_validator("prompt")
    @classmethod
    def _prompt_says_something(cls, prompt: str) -> str:
        if not prompt.strip():
            raise ValueError("is empty: say what the video shows")
        return prompt

    @field_validator("extra")
    @classmethod
    def _extra_is_what_is_not_checked(cls, extra: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for name, ours in _OWN_FIELDS.items():
            if name in extra:
                raise ValueError(f"holds {name!r}, which would be sent unchecked: use {ours}")
        return extra

    @model_validator(mode="before")
    @classmethod
    def _settle_the_size(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("kind", "create") != "create":
            return data
        size, ratio = data.get("size"), data.get("aspect_ratio")
        return {**data, "size": resolve_size(size, ratio), "aspect_ratio": None}

    @model_validator(mode="after")
    def _a_kind_has_what_it_needs(self) -> Self:
        if self.kind == "create" and self.source_video_id:
            raise ValueError("source_video_id belongs to a remix, edit or extension: set kind")
        if self.kind != "create" and not self.source_video_id:
            raise ValueError(f"kind={self.kind!r} needs source_video_id, the finished video")
        if self.kind != "create" and self.reference is not None:
            raise ValueError(f"{self.kind} takes its picture from its source, not a reference")
        if self.kind != "create" and self.characters:
            raise ValueError(f"{self.kind} takes its characters from its source")
        return self

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Width and height in pixels, where the request says."""
        if self.size is None:
            return None
        width, _, height = self.size.partition("x")
        return int(width), int(height)

    @property
    def title(self) -> str:
        """The prompt on one line of at most 60 characters."""
        return title(self.prompt)

    @property
    def recorded(self) -> dict[str, Any]:
        """Everything but the picture, as plain JSON, for the records."""
        left_out = {"reference"} if self.labels else {"reference", "labels"}
        return self.model_dump(mode="json", exclude=left_out)

    def canonical(self, reference_sha256: str | None) -> dict[str, Any]:
        """Everything that makes this request what it is, as plain JSON.

        Fields that are None are left out, so that a field added in a later
        version leaves the keys of earlier requests as they are.
        """
        fields = self.model_dump(mode="json", exclude=set(NOT_IN_FINGERPRINT), exclude_none=True)
        if reference_sha256:
            fields["reference_sha256"] = reference_sha256
        else:
            del fields["fit"]  # no picture, nothing to fit
        return fields


def title(prompt: str) -> str:
    """Put a prompt on one line of at most 60 characters, for names in a UI."""
    line = " ".join(prompt.split())
    return line if len(line) <= 60 else f"{line[:59].rstrip()}…"


def resolve_size(size: str | None, aspect_ratio: str | None) -> str:
    """Turn a size, a size's name or a ratio into `WIDTHxHEIGHT`.

    Raises:
        ValueError: The size or ratio is not one we know, or they contradict each other; the
            message lists those that there are.
    """
    if aspect_ratio is not None and aspect_ratio not in SIZES_BY_RATIO:
        raise ValueError(
            f"aspect_ratio {aspect_ratio!r} is not one of {', '.join(SIZES_BY_RATIO)}; "
            "give a size in pixels for another"
        )
    if size is None:
        return SIZES_BY_RATIO[aspect_ratio or "16:9"]
    text = str(size).strip().lower()
    if text in SIZES_BY_NAME:
        named = SIZES_BY_NAME[text]
        ratio = aspect_ratio or next(iter(named))
        if ratio not in named:
            raise ValueError(f"size {text} goes with aspect_ratio {' or '.join(named)}")
        return named[ratio]
    match = _SIZE.match(text.replace("\u00d7", "x"))
    if not match:
        raise ValueError(
            f"size {size!r} is neither WIDTHxHEIGHT in pixels, such as 1280x720, "
            f"nor one of {', '.join(SIZES_BY_NAME)}"
        )
    width, height = int(match[1]), int(match[2])
    if min(width, height) < 16 or max(width, height) > 8192:
        most = "16 pixels or more" if min(width, height) < 16 else "8192 pixels at most"
        raise ValueError(f"size {size!r}: each side has {most}")
    if aspect_ratio and not _is_of(width, height, aspect_ratio):
        raise ValueError(
            f"size {width}x{height} is not {aspect_ratio}, the aspect_ratio beside it: leave out "
            "one of them"
        )
    return f"{width}x{height}"


def _is_of(width: int, height: int, aspect_ratio: str) -> bool:
    if SIZES_BY_RATIO[aspect_ratio] == f"{width}x{height}":
        return True
    wide, _, high = aspect_ratio.partition(":")
    return abs(width / height / (int(wide) / int(high)) - 1) <= _RATIO_TOLERANCE


def derived(
    kind: Kind, prompt: str, source: StoredVideo | VideoJob | str, **fields: Any
) -> VideoRequest:
    """Make the request for a video that starts from a finished one.

    Args:
        kind: What is made of it.
        prompt: What to change, or what happens next.
        source: The finished video, whose model is taken over; or the server's id of it.
        fields: The request's other fields.

    Raises:
        InvalidRequestError: It cannot be rendered as it stands.
    """
    return VideoRequest.of(
        prompt=prompt,
        kind=kind,
        model=None if isinstance(source, str) else source.model,
        source_video_id=source if isinstance(source, str) else source.video_id,
        **fields,
    )


def existing(video_id: str) -> VideoRequest:
    """Make the request that keeps a finished video of the server, which pays for nothing."""
    return VideoRequest.of(
        prompt=f"video {video_id}", kind="existing", source_video_id=video_id, model=None
    )
