"""Parameters: names, types, defaults and descriptions that flows and tasks share, each said once.

A function takes them as `**how: Unpack[RenderParameters]`. `spelled_out` gives the function a
signature with each of them by name. Prefect makes the form in its UI from that signature.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ParamSpec, TypedDict, TypeVar, cast, get_args, get_type_hints

from pydantic import Field, JsonValue
from pydantic.fields import FieldInfo
from pydantic.json_schema import SkipJsonSchema

from prefect_sora.blocks import OneOrMore, VideoStore
from prefect_sora.renders.finish.cancel import OnCancel
from prefect_sora.renders.finish.polling import OnProgress
from prefect_sora.renders.submit.decide import Policy
from prefect_sora.renders.submit.options import Budget, RenderOptions
from prefect_sora.requests.video import VideoRequest
from prefect_sora.tasks.flow_runs import run_scope

Providers = Annotated[
    OneOrMore,
    Field(
        description="Who renders; of a list the first, the next only where the one before has "
        "certainly not made it."
    ),
]
Model = Annotated[
    str | None,
    Field(
        default="sora-2",
        description="The video model; None lets the server choose its only one.",
    ),
]
AspectRatio = Annotated[
    str | None,
    Field(
        default=None,
        description="16:9, 9:16, 1:1, 16:10 or 10:16, in place of a size; 16:9 without either.",
    ),
]
Size = Annotated[
    str | None,
    Field(
        default=None,
        description="WIDTHxHEIGHT in pixels, 720p, 1024p or 1080p.",
    ),
]
Seconds = Annotated[int, Field(default=8, description="Length of the clip.")]
Take = Annotated[
    int, Field(default=1, description="The nth deliberate repeat of the same request.")
]
Scope = Annotated[
    str | None,
    Field(
        default=None,
        description="Runs that name one scope share their renders; None: this run alone.",
    ),
]
TimeoutSeconds = Annotated[
    float | None,
    Field(
        default=None,
        description="How long to wait for each render; None: 600 s, and more for clips longer than "
        "8 s, larger than 720p, or of a pro model.",
    ),
]
PollIntervalSeconds = Annotated[
    float, Field(default=5, description="Shortest pause between two polls.")
]
StallSeconds = Annotated[
    float | None,
    Field(
        default=None,
        description="How long status and progress may stay as they are; None: to the timeout.",
    ),
]
MaxPollAttempts = Annotated[
    int | None,
    Field(
        default=None,
        ge=1,
        description="How often to ask for each render, at most, which is another way to say how "
        "long to wait: 120 polls at a pause of 5 s are 600 s; None: the timeout alone.",
    ),
]
Progress = Annotated[
    OnProgress | None,
    Field(
        default=None,
        description="Called with the server's Video at each change, plain or async; from Python "
        "alone.",
    ),
    SkipJsonSchema(),
]
Extra = Annotated[
    dict[str, JsonValue] | None,
    Field(default=None, description="Further fields that this server takes."),
]
AllowUnlisted = Annotated[
    bool,
    Field(default=False, description="Send what the catalogue says the model does not offer."),
]
InDoubt = Annotated[
    Policy,
    Field(
        default="stop",
        description="Where nobody can tell whether a render was accepted: stop, or pay again.",
    ),
]
WhenCancelled = Annotated[
    OnCancel,
    Field(
        default="leave",
        description="What becomes of an unfinished job when somebody cancels the run that "
        "submitted it: it goes on, or is deleted where the server stops by that.",
    ),
]
Strict = Annotated[
    bool,
    Field(
        default=False,
        description="Fail where the kept clip has another size or length than was asked for.",
    ),
]
MaxCostUsd = Annotated[
    float | None,
    Field(
        default=None,
        description="What the renders of this scope may cost together; None: no limit.",
    ),
]


class PayParameters(TypedDict, total=False):
    """How a render is shared and paid."""

    scope: Scope
    in_doubt: InDoubt
    max_cost_usd: MaxCostUsd


class SubmitParameters(PayParameters, total=False):
    """How a render is submitted; `timeout_seconds` is how long a server may put us off."""

    timeout_seconds: TimeoutSeconds


class RenderParameters(SubmitParameters, total=False):
    """How a render is shared, paid and waited for."""

    poll_interval_seconds: PollIntervalSeconds
    max_poll_attempts: MaxPollAttempts
    stall_seconds: StallSeconds
    on_cancel: WhenCancelled
    strict: Strict
    on_progress: Progress


class RequestParameters(TypedDict, total=False):
    """What a clip is, beside its prompt."""

    model: Model
    aspect_ratio: AspectRatio
    size: Size
    seconds: Seconds
    take: Take
    extra: Extra
    allow_unlisted: AllowUnlisted


class ClipParameters(RequestParameters, RenderParameters, total=False):
    """All that a flow takes for a clip, beside its prompt, its provider and its store."""


_P = ParamSpec("_P")
_R = TypeVar("_R")


def spelled_out(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Give a function that takes `**` of a TypedDict the signature that names each of its keys.

    They are keyword-only, after the function's own parameters. A default stands in the key's
    `Field`.
    """
    signature = inspect.signature(function)
    own = dict(signature.parameters)
    _, variadic = own.popitem()
    (keys,) = get_args(variadic.annotation)
    shared = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=_default(hint), annotation=hint
        )
        for name, hint in get_type_hints(keys, include_extras=True).items()
    ]
    flat = signature.replace(
        parameters=[
            each.replace(annotation=_named(each.annotation, function.__globals__))
            for each in (*own.values(), *shared)
        ]
    )
    cast(Any, function).__signature__ = flat
    return function


