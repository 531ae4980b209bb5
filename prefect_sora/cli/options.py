"""Options that several commands share, each said once, and what their words mean."""

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter, validators
from pydantic import JsonValue

from prefect_sora.errors import InvalidRequestError

if TYPE_CHECKING:
    from prefect_sora.handles import StoredVideo

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


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """Who renders, and where it is kept."""

    provider: Provider = None
    store: Annotated[
        str,
        Parameter(
            name=("--store", "--output", "-o"),
            help="Where videos and records are kept: a folder, or s3://, gs://, abfs://.",
        ),
    ] = "./renders"


@Parameter(name="*")
@dataclass(frozen=True)
class Sharing:
    """With whom a render is shared."""

    take: Annotated[
        int, Parameter(help="Count it up to render the same request once more in one scope.")
    ] = 1
    scope: Annotated[
        str | None,
        Parameter(help="Runs that name one scope share their renders; without it, each is new."),
    ] = None
    anew: Annotated[
        Flag, Parameter(help="Pay for another one even if an unfinished one is in the store.")
    ] = False


@Parameter(name="*")
@dataclass(frozen=True)
class Waiting:
    """How long to wait for each video, and whether another than was asked for is taken."""

    timeout: Annotated[
        Positive | None,
        Parameter(
            help="Seconds to wait for each video; past them it stays resumable. Without it 600, "
            "and more for clips longer than 8 s, larger than 720p, or of a pro model."
        ),
    ] = None
    stall: Annotated[
        Positive | None,
        Parameter(help="Seconds that status and progress may stay as they are, in a queue too."),
    ] = None
    poll_interval: Annotated[
        Positive, Parameter(help="Shortest pause between two polls, in seconds.")
    ] = 5.0
    strict: Annotated[
        Flag,
        Parameter(help="Fail where the kept clip has another size or length than was asked for."),
    ] = False

    @property
    def options(self) -> dict[str, Any]:
        """The same, as flows and the core take it."""
        return {
            "timeout_seconds": self.timeout,
            "stall_seconds": self.stall,
            "poll_interval_seconds": self.poll_interval,
            "strict": self.strict,
        }


@Parameter(name="*")
@dataclass(frozen=True)
class Shown:
    """What is shown."""

    json: Annotated[
        Flag, Parameter(help="One JSON document on stdout; everything else on stderr.")
    ] = False
    quiet: Annotated[Flag, Parameter(help="Nothing but the result and errors.")] = False
    debug: Annotated[Flag, Parameter(help="Tracebacks, and Prefect's own log.")] = False


WHERE: Final = Where()
SHARING: Final = Sharing()
WAITING: Final = Waiting()
SHOWN: Final = Shown()


def extra_fields(extra: list[str] | None) -> dict[str, JsonValue]:
    """Read the words of --extra; a value that is JSON is taken as such, any other as text.

    Raises:
        InvalidRequestError: One is not KEY=VALUE.
    """
    fields: dict[str, JsonValue] = {}
    for word in extra or []:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise InvalidRequestError(
                f"--extra {word!r} is not KEY=VALUE.", next_step="Nothing was sent."
            )
        try:
            fields[name] = json.loads(value)
        except ValueError:
            fields[name] = value
    return fields


async def find_source(word: str, store: str) -> "tuple[str, StoredVideo | None]":
    """Find the server's id of a video, and its clip where the store has it.

    Args:
        word: The server's id, or the key of a render that the store has kept.
        store: Where it may be kept.

    Raises:
        InvalidRequestError: A key of a render that is not kept.
        StorageError: The store cannot be read.
    """
    from prefect_sora.store.backends import VideoFolder
    from prefect_sora.store.identity import KEY_DIGITS  # what --help need not wait for
    from prefect_sora.store.ledger import Ledger

    if not re.fullmatch(rf"[0-9a-f]{{{KEY_DIGITS}}}", word):
        return word, None
    ledger = Ledger(VideoFolder(store))
    for folder in await ledger.find(word):
        if stored := await ledger.stored(folder):
            return stored.video.video_id, stored.video
    raise InvalidRequestError(
        f"The store {store} keeps no render {word}.",
        next_step="Name a kept render's key, or the server's id of a video; nothing was sent.",
    )
