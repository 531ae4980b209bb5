"""Storyboard: the shots of one film, checked as a whole before the first of them is paid for."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from prefect_sora.errors import InvalidRequestError
from prefect_sora.requests import documents, files
from prefect_sora.requests.problems import reason
from prefect_sora.requests.prompts import shipped, written
from prefect_sora.requests.shots import Prompt, ShotPrompt, Words
from prefect_sora.requests.video import VideoRequest, resolve_size, title

MAX_SHOTS: Final = 200
"""Ours: some half an hour of film, and a contact sheet that can still be opened."""

MAX_TAKES: Final = 20
"""The most takes of one shot. Ours: a typing error costs no more than that."""

Continuity = Literal["last_frame", "cut"]


class Shot(BaseModel):
    """One shot of a storyboard; what it leaves out is as the storyboard says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Prompt
    title: Words | None = Field(
        default=None, description="What people call it; its prompt's beginning where left out."
    )
    seconds: int | None = Field(default=None, ge=1, le=3600, description="Length of the shot.")
    model: Words | None = Field(default=None, description="The video model.")
    keyframe: Words | None = Field(
        default=None,
        description="Path or URL of the picture that it begins with; a path is seen from the "
        "storyboard's file.",
    )
    continuity: Continuity | None = Field(
        default=None,
        description="last_frame: it begins with the last frame of the shot before; cut: it begins "
        "anew. Left out: as the storyboard's chain says.",
    )
    takes: int = Field(
        default=1, ge=1, le=MAX_TAKES, description="How often it is rendered; each take is paid."
    )
    use_take: int = Field(default=1, ge=1, description="Which of them the film shows.")

    @model_validator(mode="after")
    def _the_take_is_one_of_them(self) -> Self:
        if self.use_take > self.takes:
            raise ValueError(f"use_take {self.use_take} is not one of {self.takes} takes")
        return self

    @property
    def name(self) -> str:
        """What people call it."""
        return self.title or title(str(self.prompt))


class Audio(BaseModel):
    """A film's sound, in place of its shots' own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Words = Field(
        description="Path or URL of a sound file, or of a video's sound; a path is seen from the "
        "storyboard's file. What is longer than the film is cut."
    )
    fade_seconds: float = Field(
        default=1.0, ge=0, le=60, description="How long it takes to fall silent at its end."
    )
    repeat: bool = Field(
        default=False, description="Begin it again until the film ends, in place of silence."
    )


class Storyboard(BaseModel):
    """A film in shots: one size, one chain, one title."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: Words = Field(description="The film's name; its folder is named after it.")
    shots: tuple[Shot, ...] = Field(
        description=f"The shots in their order, 1 to {MAX_SHOTS}.",
        # For editors alone: our own check says it in words.
        json_schema_extra={"minItems": 1, "maxItems": MAX_SHOTS},
    )
    chain: Literal["last_frame", "parallel"] = Field(
        default="parallel",
        description="last_frame: each shot begins with the last frame of the one before; "
        "parallel: each begins anew, and several are rendered at once.",
    )
    model: Words | None = Field(
        default="sora-2",
        description="The video model; null lets a server that has only one choose.",
    )
    size: Words | None = Field(
        default=None,
        description="Pixels as WIDTHxHEIGHT, or 720p, 1024p or 1080p; one for all shots.",
    )
    aspect_ratio: str | None = Field(
        default=None,
        description="16:9, 9:16, 1:1, 16:10 or 10:16, in place of a size; 16:9 without either.",
    )
    seconds: int = Field(default=8, ge=1, le=3600, description="Length of a shot.")
    fit: Literal["cover", "contain", "exact"] = Field(
        default="cover", description="How a keyframe of another size is made to fit."
    )
    audio: Audio | None = Field(
        default=None,
        description="The film's sound: the path or URL of a file, or more of it field by field; "
        "left out: the shots' own.",
    )
    extra: dict[str, JsonValue] = Field(
        default_factory=dict, description="Further fields that this server takes."
    )
    allow_unlisted: bool = Field(
        default=False, description="Send what the catalogue says the model does not offer."
    )

    @classmethod
    def of(cls, value: Any, what: str = "The storyboard") -> Self:
        """Read a storyboard from plain values, or say in words what is wrong with it.

        Args:
            value: Its fields, as YAML or JSON has them.
            what: What errors call it.

        Raises:
            InvalidRequestError: Which shot, which field, what is allowed. Nothing was sent.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            found = error.errors(include_url=False)
        wrong = " ".join(map(_in_words, found))
        step = _FIELDS if "extra_forbidden" in {each["type"] for each in found} else _SCHEMA
        raise InvalidRequestError(f"{what} cannot be filmed. {wrong}", next_step=step)

    @field_validator("audio", mode="before", json_schema_input_type=Words | Audio | None)
    @classmethod
    def _a_source_alone_is_audio(cls, audio: Any) -> Any:
        return {"source": str(audio)} if isinstance(audio, (str, Path)) else audio

    @model_validator(mode="after")
    def _it_can_be_filmed(self) -> Self:
        if not self.shots:
            raise ValueError("has no shots: it needs one at least")
        if len(self.shots) > MAX_SHOTS:
            raise ValueError(f"has {len(self.shots)} shots; {MAX_SHOTS} are the most")
        resolve_size(self.size, self.aspect_ratio)
        for number, shot in enumerate(self.shots, start=1):
            if shot.keyframe and self.is_chained(number):
                why = "its continuity" if shot.continuity else "the storyboard's chain"
                raise ValueError(
                    f"Shot {number} has a keyframe, and by {why} it begins with the last frame of "
                    f"shot {number - 1}: give it `continuity: cut`, or leave the keyframe out"
                )
        if self.shots[0].continuity == "last_frame":
            raise ValueError("Shot 1 has no shot before it whose last frame it could begin with")
        return self

    def is_chained(self, number: int) -> bool:
        """Whether a shot, counted from 1, begins with the last frame of the one before."""
        said = self.shots[number - 1].continuity
        if said is None:
            return self.chain == "last_frame" and number > 1
        return said == "last_frame"

    def chains(self) -> list[list[int]]:
        """Group the shots' numbers: those that wait for one another stand together."""
        chains: list[list[int]] = []
        for number in range(1, len(self.shots) + 1):
            if chains and self.is_chained(number):
                chains[-1].append(number)
            else:
                chains.append([number])
        return chains

    async def requests(self) -> list[VideoRequest]:
        """Make the request of each shot's first take; a chained shot has no reference yet.

        Raises:
            InvalidRequestError: A shot cannot be rendered as it stands; it says which.
        """
        return [await self._request(number, shot) for number, shot in enumerate(self.shots, 1)]

    def renders(self, requests: Sequence[VideoRequest]) -> list[VideoRequest]:
        """List what is paid for: each take of each shot; equal requests of unchained shots once.

        Args:
            requests: One for each shot, as `requests` makes them.
        """
        renders: list[VideoRequest] = []
        cuts: list[VideoRequest] = []
        for number, (shot, request) in enumerate(zip(self.shots, requests, strict=True), 1):
            for take in range(1, shot.takes + 1):
                render = request.model_copy(update={"take": take})
                # The picture that a chained shot begins with is not known yet: it equals no other.
                if not self.is_chained(number):
                    if render in cuts:
                        continue
                    cuts.append(render)
                renders.append(render)
        return renders

    async def _request(self, number: int, shot: Shot) -> VideoRequest:
        with naming(number):
            return VideoRequest.of(
                prompt=await written(shot.prompt),
                model=shot.model or self.model,
                size=self.size,
                aspect_ratio=self.aspect_ratio,
                seconds=shot.seconds or self.seconds,
                reference=shot.keyframe,
                fit=self.fit,
                extra=self.extra,
                allow_unlisted=self.allow_unlisted,
            )