class _Named(type(Annotated[int, 0]), _root=True):  # type: ignore[misc,call-arg] # typing's own
    """An annotated type that is shown by its name: what it is fills half a screen."""

    def __init__(self, kind: Any, name: str) -> None:
        super().__init__(kind.__origin__, kind.__metadata__)
        self.__dict__["shown"] = name

    def __repr__(self) -> str:
        return str(self.__dict__["shown"])


def _named(kind: Any, known: Mapping[str, Any]) -> Any:
    """Have an annotated type shown by its name, where it is used or here, or as the bare type."""
    if not hasattr(kind, "__metadata__"):
        return kind
    names = {id(value): name for each in (globals(), known) for name, value in each.items()}
    return _Named(kind, names.get(id(kind)) or inspect.formatannotation(kind.__origin__))


def _default(hint: Any) -> Any:
    (field,) = (one for one in hint.__metadata__ if isinstance(one, FieldInfo))
    return field.default


def request_of(given: RequestParameters, **fields: Any) -> VideoRequest:
    """Make the request for a clip from what a flow was given.

    Args:
        given: The flow's parameters; those that are no field of a request are left out.
        fields: The request's other fields.

    Raises:
        InvalidRequestError: It cannot be rendered as it stands; nothing was sent.
    """
    said = {k: v for k, v in given.items() if k in RequestParameters.__optional_keys__}
    return VideoRequest.of(**{**said, "extra": said.get("extra") or {}, **fields})


async def options_of(given: PayParameters, store: VideoStore) -> RenderOptions:
    """Turn what a flow or a task was given into options; the scope is the run's own unless given.

    Args:
        given: The parameters; those that say nothing of paying and waiting are left out.
        store: Where the render is kept, whose daily budget holds besides.

    Raises:
        InvalidRequestError: `max_cost_usd` is no amount of money; nothing was sent.
    """
    said: dict[str, Any] = {
        k: v
        for k, v in given.items()
        if k in RenderParameters.__optional_keys__ and k != "on_progress"
    }
    scope = said.pop("scope", None) or await run_scope()
    budget = Budget(said.pop("max_cost_usd", None), store.daily_budget_usd)
    return RenderOptions(scope, budget=budget, **said)
