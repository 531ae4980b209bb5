"""`prefect-sora templates`: the prompt templates of this package, to be read and copied."""

import re
from pathlib import Path

from prefect_sora.cli import exits
from prefect_sora.cli.options import SHOWN, Shown
from prefect_sora.cli.run import run_command
from prefect_sora.cli.screen import Screen
from prefect_sora.errors import InvalidRequestError


def templates(name: str | None = None, *, copy: str | None = None, shown: Shown = SHOWN) -> int:
    """List the prompt templates for shots, show one, or copy it to change it.

    `render --shot FILE --template NAME` uses one; a copy is named by its path.

    Args:
        name: The template to show.
        copy: Write it to this file, which must not be there yet.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        from prefect_sora.requests.prompts import shipped, shipped_names

        if name is None:
            if copy is not None:
                raise InvalidRequestError(
                    "--copy needs the NAME of a template.",
                    next_step=f"Name one of {', '.join(shipped_names())}.",
                )
            known = {each: _about(_text(shipped(each))) for each in shipped_names()}
            screen.document([{"name": each, "about": about} for each, about in known.items()])
            for each, about in known.items():
                screen.result(f"{each}  {about}")
            return exits.OK
        path = shipped(name)
        if path is None:
            raise InvalidRequestError(
                f"There is no template {name!r}.",
                next_step=f"Name one of {', '.join(shipped_names())}.",
            )
        text = _text(path)
        if copy is not None:
            _copy(text, Path(copy).expanduser())
            screen.document({"name": name, "file": copy})
            screen.result(f"✓ {copy}", style="green")
            return exits.OK
        screen.document({"name": name, "text": text})
        screen.result(text.rstrip())
        return exits.OK

    return run_command(shown, body)


def _text(path: Path | None) -> str:
    return path.read_text("utf-8") if path else ""


def _about(text: str) -> str:
    """The comment that a template begins with, on one line."""
    found = re.match(r"\{#-?(.*?)-?#\}", text, re.DOTALL)
    return " ".join(found[1].split()) if found else ""


def _copy(text: str, path: Path) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        problem, what_to_do = "is there already", "Name another, or remove it."
    except OSError as error:
        problem = f"cannot be written: {(error.strerror or str(error)).lower()}"
        what_to_do = "Name a file in a folder that is there."
    else:
        return
    raise InvalidRequestError(f"The file {path} {problem}.", next_step=what_to_do)
