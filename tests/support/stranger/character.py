"""Character: what a stranger is like, and what its gateway does, as plain data."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

Prompts = Literal["verbatim", "trimmed", "rewritten"]
Sizes = Literal["verbatim", "rounded"]
Models = Literal["verbatim", "dated", "vendor"]
Lengths = Literal["verbatim", "number", "fraction"]
Times = Literal["seconds", "milliseconds", "zero", "iso", "local"]


@dataclass(frozen=True)
class Character:
    """What a server is like.

    Attributes:
        keys: Accounts by their keys, each with a list of its own; none: nobody is asked for one;
            `*`: each key is an account.
        hides: Fields of a job that are never shown.
        prompts: How a prompt is shown: trimmed of double blanks, or improved by a model.
        sizes: Shown as asked for, or rounded to what the model can do.
        models: Shown as asked for, with a date, or with a vendor before it.
        lengths: Seconds as asked for, as a number, or as the file turned out.
        times: How `created_at` is written; local is the clock on the wall, eight hours ahead.
        clock_s: By how much its clock is ahead.
        dates: Whether it says a Date.
        remembers_s: After how long it forgets a job; None: never.
        durable: Whether jobs outlive its process.
        replicas: How many answer in turn, each with the jobs that it has accepted itself.
        shares_list: Whether the list is that of all replicas.
        shares_jobs: Whether each replica knows a job by its id that another has accepted.
        page: How many jobs a page shows at most.
        says_more: Whether a page says if there is more.
        pages: Whether `after` is followed.
        words: Its own words for the protocol's statuses.
        renders_s: How long a render takes.
    """

    keys: Mapping[str, str] = field(default_factory=dict)
    hides: tuple[str, ...] = ()
    prompts: Prompts = "verbatim"
    sizes: Sizes = "verbatim"
    models: Models = "verbatim"
    lengths: Lengths = "verbatim"
    times: Times = "seconds"
    clock_s: float = 0.0
    dates: bool = True
    remembers_s: float | None = None
    durable: bool = True
    replicas: int = 1
    shares_list: bool = True
    shares_jobs: bool = True
    page: int = 100
    says_more: bool = True
    pages: bool = True
    words: Mapping[str, str] = field(default_factory=dict)
    renders_s: float = 0.05

    def said(self) -> str:
        """It as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, said: str) -> Self:
        """Read it from JSON; what is not there is as usual."""
        return cls(**_known(cls, json.loads(said)))


@dataclass(frozen=True)
class Manner:
    """What the gateway does with some of the requests.

    Attributes:
        on: Which: create (of a picture too), retrieve, list, content, delete, or any.
        forwards: Whether the server gets the request: before the gateway answers, never, or
            `late_s` seconds after the client has its answer.
        status: What the gateway answers; None: it hangs up; 0: the server's own answer.
        body: In which shape: plain text, a web page, JSON of the gateway's own, or nothing.
        headers: Said with it.
        cut: After how many bytes the answer breaks off; None: it is whole.
        late_s: See `forwards`.
        holds_s: How long the client waits for the answer.
        times: How many requests it befalls; None: all.
        chance: The share of requests that it befalls.
    """

    on: str = "create"
    forwards: Literal["first", "never", "late"] = "first"
    status: int | None = None
    body: Literal["text", "page", "json", "empty"] = "text"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    late_s: float = 0.0
    holds_s: float = 0.0
    times: int | None = 1
    chance: float = 1.0

    @property
    def name(self) -> str:
        """It in a word or two, for counting."""
        does = "hangs up" if self.status is None else f"{self.status or 'forwarded'}"
        late = {"first": "", "never": ", not forwarded", "late": ", forwarded late"}[self.forwards]
        rest = f"{' held' if self.holds_s else ''}{' cut' if self.cut is not None else ''}"
        return f"{self.on}: {does} {self.body if self.status else ''}".rstrip() + late + rest

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        """Read it from what JSON makes of it."""
        return cls(**_known(cls, given))


@dataclass(frozen=True)
class Manners:
    """How a gateway behaves.

    Attributes:
        does: What befalls requests; the first that fits each does.
        seed: Of its dice.
        dates: Whether the Date is the gateway's own, in place of the server's.
        clock_s: By how much the gateway's clock is ahead.
    """

    does: tuple[Manner, ...] = ()
    seed: int = 1
    dates: bool = False
    clock_s: float = 0.0

    def said(self) -> str:
        """It as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, said: str) -> Self:
        """Read it from JSON."""
        given = _known(cls, json.loads(said))
        return cls(**{**given, "does": tuple(Manner.read(one) for one in given.get("does", ()))})


def _known(cls: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    names = {one.name for one in fields(cls)}
    if unknown := set(given) - names:
        raise ValueError(f"{cls.__name__} has no {', '.join(sorted(unknown))}")
    return {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
