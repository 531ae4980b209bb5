"""Options that several commands share, each said once, and what their words mean."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter, Token, validators

from prefect_sora.errors import InvalidRequestError
from prefect_sora.errors.next_steps import NextStep

if TYPE_CHECKING:
    from prefect_sora.cli.saved import NamedStore
    from prefect_sora.handles import StoredVideo


Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Words = Annotated[list[str] | None, Parameter(negative="")]


def whole(hint: type, tokens: Sequence[Token]) -> int:
    """Read a whole number; the parser's own way rounds, and a length is paid for.

    Raises:
        ValueError: It is none.
    """
    with suppress(ValueError):
        number = float(tokens[0].value)
        if number.is_integer():
            return int(number)
    raise ValueError(f"{tokens[0].value} is no whole number.")


Whole = Annotated[int, Parameter(converter=whole)]
Count = Annotated[Whole, Parameter(validator=validators.Number(gte=1))]
Positive = Annotated[float, Parameter(validator=validators.Number(gt=0))]

Prompt = Annotated[str, Parameter(name=("--prompt", "-p"))]
Seconds = Annotated[int | None, Parameter(name=("--seconds", "--duration"), converter=whole)]
Size = Annotated[str | None, Parameter(name=("--size", "--resolution"))]

MaxCost = Annotated[
    float | None,
    Parameter(
        validator=validators.Number(gte=0),
        help="What all renders of this run, or of its --scope, may cost together, in USD; past it "
        "nothing more is sent.",
    ),
]

ASK_ABOVE_USD: Final = 5.0
"""Twelve seconds of sora-2-pro at 1792x1024 are $6. Ours."""

AskAbove = Annotated[
    float,
    Parameter(
        validator=validators.Number(gte=0),
        help="On a terminal, ask before what costs more than this, in USD, is sent; not where "
        "--max-cost allows it. A render whose price is not known is sent without asking.",
    ),
]

Provider = Annotated[
    str | None,
    Parameter(
        name=("--provider", "--video-provider"),
        help="Who renders: local, openai, azure, openrouter, together, xai, the URL of a server, "
        "or a saved block as type-slug/name. Without it, openai or azure where their variables "
        "are set.",
    ),
]


ApiKey = Annotated[
    str | None,
    Parameter(
        help="The key of the provider, in place of the environment's: - asks for it, or reads it "
        "from a pipe; fd:3 reads it from a file descriptor. One that is typed stays in the "
        "shell's history."
    ),
]

Profile = Annotated[
    str | None,
    Parameter(
        help="What kind of server a URL or openai is, a fallback too: a profile's name, JSON, or "
        "a file of your own; in place of PREFECT_SORA_PROFILE. Without either it is asked."
    ),
]

STORE: Final = "./renders"

Store = Annotated[
    str,
    Parameter(
        name=("--store", "--output", "-o"),
        help="Where videos and records are kept: a folder, s3://, gs://, abfs://, or a saved "
        "store as sora-video-store/name.",
    ),
]


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """Who renders, and where it is kept."""

    provider: Provider = None
    api_key: ApiKey = None
    profile: Profile = None
    store: Store = STORE


@Parameter(name="*")
@dataclass(frozen=True)
class Into:
    """Who renders, where it is kept, and a file besides."""

    provider: Provider = None
    api_key: ApiKey = None
    profile: Profile = None
    folder: Annotated[
        str | None,
        Parameter(
            name="--store",
            help="Where videos and records are kept: a folder, s3://, gs://, abfs://, or a saved "
            "store as sora-video-store/name. Without it ./renders.",
        ),
    ] = None
    output: Annotated[
        str | None,
        Parameter(
            name=("--output", "-o"),
            help="A file such as clip.mp4, written besides what the store keeps; or another "
            "word for --store.",
        ),
    ] = None

    @property
    def file(self) -> Path | None:
        """The file that is written besides; None where there is none.

        Raises:
            InvalidRequestError: Its folder is not there, or cannot be written to.
        """
        if self.output is None or "://" in self.output or not names_a_file(self.output):
            return None
        path = Path(self.output).expanduser().absolute()
        try:  # before anything is paid for
            if path.is_dir():
                problem = f"{path} is a folder"
            elif not path.parent.is_dir():
                problem = f"there is no folder {path.parent}"
            else:
                NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.").close()
                return path
        except OSError as error:
            problem = f"it cannot be written there ({error.strerror or error})"
        raise InvalidRequestError(
            f"--output {self.output}: {problem}.",
            next_step="Name a file in a folder that is there, and in which you may write.",
        )

    @property
    def store(self) -> str:
        """Where it is kept, as it was named."""
        if self.folder is not None:
            return self.folder
        a_store = self.output is not None and self.file is None
        return str(self.output) if a_store else STORE


def names_a_file(name: str) -> bool:
    """Whether a name is that of a video or a picture, and no folder's."""
    return Path(name).suffix.lower() in (".mp4", ".png", ".jpg", ".jpeg", ".webp")


