"""Profile: what one kind of server can do, and how it says it, as data."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from prefect_sora.handles import Status

Service = Literal["openai", "azure"]
"""The services that have ended models of their own."""

Derives = Literal["remix", "edit", "extend"]
Still = Literal["thumbnail", "spritesheet"]
Route = Literal["create", "remix", "edit", "extend", "retrieve", "list", "delete", "content"]

PATHS: Final[Mapping[Route, str]] = {
    "create": "/videos",
    "remix": "/videos/{id}/remix",
    "edit": "/videos/edits",
    "extend": "/videos/extensions",
    "retrieve": "/videos/{id}",
    "list": "/videos",
    "delete": "/videos/{id}",
    "content": "/videos/{id}/content",
}
"""OpenAI's openapi.yaml (2026-08-21): what a profile's own `paths` differ from."""


PROVIDER: Final = "{provider}"
"""Stands in `list_query` for what a model's name has before its slash."""


class ExtraField(BaseModel):
    """A field that a server takes beyond the protocol, and what may stand in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["int", "number", "text", "bool", "object", "list"] = "text"
    least: float | None = None
    most: float | None = None


class Profile(BaseModel):
    """The capabilities of one kind of video server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="As a block or the command line names it.")
    base_url: str | None = Field(
        default=None, description="Where it answers, where that is one address for everybody."
    )
    key_variable: str | None = Field(
        default=None, description="The environment variable that holds its key, for such a server."
    )
    sync_create: bool = Field(
        default=False,
        description="A create is answered when the video is there, so that a lost connection loses "
        "the render: it is refused.",
    )
    paths: Mapping[Route, str] = Field(
        default={},
        description="Where each request goes below the base_url, as far as it is not OpenAI's "
        "path; {id} stands for the video's id.",
    )
    model_names: tuple[str, ...] = Field(
        default=(), description="Patterns that its models' names fit, such as */*; none: any name."
    )
    model_required: bool = Field(
        default=False,
        description="A model is named whatever is made, also of a finished video.",
    )
    length_field: str = Field(default="seconds", description="Holds a clip's seconds.")
    length_type: Literal["text", "int"] = Field(
        default="text", description="The seconds are written as a text, or as a number."
    )
    size_style: Literal["wxh", "width_height", "resolution_aspect"] = Field(
        default="wxh",
        description="A size is sent as size, WIDTHxHEIGHT; as width and height, numbers; or as "
        "resolution, such as 720p, and aspect_ratio.",
    )
    resolutions: tuple[str, ...] = Field(
        default=(), description="Its resolutions, such as 720p, where it takes them."
    )
    aspect_ratios: tuple[str, ...] = Field(
        default=(), description="Its ratios, such as 16:9, where it takes them."
    )
    image_transport: Literal["file", "data_url", "https"] = Field(
        default="file",
        description="The first frame travels as a file of a form, as a data: URL, or as the "
        "public https address that it was given by.",
    )
    image_fields: Mapping[str, JsonValue] = Field(
        default={"input_reference": "{image}"},
        description="The fields that hold the first frame, where {image} is its URL.",
    )
    source_fields: Mapping[str, JsonValue] = Field(
        default={"video": {"id": "{id}"}},
        description="The fields by which an edit or extension names its source: {id} is its id, "
        "{url} the address of its file, for which the server is asked.",
    )
    list_query: Mapping[str, str] = Field(
        default={},
        description="What a list is asked with; {provider} is what stands before the slash in a "
        "model's name.",
    )
    create_seconds: float | None = Field(
        default=None,
        gt=0,
        description="How long the answer to a create may take; None: as the limits say.",
    )
    transient_402: tuple[str, ...] = Field(
        default=(),
        description="Words in an error's metadata that make a 402 a pause, and no lack of credit.",
    )
    refusing_statuses: tuple[int, ...] = Field(
        default=(),
        description="Statuses by which it says, in words of its own, that it has begun nothing and "
        "may be asked again later.",
    )
    callback_field: str | None = Field(
        default=None,
        description="The field that names the URL to be told of a job's end; {key} in that becomes "
        "the render's key.",
    )
    webhook_scheme: Literal["standard", "openrouter"] | None = Field(
        default=None, description="How it signs its webhooks; None: it sends none."
    )
    id_keys: tuple[str, ...] = Field(
        default=("id", "task_id"), description="Where a job's id may stand."
    )
    names_itself: bool = Field(
        default=True, description="A job that is asked for by its id says its id."
    )
    status_path: str = Field(default="status", description="Where a job's status stands.")
    url_paths: tuple[str, ...] = Field(
        default=("url", "urls.0"),
        description="Where the address of a job's file may stand, the best first; the parts of a "
        "path are joined by dots, and a number counts in a list.",
    )
    url_auth: Literal["same_origin_key", "none"] = Field(
        default="same_origin_key",
        description="Whether such an address is sent the key where it is of the base_url's own "
        "origin; to another it never is.",
    )
    content_route: Literal["first", "last", "none"] = Field(
        default="first",
        description="The file is asked for at the path content before the addresses that the job "
        "names, after them, or there is no such path.",
    )
    content_query: Mapping[str, str] = Field(
        default={}, description="What the path content is asked with."
    )
    done_by_url: bool = Field(
        default=False, description="A job that names a file, and no status, is finished."
    )
    empty_is_failed: bool = Field(
        default=False,
        description="A finished job that names no file has failed; else it is asked again.",
    )
    moderated: Mapping[str, JsonValue] = Field(
        default={},
        description="What a finished job says whose file moderation withheld: paths, as in "
        "url_paths, and what stands there.",
    )
    keeps_seconds: float | None = Field(
        default=None,
        gt=0,
        description="How long it keeps a finished file, where a job does not say until when.",
    )
    form_only: bool = Field(
        default=False, description="A create is a form (multipart), with a picture or without."
    )
    own_model: bool = Field(
        default=False,
        description="It serves one model, whose name need not be said: a Sora model's is not sent.",
    )
    keeps_catalogue: bool = Field(
        default=True,
        description="A model of the catalogue offers there what its own service offered, and no "
        "more; false: the server judges itself.",
    )
    sizes: tuple[str, ...] | None = Field(
        default=None, description="Sizes that it renders, as WIDTHxHEIGHT; None: it has no list."
    )
    strict: bool = Field(
        default=False, description="It refuses a create with a field that it does not know."
    )
    fields: Mapping[str, ExtraField] = Field(
        default={}, description="Fields that it takes beyond the protocol, for `extra`."
    )
    longest_seconds: float | None = Field(
        default=None, description="Longest clip that it renders at once, where it has a limit."
    )
    longest_edge: int | None = Field(
        default=None, description="Longest side of a clip or a picture, in pixels."
    )
    even_sizes: bool = Field(
        default=False, description="Both sides of a clip are even numbers of pixels."
    )
    longest_extension: float | None = Field(
        default=None, description="The most seconds that an extension adds, where it has a limit."
    )
    statuses: Mapping[str, Status] = Field(
        default={},
        description="Its own words for a job's status, as it writes them. Those that any server "
        "is known to use are read without.",
    )
    can_list: bool = Field(default=True, description="`GET /videos` lists this account's jobs.")
    can_delete: bool = Field(default=True, description="`DELETE /videos/{id}` exists.")
    delete_stops: bool | None = Field(
        default=None,
        description="Deleting a job that is being rendered ends its rendering; None: not known.",
    )
    derives: frozenset[Derives] = Field(
        default=frozenset({"remix", "edit", "extend"}),
        description="Which kinds of render start from a finished video there. A server of which "
        "nothing is known is asked: what it lacks, it refuses, and nothing is paid.",
    )
    characters: bool = Field(default=True, description="`POST /videos/characters` exists.")
    variants: frozenset[Still] = Field(
        default=frozenset(), description="Stills that `/content` serves besides the video."
    )
    progress: Literal["percent", "ends", "none"] = Field(
        default="percent", description="What it tells: percent, 0 and then 100, or nothing."
    )
    prompt_verbatim: bool = Field(
        default=False,
        description="A prompt in the Video object is the one that was sent, word for word, so "
        "that a job with another prompt is another's; some servers improve prompts.",
    )
    remembers_seconds: float | None = Field(
        default=86_400, gt=0, description="How long its list shows a job; None: always. As Azure's."
    )
    submit_grace_s: float = Field(
        default=5.0, ge=0, description="How long an accepted job may take to appear in the list."
    )
    longest_create_s: float = Field(
        default=90.0,
        ge=0,
        description="How long after a create request was sent its job may still be accepted. Ours.",
    )
    lost_after_s: float = Field(
        default=180.0,
        ge=0,
        description="How long it must go on saying that it does not know a job until that is "
        "believed: replicas behind one address may each know their own.",
    )

    catalog_path: str | None = Field(
        default=None,
        description="Where its own list of video models is to be had without a key, below the "
        "base_url, in OpenRouter's form: what each offers and costs.",
    )
    cost_path: str | None = Field(
        default=None,
        description="Where it says what a render cost: in the job, such as usage.cost, or the "
        "name of a header of its create's answer.",
    )
    cost_scale: float = Field(default=1.0, gt=0, description="USD of one unit of that cost.")
    cost_source: Literal["final", "estimate_header"] = Field(
        default="final",
        description="Said of an ended job; or in the header that `cost_path` names, where 0 is "
        "said of what is not known.",
    )
    cost_elsewhere_path: str | None = Field(
        default=None,
        description="Where a job says that another bills for it, so that the cost it tells is not "
        "all of it, such as usage.is_byok.",
    )

    def names(self, model: str) -> bool:
        """Whether a model can have this name here."""
        return not self.model_names or any(fnmatchcase(model, such) for such in self.model_names)

    @property
    def lists_by_provider(self) -> bool:
        """Whether each provider behind it has a list of its own."""
        return PROVIDER in self.list_query.values()

    def __hash__(self) -> int:
        """Hash the name alone; equality compares all fields."""
        return hash(self.name)


def found(value: object, path: str) -> Any:
    """Find what stands at a path, whose parts are joined by dots; None where nothing does."""
    for part in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value
