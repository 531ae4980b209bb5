"""Documents: YAML and JSON as plain values, whatever stands in them."""

import asyncio
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from prefect_sora.errors import InvalidRequestError
from prefect_sora.limits import limits
from prefect_sora.requests.files import UnreadableError, load, public_address


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
    next_step = "Correct it there."
    try:
        data = await load(source, max_bytes=limits().document_max_bytes, options=options)
        return await asyncio.to_thread(_parsed, data.decode("utf-8-sig"))
    except UnreadableError as error:
        problem, next_step = str(error), "Name one that can be read."
    except UnicodeDecodeError:
        problem, next_step = "is not UTF-8 text", "Save it as UTF-8."
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        ends = "stream end" in str(error.problem)
        why = "it ends in the middle of something" if ends else error.problem
        problem = f"is neither YAML nor JSON{where}: {why}"
    except (yaml.YAMLError, RecursionError) as error:
        next_step = "Write it as YAML or JSON."
        problem = f"is neither YAML nor JSON: {' '.join(str(error).split())}"
    raise InvalidRequestError(f"{named(source, what)} {problem}.", next_step=next_step)


def named(source: str | Path, what: str) -> str:
    """Name a file at the start of a sentence, without what may be secret in its URL."""
    return f'The {what} file "{public_address(source)}"'


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)  # YAML's parser refuses the tabs that JSON allows
    except ValueError:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader


class _Loader(yaml.SafeLoader):  # not libyaml's, which a deeply nested document crashes
    """YAML's safe loader, which writes out no bombs and whose errors are all YAML's."""

    def get_single_node(self) -> Any:
        """Compose the document; as written out, it has no more values than are allowed."""
        node = super().get_single_node()
        sizes: dict[int, float] = {}
        if node is not None and _size_of(node, sizes) > (most := limits().document_max_values):
            raise yaml.constructor.ConstructorError(
                None, None, f"its aliases make more than {most:,} values", node.start_mark
            )
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Make a value: a date that is none, say, is an error of the document."""
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"{str(node.value)[:60]!r} is no {kind}", node.start_mark
            ) from error


def _size_of(node: yaml.Node, sizes: dict[int, float]) -> float:
    """Count the values that a node is written out to, aliases followed each time."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in sizes:
        sizes[id(node)] = math.inf  # while it is counted: what holds itself never ends
        inside = node.value
        if isinstance(node, yaml.MappingNode):
            inside = [part for pair in node.value for part in pair]
        sizes[id(node)] = 1 + sum(_size_of(part, sizes) for part in inside)
    return sizes[id(node)]


__all__ = ["named", "read"]