@Parameter(name="*")
@dataclass(frozen=True)
class Sharing:
    """With whom a render is shared, and from what price on a person is asked."""

    take: Annotated[
        Whole, Parameter(help="Count it up to render the same request once more in one scope.")
    ] = 1
    scope: Annotated[
        str | None,
        Parameter(help="Runs that name one scope share their renders; without it, each is new."),
    ] = None
    anew: Annotated[
        Flag,
        Parameter(
            help="Pass over an unfinished render of the same request, and pay for another; of one "
            "that --scope has kept, --take 2 renders another."
        ),
    ] = False
    ask_above: AskAbove = ASK_ABOVE_USD


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
    max_poll_attempts: Annotated[
        Count | None,
        Parameter(help="Polls of each video, at most; the sooner of this and --timeout ends it."),
    ] = None
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
            "max_poll_attempts": self.max_poll_attempts,
            "strict": self.strict,
        }


Prefect = Annotated[
    bool | None,
    Parameter(
        show_default=False,
        help="Make it a run of Prefect, or not; without it, it is one where a Prefect API is "
        "configured.",
    ),
]


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
INTO: Final = Into()
SHARING: Final = Sharing()
WAITING: Final = Waiting()
SHOWN: Final = Shown()


async def find_source(word: str, store: "NamedStore") -> "tuple[str, StoredVideo | None]":
    """Find the server's id of a video, and its clip where the store has it.

    Args:
        word: The server's id, or the key of a render that the store has kept, or how it begins.
        store: Where it may be kept.

    Raises:
        SoraError: It is no such word, or not kept, or the store cannot be read.
    """
    from prefect_sora.store.identity import is_key, key_of  # what --help need not wait for
    from prefect_sora.store.ledger import Ledger

    if " " in word or names_a_file(word):
        raise InvalidRequestError(
            f"{word!r} is neither a render's key nor a video's id.",
            next_step="`prefect-sora clips` shows the keys. The video comes first, then the words.",
        )
    ledger = Ledger(store.folder)
    if re.fullmatch(r"[0-9a-f]{4,11}", word):  # how one key of the store begins, perhaps
        found = await ledger.find(word)
        word = key_of(found[0]) if len(found) == 1 else word
    if not is_key(word):
        return word, None
    state = await ledger.named(word)
    if state and state.stored:
        return state.stored.video.video_id, state.stored.video
    if state and state.is_on_its_way:
        raise InvalidRequestError(
            "It was accepted, and its video is not kept yet.",
            key=word,
            paid="yes",
            next_step=NextStep("wait", key=word, store=store.name),
        )
    raise InvalidRequestError(
        f"The store {store.name} keeps no render {word}.",
        next_step="Name a kept render's key, or the server's id of a video.",
    )
