"""Next steps: what a person can do about an error, as data; this module alone puts it in words.

The code that raises an error says what can be done; the code that catches it fills in the
render's key, the store and the provider. So a command in an error is complete, and
can be run as it stands.
"""

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Literal, Self

Kind = Literal[
    "tell",
    "again",
    "resume",
    "wait",
    "fetch",
    "adopt",
    "resubmit",
    "delete",
    "free",
    "doctor",
    "renderer",
]

Reader = Literal["api", "terminal", "page", "run"]
"""Who is told: a caller of the package, a person at a terminal, one at a page of Prefect's UI, or
one who looks at the flow run that this process runs, and can retry it."""

CHANGE_THE_PROMPT: Final = (
    "Change the prompt or the reference; the same request is refused again. Usual reasons: real "
    "people, faces in a reference picture, copyrighted characters or music, what is not fit for "
    "those under 18 (docs/guardrails.md)."
)
"""What to do about moderation."""

PUT_IT_BACK: Final = "A record was changed by hand: put it back as it was, or move it away."

_RESUMES: Final[frozenset[Kind]] = frozenset({"resume", "wait", "fetch", "adopt", "resubmit"})

_TAKEN_UP: Final[frozenset[Kind]] = frozenset({"resume", "wait", "fetch"})

_SENTENCES: Final[dict[Kind, str]] = {
    "resume": "Fetch it, without paying again: {command}.",
    "wait": "To wait on without paying again: {command}.",
    "fetch": "{command} fetches it again; the server has it{until}.",
    "adopt": "{command} takes it.",
    "resubmit": "{command} sends, and pays for, it once more.",
    "delete": "{command} deletes it, and with it what was paid for.",
    "free": "{command} deletes the server's copy; the store's stays.",
    "doctor": "{command} tells more.",
    "renderer": "{command} starts it by hand.",
}

_AGAIN: Final[dict[Reader, tuple[str, str]]] = {
    "api": ("Run it again with ", 'the scope "{}"'),
    "terminal": ("Run the same command again with ", "--scope {}"),
    "page": ("Retry its run, or run it again with ", 'the scope "{}"'),
    "run": ("Retry this flow run, or run it again with ", 'the scope "{}"'),
}


@dataclass(frozen=True)
class NextStep:
    """One thing that a person can do.

    Attributes:
        kind: `tell` is what `text` says. `again` runs the same once more. `resume` brings a render
            home, `wait` waits for it, `fetch` fetches its finished video, `adopt` takes a video of
            the server as its outcome, `resubmit` pays for it again. `delete` deletes it at the
            server, and `free` what the store has as well. `doctor` looks at provider, server and
            store. `renderer` starts the local renderer.
        text: The words of `tell`; for any other kind, words before its sentence.
        key: The render's key; None: all that are unfinished.
        video_id: The video to adopt; None: a person finds it at the server.
        scope: The scope to run again with; None: the same as before.
        store: The store, as --store takes it.
        provider: Who renders, as --provider takes it.
        profile: What it can do, as --profile takes it; None: nothing was said of that.
        folder: The local renderer's folder.
        until: How long the server has the video, in Unix seconds; None: it does not say.
    """

    kind: Kind
    text: str = ""
    key: str | None = None
    video_id: str | None = None
    scope: str | None = None
    store: str | None = None
    provider: str | None = None
    profile: str | None = None
    folder: str | None = None
    until: float | None = None

    def known(
        self,
        *,
        key: str | None = None,
        store: str | None = None,
        provider: str | None = None,
        profile: str | None = None,
    ) -> Self:
        """Fill in what was not known where the error was raised; what is set stays."""
        if self.kind in ("tell", "again"):  # they name no render
            return self
        return replace(
            self,
            key=self.key or key,
            store=self.store or store,
            provider=self.provider or provider,
            profile=self.profile or profile,
        )

    @property
    def is_resume(self) -> bool:
        """Whether its command takes up a render."""
        return self.kind in _RESUMES

    @property
    def command(self) -> str | None:
        """The command to type, where it is one."""
        if self.kind == "renderer":
            return _typed("local", ("--folder", self.folder))
        places = (
            ("--store", self.store),
            ("--provider", self.provider),
            ("--profile", self.profile),
        )
        if self.kind == "doctor":
            return _typed("doctor", *places)
        if self.kind in ("delete", "free"):
            flag = " --unkept" if self.kind == "delete" else ""
            return _typed(f"delete {self.video_id or 'VIDEO'}{flag}", *places)
        if not self.is_resume:
            return None
        verb = "resume"
        if self.kind in ("adopt", "resubmit"):  # those name their render
            verb += f" {self.key or 'KEY'} --{self.kind}"
            verb += f" {self.video_id or 'VIDEO_ID'}" if self.kind == "adopt" else ""
        elif self.key:
            verb += f" {self.key}"
        return _typed(verb, *places)

    def words(self, reader: Reader = "api") -> str:
        """Write it as a sentence."""
        sentence = _again(self.scope, reader) if self.kind == "again" else ""
        if self.command:
            until = (
                f" until {clock(self.until)}" if self.until else ", often for no more than an hour"
            )
            sentence = _SENTENCES[self.kind].format(command=f"`{self.command}`", until=until)
        if self.text and self.text[-1] not in ".:" and sentence:
            sentence = sentence[0].lower() + sentence[1:]  # it continues the text
        return " ".join(filter(None, (self.text, sentence)))


