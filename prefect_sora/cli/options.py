"""Options that several commands share, each said once."""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter, validators

Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Words = Annotated[list[str] | None, Parameter(negative="")]
Count = Annotated[int, Parameter(validator=validators.Number(gte=1))]
Positive = Annotated[float, Parameter(validator=validators.Number(gt=0))]

MaxCost = Annotated[
    float | None,
    Parameter(
        validator=validators.Number(gte=0),
        help="What all renders of this run, or of its --scope, may cost together, in USD; past it "
        "nothing more is sent.",
    ),
]

Provider = Annotated[
    str | None,
    Parameter(
        help="Who renders: local, openai, azure, or a saved block as type-slug/name. Without it, "
        "openai or azure where their variables are set."
    ),
]
Store = Annotated[
    str,
    Parameter(
        name=("--store", "--output", "-o"),
        help="Where videos and records are kept: a folder, or s3://, gs://, abfs://.",
    ),
]

DEFAULT_STORE = "./renders"


@Parameter(name="*")
@dataclass(frozen=True)
class Shown:
    """What is shown."""

    json: Annotated[
        Flag, Parameter(help="One JSON document on stdout; everything else on stderr.")
    ] = False
    quiet: Annotated[Flag, Parameter(help="Nothing but the result and errors.")] = False
    debug: Annotated[Flag, Parameter(help="Tracebacks, and Prefect's own log.")] = False
