"""Documents: YAML and JSON files that people write, read as plain values."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from prefect_sora import sources
from prefect_sora.errors import InvalidRequestError
from prefect_sora.limits import limits


async def read(source: str | Path, what: str, *, options: Mapping[str, Any] | None = None) -> Any:
    """Return what a YAML or JSON file says.

    Args:
        source: Path, http(s) URL, or any URL that fsspec opens.
        what: What it holds, for errors: `The shot file …`.
        options: For fsspec's file system.

    Raises:
        InvalidRequestError: It is missing, unreadable, or neither YAML nor JSON; it says
            in which line.
    """
    next_step = "Mend it; nothing was sent."
    try:
        data = await sources.load(source, max_bytes=limits().document_max_bytes, options=options)
        return _parsed(data.decode("utf-8-sig"))
    except sources.UnreadableError as error:
        problem, next_step = str(error), "Name one that can be read; nothing was sent."
    except UnicodeDecodeError:
        problem = "is not UTF-8 text"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = f"is neither YAML nor JSON{where}: {error.problem}"
    except (yaml.YAMLError, RecursionError) as error:
        problem = f"is neither YAML nor JSON: {' '.join(str(error).split())}"
    raise InvalidRequestError(f"{named(source, what)} {problem}.", next_step=next_step)


def named(source: str | Path, what: str) -> str:
    """Name a file at the start of a sentence, without what may be secret in its URL."""
    return f'The {what} file "{sources.public_address(source)}"'


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)  # YAML's parser refuses the tabs that JSON allows
    except ValueError:
        return yaml.safe_load(text)


__all__ = ["named", "read"]
