"""Application: which commands there are, and what is said where one is typed wrongly.

A command is imported when it is called, and imports what it needs only then:
`--help` loads neither Prefect nor a codec.
"""

import shlex
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, Final, get_args

from cyclopts import App, CycloptsError
from cyclopts.exceptions import (
    CoercionError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
    ValidationError,
)

from prefect_sora import __version__
from prefect_sora.cli import exits
from prefect_sora.cli.options import Shown
from prefect_sora.cli.screen import Screen
from prefect_sora.cli.signals import InterruptedBySignal, on_sigterm

_COMMANDS = {
    "render": "Render a prompt into a video that is kept in the store.",
    "batch": "Render a table of requests: CSV, JSON lines, JSON or Parquet.",
    "storyboard": "Render the shots of a storyboard, and join them into a film.",
    "remix": "Make a new video of a finished one, with a change in it.",
    "edit": "Change something in a finished video.",
    "extend": "Have a finished video go on.",
    "image": "Draw pictures from a prompt, or change some, and keep them in the store.",
    "resume": "Bring unfinished renders home, without paying again.",
    "list": "List what the server holds, and what of it the store has kept.",
    "retrieve": "Ask the server how a video stands now.",
    "download": "Write a finished video to a file, from the store or else from the server.",
    "cancel": "Stop a job that is not finished.",
    "delete": "Delete videos at the server; what the store has kept stays.",
    "clips": "List what a store holds, whatever its servers have forgotten.",
    "costs": "Say what a store has paid, by day, model, provider, scope or kind.",
    "mend": "Give files in an object store the content types that they lack.",
    "automate": "Have deployed runs come back by themselves after a crash.",
    "doctor": "Check versions, provider, server, store and Prefect.",
    "webhooks": "Receive webhooks until Ctrl-C: what they tell of comes home at once.",
    "local": "Run the local renderer until Ctrl-C.",
    "estimate": "Say what requests will cost, by model; nothing is sent.",
    "models": "List the known models, their sizes and prices; or tell all that is known of one.",
    "templates": "List the prompt templates for shots; show or copy one.",
}

app = App(
    name="prefect-sora",
    help="AI video, paid for once and kept.",
    help_epilogue=exits.EPILOGUE,
    help_format="plaintext",
    version=__version__,
)
_PLACES = {
    **{name: f"making.{name}:{name}" for name in ("render", "batch", "storyboard", "image")},
    **{name: f"making.derive:{name}" for name in ("remix", "edit", "extend")},
    **{name: f"server.videos:{name}" for name in ("retrieve", "download", "cancel")},
    **{name: f"store.{name}:{name}" for name in ("clips", "costs", "mend")},
    "list": "server.list:list_",
    "delete": "server.delete:delete",
}
"""Where a command stands that is not the function of its name in the file of its name."""

for _name, _help in _COMMANDS.items():
    _place = _PLACES.get(_name, f"{_name}:{_name}")
    app.command(f"prefect_sora.cli.commands.{_place}", name=_name, help=_help)

_ALIKE: Final = 0.75
"""From where on an option is a slip of the pen: --secnods is, --json for --seconds is not. Ours."""

_KINDS: Final[dict[Any, str]] = {float: "a number", int: "a whole number"}
_BOUNDS: Final = {"Must be > ": "more than {}", "Must be >= ": "{} or more"}


def run_words(words: list[str]) -> int:
    """Run one command and return its exit code."""
    on_sigterm()
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    elif words == ["version"]:
        words = ["--version"]
    # For errors that come before a command has read its own arguments.
    shown = Shown(json="--json" in words, debug="--debug" in words)
    screen = Screen(shown, pays=_PLACES.get("".join(words[:1]), "").startswith("making."))
    try:
        code = app(words, print_error=False, exit_on_error=False, result_action="return_value")
    except CycloptsError as error:
        return _bad_usage(error, screen)
    except (Exception, InterruptedBySignal, KeyboardInterrupt) as error:
        return screen.failure(error)
    return code if isinstance(code, int) else exits.OK


def _bad_usage(error: CycloptsError, screen: Screen) -> int:
    """Say what is wrong with a command as it was typed, and where its help is."""
    typed = " ".join(["prefect-sora", *(error.command_chain or ())])
    said = _wrong(error, typed)
    screen.err.print(f"✗ {said} See `{typed} --help`.", style="red", markup=False)
    screen.document({"error": {"type": "UsageError", "message": said, "exit_code": exits.USAGE}})
    return exits.USAGE


def _wrong(error: CycloptsError, typed: str) -> str:
    argument = error.argument
    name = argument.name if argument else ""
    token: Any = getattr(error, "token", None)
    option = getattr(token, "keyword", None) or name
    unused = error.unused_tokens or [""]
    if isinstance(error, UnknownCommandError):
        said = f'There is no command "{unused[0]}".'
        if unused[0].startswith("-"):
            others = " ".join([*error.unused_tokens[1:], unused[0]]) if error.unused_tokens else ""
            said = (
                f"{unused[0]} comes after a command: `prefect-sora {shlex.join(others.split())}`."
            )
        return said + _like(unused[0], _COMMANDS)
    if isinstance(error, UnknownOptionError):
        names = [name for one in error.argument_collection for name in one.names]
        wrong = option or unused[0]
        said = f"`{typed}` has no option {wrong}."
        if typed.endswith(" resume") and wrong == "--all":
            return f"{said} Without a key it resumes all."
        if "ratio" in wrong and "--aspect-ratio" in names:
            return f"{said} Did you mean --aspect-ratio?"
        return said + _like(wrong, names)
    if isinstance(error, UnusedCliTokensError):
        said = f'"{unused[0]}" is one word too many for `{typed}`.'
        return f"{said} Words that belong together stand in quotes."
    if isinstance(error, MissingArgumentError):
        if error.keyword or (argument and argument.tokens):
            return f"{error.keyword or option} needs a value after it."
        return f"`{typed}` needs {name.lstrip('-').upper()}, as a word or as {name}."
    if isinstance(error, RepeatArgumentError):
        return f"{option} is given twice."
    if isinstance(error, CoercionError) and error.msg is None and token is not None:
        kind, choices = error.target_type, [*_choices(error.target_type)]
        wanted = " or ".join(filter(None, [", ".join(choices[:-1]), *choices[-1:]]))
        if kind is bool:
            return f"{option} takes no value."
        return f'{option} must be {wanted or _KINDS.get(kind, kind)}, not "{token.value}".'
    if isinstance(error, CoercionError) and token is not None:
        return f"{option}: {error.msg}"
    if isinstance(error, ValidationError) and argument and argument.tokens:
        given, said = argument.tokens[0], error.exception_message.rstrip(".")
        for begin, words in _BOUNDS.items():
            if said.startswith(begin):
                wanted = words.format(said.removeprefix(begin))
                return f'{given.keyword or name} must be {wanted}, not "{given.value}".'
    return " ".join(str(error).split())


def _like(typed: str, known: Sequence[str] | Any) -> str:
    near = get_close_matches(typed, [*known], n=1, cutoff=_ALIKE)
    return f" Did you mean {near[0]}?" if near else ""


def _choices(hint: Any) -> Iterator[str]:
    """The words that a hint of literals, or of several such hints, allows."""
    for one in get_args(hint):
        if isinstance(one, str):
            yield one
        else:
            yield from _choices(one)