@contextmanager
def naming(number: int) -> Iterator[None]:
    """Say of an invalid request which shot it is."""
    try:
        yield
    except InvalidRequestError as error:
        error.message = f"Shot {number}: {error.message}"
        error.args = (error.message,)
        raise


def schema() -> dict[str, Any]:
    """The JSON schema of a storyboard's file; editors check YAML with it, too."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Storyboard.model_json_schema(),
    }


async def read(source: str | Path, *, options: Mapping[str, Any] | None = None) -> Storyboard:
    """Read a storyboard from a YAML or JSON file.

    Args:
        source: Path, http(s) URL, or any URL that fsspec opens. Its keyframes and
            templates are seen from there.
        options: For fsspec's file system.

    Raises:
        InvalidRequestError: There is no such file, or it is no storyboard; it says which
            line, or shot and field; or it names from elsewhere what is not from there.
    """
    value = await documents.read(source, "storyboard", options=options)
    board = Storyboard.of(value, documents.named(source, "storyboard"))
    shots = (_seen_from(source, number, shot) for number, shot in enumerate(board.shots, 1))
    seen: dict[str, Any] = {"shots": tuple(shots)}
    if board.audio:
        place = str(files.seen_from(source, board.audio.source))
        seen["audio"] = board.audio.model_copy(update={"source": place})
    return board.model_copy(update=seen)


def _seen_from(source: str | Path, number: int, shot: Shot) -> Shot:
    prompt = shot.prompt
    with naming(number):
        if isinstance(prompt, ShotPrompt) and prompt.template and not shipped(prompt.template):
            place = str(files.seen_from(source, prompt.template))
            prompt = prompt.model_copy(update={"template": place})
        keyframe = str(files.seen_from(source, shot.keyframe)) if shot.keyframe else None
    return shot.model_copy(update={"prompt": prompt, "keyframe": keyframe})


def _in_words(error: Any) -> str:
    place = list(error["loc"])
    in_shot = place[:1] == ["shots"] and len(place) == 3
    known = (Shot if in_shot else Storyboard).model_fields
    said = reason({**error, "loc": error["loc"][2 * in_shot :]}, known)
    if place[:1] == ["shots"] and len(place) > 1:
        field = ".".join(str(part) for part in place[2:])
        if field in ("size", "aspect_ratio"):
            said = "is the same for all shots of a film: say it beside `shots`"
        return _ended(f"Shot {int(place[1]) + 1}{f', {field}' if field else ''}: {said}")
    field = ".".join(str(part) for part in place)
    return _ended(f"{field}: {said}" if field else said if said[0].isupper() else f"It {said}")


def _ended(said: str) -> str:
    return said if said.endswith("?") else f"{said}."


_SCHEMA: Final = "`prefect-sora storyboard --schema` prints what may stand in one."
_FIELDS: Final = (
    f"A storyboard has the fields {', '.join(Storyboard.model_fields)}; a shot has "
    f"{', '.join(Shot.model_fields)}."
)


__all__ = ["Audio", "Shot", "Storyboard", "naming", "read", "schema"]
