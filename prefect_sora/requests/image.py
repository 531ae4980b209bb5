"""What to draw: one frozen value, checked before anything is sent."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, JsonValue, StringConstraints, field_validator, model_validator

from prefect_sora.requests.problems import Request
from prefect_sora.requests.video import title

DEFAULT_MODEL: Final = "gpt-image-2"

MAX_PROMPT_CHARACTERS: Final = 32_000
"""OpenAI's openapi.yaml, `CreateImageRequest.prompt` (2026-08-21)."""

MAX_INPUTS: Final = 16
"""OpenAI's openapi.yaml, `CreateImageEditRequest.image` (2026-08-21)."""

MAX_COUNT: Final = 10
"""OpenAI's openapi.yaml, `n` of both requests (2026-08-21)."""

MIN_EDGE: Final = 16
"""The shortest side of a picture, in pixels, as of a video. Ours."""

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")

_OWN_FIELDS: Final = {
    **{name: name for name in ("prompt", "model", "size", "n", "quality", "style", "background")},
    **{name: name for name in ("output_format", "output_compression", "moderation")},
    **{name: name for name in ("input_fidelity", "mask", "images")},
    "image": "images",
    "stream": "no stream: a picture is kept when it is whole",
}
"""What the wire calls the fields that are checked, and what we call them."""

# The pictures stand in the key by their hashes.
NOT_IN_FINGERPRINT: Final = frozenset({"images", "mask", "allow_unlisted"})

Source = bytes | Path | str


class ImageRequest(Request):
    """One image render, as it was asked for: new pictures, or with `images` a change of those.

    What is None is not sent, and the server's own default holds. Equal requests with equal
    takes, in one scope and on one server, are one render.

    Raises:
        InvalidRequestError: From `ImageRequest.of`, in words for a person. The constructor
            itself raises pydantic's `ValidationError`.
    """

    prompt: Annotated[str, StringConstraints(max_length=MAX_PROMPT_CHARACTERS)] = Field(
        description="What to show; with images, what to change."
    )
    model: str | None = Field(
        default=DEFAULT_MODEL, description="The image model; None lets the server choose."
    )
    size: str | None = Field(default=None, description="Pixels as WIDTHxHEIGHT, or auto.")
    n: int = Field(default=1, ge=1, le=MAX_COUNT, description="How many pictures.")
    quality: str | None = Field(default=None, description="Such as low, medium, high or auto.")
    style: str | None = Field(default=None, description="vivid or natural, of dall-e-3.")
    background: str | None = Field(
        default=None, description="transparent, opaque or auto; white or black where offered."
    )
    output_format: Literal["png", "jpeg", "webp"] | None = None
    output_compression: int | None = Field(
        default=None, ge=0, le=100, description="In percent, of jpeg and webp."
    )
    moderation: Literal["auto", "low"] | None = None
    input_fidelity: Literal["high", "low"] | None = Field(
        default=None, description="How closely an edit keeps to its pictures."
    )
    images: tuple[Source, ...] = Field(
        default=(),
        max_length=MAX_INPUTS,
        description="Paths, URLs, fsspec URLs or bytes of the pictures to change.",
    )
    mask: Source | None = Field(
        default=None, description="A PNG of the first picture's size, clear where it may change."
    )
    take: int = Field(default=1, ge=1, description="The nth deliberate repeat of one request.")
    extra: dict[str, JsonValue] = Field(
        default_factory=dict, description="Further fields that this server takes, sent as they are."
    )
    allow_unlisted: bool = Field(
        default=False, description="Send what the catalogue says the model does not offer."
    )

    @field_validator("prompt")
    @classmethod
    def _prompt_says_something(cls, prompt: str) -> str:
        if not prompt.strip():
            raise ValueError("is empty: say what the picture shows")
        return prompt

    @field_validator("size")
    @classmethod
    def _size_in_pixels(cls, size: str | None) -> str | None:
        if size is None:
            return None
        text = size.strip().lower().replace("\u00d7", "x")
        match = _SIZE.fullmatch(text)
        if text != "auto" and not match:
            raise ValueError(f"{size!r} is neither WIDTHxHEIGHT in pixels, as 1024x1024, nor auto")
        if match and min(int(match[1]), int(match[2])) < MIN_EDGE:
            raise ValueError(f"{size!r} is too small: each side has {MIN_EDGE} pixels or more")
        return text

    @field_validator("extra")
    @classmethod
    def _extra_is_what_is_not_checked(cls, extra: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for name, ours in _OWN_FIELDS.items():
            if name in extra:
                raise ValueError(f"holds {name!r}, which would be sent unchecked: use {ours}")
        return extra

    @model_validator(mode="after")
    def _fields_that_go_together(self) -> Self:
        if self.mask is not None and not self.images:
            raise ValueError("a mask says where a picture may change: give that as images")
        if self.input_fidelity is not None and not self.images:
            raise ValueError("input_fidelity is of an edit: give the pictures as images")
        if self.background == "transparent" and self.output_format == "jpeg":
            raise ValueError("a JPEG cannot be transparent: use output_format png or webp")
        if self.output_compression is not None and self.output_format not in ("jpeg", "webp"):
            raise ValueError("output_compression goes with output_format jpeg or webp")
        return self

    @property
    def title(self) -> str:
        """The prompt on one line of at most 60 characters."""
        return title(self.prompt)

    def canonical(self, reference_sha256: str | None) -> dict[str, Any]:
        """Everything that makes this request what it is, as plain JSON, for the key.

        Fields that are None are left out, so that a field added in a later
        version leaves the keys of earlier requests as they are.
        """
        fields = self.model_dump(mode="json", exclude=set(NOT_IN_FINGERPRINT), exclude_none=True)
        return {
            "kind": "image",
            **fields,
            **({"inputs_sha256": reference_sha256} if reference_sha256 else {}),
        }


def recorded(fields: Mapping[str, Any]) -> ImageRequest:
    """Read a request back from its record, where pictures that came as bytes are None."""
    images = [b"" if source is None else source for source in fields.get("images", ())]
    return ImageRequest.model_validate({**fields, "images": images})


def inputs_sha256(hashes: list[str], mask: str | None) -> str | None:
    """One hash for all pictures that an edit is given; None where there are none."""
    if not hashes:
        return None
    return hashlib.sha256(json.dumps([hashes, mask]).encode()).hexdigest()
