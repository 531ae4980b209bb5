"""The command line: `prefect-sora`.

A command is imported when it is called, and imports what it needs only then:
`--help` loads neither Prefect nor a codec.
"""

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

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


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = sys.argv[1:] if words is None else list(words)
    on_sigterm()
    # For errors that come before a command has read its own arguments.
    shown = Shown(json="--json" in words, debug="--debug" in words)
    try:
        code = app(words, print_error=False, exit_on_error=False, result_action="return_value")
    except CycloptsError as error:
        return _bad_usage(error, Screen(shown))
    except (Exception, InterruptedBySignal, KeyboardInterrupt) as error:
        return Screen(shown).failure(error)
    return code if isinstance(code, int) else exits.OK


def _bad_usage(error: CycloptsError, screen: Screen) -> int:
    said = " ".join(str(error).split())
    screen.err.print(f"✗ {said} See prefect-sora --help.", style="red", markup=False)
    screen.document({"error": {"type": "UsageError", "message": said, "exit_code": exits.USAGE}})
    return exits.USAGE


__all__ = ["app", "main"]
