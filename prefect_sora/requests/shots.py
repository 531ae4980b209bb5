"""Shots: what a prompt says about one shot, field by field, and the prose that it becomes.

Shot types, camera angles, camera movements and depths of field are closed lists: a form can
offer them, and a typing error is found before anything is paid. All else is in your own words.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from prefect_sora.requests.shot_words import (
    CAMERA_MOVEMENTS,
    SYNONYMS,
    CameraAngle,
    CameraMovement,
    DepthOfField,
    ShotType,
    as_listed,
)

if TYPE_CHECKING:
    from jinja2 import Environment, Template

TEMPLATES: Final = Path(__file__).parent / "templates"
DEFAULT_TEMPLATE: Final = "sora_shot_prompt.j2"

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class ShotPrompt(BaseModel):
    """One shot in the words of the craft; it stands wherever a prompt does.

    `subject` and `action` say most; a model guesses whatever else is left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: Words = Field(
        description="Who or what is seen, with what makes it recognisable.",
        examples=["a red kite with a forked tail"],
    )
    action: Words | None = Field(
        default=None,
        description="What the subject does, in beats that fit the clip's length.",
        examples=["circles over the park, folds its wings and drops"],
    )
    shot_type: ShotType | None = Field(default=None, description="How much is in the picture.")
    camera_angle: CameraAngle | None = Field(default=None, description="Where it is seen from.")
    camera_movement: CameraMovement | None = Field(
        default=None, description="How the camera moves; one movement a shot."
    )
    lens: Words | None = Field(
        default=None, description="Focal length or kind of lens.", examples=["85 mm", "anamorphic"]
    )
    depth_of_field: DepthOfField | None = Field(default=None, description="How much is sharp.")
    setting: Words | None = Field(
        default=None, description="Where it happens.", examples=["a grassy park above a town"]
    )
    time_of_day: Words | None = Field(
        default=None, description="When, for the light.", examples=["golden hour", "just past noon"]
    )
    weather: Words | None = Field(
        default=None, description="The weather.", examples=["light rain", "high thin clouds"]
    )
    atmosphere: Words | None = Field(
        default=None, description="The mood.", examples=["calm, a little lonely"]
    )
    style: Words | None = Field(
        default=None, description="What it looks like.", examples=["16 mm documentary film"]
    )
    color_grading: Words | None = Field(
        default=None, description="Its colours.", examples=["muted greens, warm highlights"]
    )
    physics: Words | None = Field(
        default=None,
        description="How things move: weight, wind, water.",
        examples=["feathers flutter in gusts"],
    )
    motion_quality: Words | None = Field(
        default=None,
        description="How the motion looks.",
        examples=["smooth, in slow motion", "staccato, 12 frames a second"],
    )
    particles: Words | None = Field(
        default=None,
        description="What is in the air.",
        examples=["dust in the light", "snow", "embers"],
    )
    continuity: Words | None = Field(
        default=None,
        description="What stays as in the shots around it.",
        examples=["the same bird, the same light"],
    )
    sound: Words | None = Field(
        default=None,
        description="What is heard, for models that make sound.",
        examples=["wind, a distant call"],
    )
    template: Words | None = Field(
        default=None,
        description="Path or URL of a template of your own, or a name that `prefect-sora "
        "templates` lists; None: sora_shot_prompt.",
        examples=["prompts/noir.j2", "s3://bucket/prompts/noir.j2", "sora_shot_prompt_defaults"],
    )

    @model_validator(mode="before")
    @classmethod
    def _by_other_names(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        fields = {name: value for name, value in given.items() if name not in SYNONYMS}
        for other, name in SYNONYMS.items():
            if given.get(other) is None:
                continue
            if fields.get(name) is not None:
                raise ValueError(f"{other} is another name of {name}, and both are given")
            fields[name] = given[other]
        return {name: as_listed(name, value) for name, value in fields.items()}

    def __str__(self) -> str:
        """Subject and action, for names."""
        return " ".join(filter(None, (self.subject, self.action)))

    def variables(self) -> dict[str, str]:
        """What a template sees: each field by its name, empty where nothing is said.

        `camera_movement` comes in the words of `CAMERA_MOVEMENTS`; `movement` is its name. A field
        stands under its `SYNONYMS`, too.
        """
        fields = self.model_dump(exclude={"template"})
        movement = self.camera_movement
        phrase = CAMERA_MOVEMENTS[movement] if movement else ""
        said = {name: value or "" for name, value in fields.items()}
        return {
            **said,
            "camera_movement": phrase,
            "movement": movement or "",
            **{other: said[name] for other, name in SYNONYMS.items()},
        }

    def text(self) -> str:
        """Write the prompt, by the template of this package.

        Raises:
            ValueError: It names a template of its own, which has to be read first:
                `prefect_sora.requests.prompts.written` does.
        """
        if self.template:
            raise ValueError(
                f"names the template {self.template!r}, which has to be read first: "
                "`await prefect_sora.requests.prompts.written(prompt)`, or render it in a flow"
            )
        return prose(_default_template().render(self.variables()))


def shot_of(value: Any) -> Any:
    """Read a shot's fields as a `ShotPrompt`; text and a shot pass as they came.

    Raises:
        ValidationError: The fields are not a shot's; it says which.
        ValueError: It is none of these.
    """
    if isinstance(value, dict):
        return ShotPrompt.model_validate(value)
    if not isinstance(value, (str, ShotPrompt)):
        # Not a TypeError: pydantic would not take it for an error of the value.
        raise ValueError("is text, or the fields of a shot")  # noqa: TRY004
    return value


Prompt = Annotated[
    str | ShotPrompt,
    # So an error names the shot's field alone, and does not add that the value is no text.
    BeforeValidator(shot_of),
    Field(description="What to show: text, or a shot field by field."),
]


def prose(text: str) -> str:
    """Tidy what a template made: single spaces, no empty edges, one empty line at most."""
    lines = [" ".join(line.split()) for line in text.strip().splitlines()]
    return "\n".join(
        line for line, before in zip(lines, ["", *lines], strict=False) if line or before
    )


def sandbox(templates: Mapping[str, str]) -> "Environment":
    """Make the jinja2 environment for templates: it runs no code of theirs, and no unknown name.

    Args:
        templates: Sources by name; those of this package are there, too.
    """
    # Imported here, because jinja2 is half of what this module costs to import, and not all
    # who import it write shots.
    from jinja2 import ChoiceLoader, DictLoader, FileSystemLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(
        loader=ChoiceLoader([DictLoader(templates), FileSystemLoader(TEMPLATES)]),
        undefined=StrictUndefined,
        autoescape=False,  # prose for a model, no markup
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _default_template() -> "Template":
    return sandbox({}).get_template(DEFAULT_TEMPLATE)