NOTHING_SENT: Final = NextStep("tell", "Nothing was sent this time.")

Advice = str | NextStep | Sequence[str | NextStep] | None
"""How an error is given its next steps; a text is a step that says all in words."""


def steps_of(advice: Advice, key: str | None = None) -> tuple[NextStep, ...]:
    """Turn advice into next steps; a step that names no render is about this one."""
    several = [advice] if isinstance(advice, (str, NextStep)) else advice or []
    steps = (NextStep("tell", one) if isinstance(one, str) else one for one in several)
    return tuple(step.known(key=key) for step in steps)


_usual: Reader = "api"


def speak_to(reader: Reader) -> None:
    """Say who reads what this process says of its errors, where nobody else is named."""
    global _usual
    _usual = reader


def in_words(steps: Iterable[NextStep], reader: Reader | None = None) -> str | None:
    """Write next steps as sentences; None where there are none."""
    reader, steps = reader or _usual, [*steps]
    if reader == "terminal" and any(step.kind in _TAKEN_UP for step in steps):
        # Without a scope the same command is another render, which this one stops.
        steps = [step for step in steps if step.kind != "again" or step.scope is not None]
    said = " ".join(filter(None, (step.words(reader) for step in steps)))
    return (_typed_names(said) if reader == "terminal" else said) or None


class Advised:
    """What a person can do something about.

    Attributes:
        steps: What can be done next.
    """

    steps: tuple[NextStep, ...] = ()

    @property
    def next_step(self) -> str | None:
        """What can be done next, in words."""
        return in_words(self.steps)

    @property
    def names_a_resume(self) -> bool:
        """Whether a step says how to take up the render."""
        return any(step.is_resume for step in self.steps)

    def advise(self, *advice: str | NextStep) -> None:
        """Say what can be done next, in place of what was said."""
        self.steps = steps_of(advice)

    def known(
        self,
        *,
        key: str | None = None,
        store: str | None = None,
        provider: str | None = None,
        profile: str | None = None,
    ) -> Self:
        """Fill in what the steps do not say; what is set stays."""
        self.steps = tuple(
            step.known(key=key, store=store, provider=provider, profile=profile)
            for step in self.steps
        )
        return self


def clock(at: float) -> str:
    """Write Unix seconds as a time in UTC."""
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{at:g}"  # no Unix seconds, whatever the server means


def _again(scope: str | None, reader: Reader) -> str:
    begin, named = _AGAIN[reader]
    if scope is None and reader == "terminal":
        return "Run the same command again: what is kept or still renders is not paid again."
    if scope is None:
        return f"{begin}the same scope."
    scope = shlex.quote(scope) if reader == "terminal" else scope
    return f"{begin}{named.format(scope)}: what is kept is not paid for again."


def _typed_names(said: str) -> str:
    """Call options as a person at a terminal types them."""
    said = re.sub(r"(?<!\w)set allow_unlisted(?!\w)(?:=True)?", "add --allow-unlisted", said)
    return re.sub(
        rf"(?<![\w-])({'|'.join(_FLAGS)})(?!\w)(?:=True)?(?: \(--[\w-]+\))?",
        lambda found: _FLAGS[found[1]],
        said,
    )


_FLAGS: Final = {
    "allow_unlisted sends": "--allow-unlisted sends",
    "max_cost_usd": "--max-cost",
    "base_url": "the server's address",
    "timeout_seconds": "--timeout",
    "stall_seconds": "--stall",
    "skip_bad_rows": "--skip-bad-rows",
    "api_key": "the API key",
}


def _typed(verb: str, *options: tuple[str, str | None]) -> str:
    given = "".join(f" {name} {shlex.quote(value)}" for name, value in options if value)
    return f"prefect-sora {verb}{given}"
