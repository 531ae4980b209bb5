"""Table: requests from a list, CSV, JSON lines, JSON or Parquet, all checked before any is sent.

Columns are the fields of `VideoRequest`; what else stands there is the user's own, and goes with
the row. The problems of all rows are told at once,
with row and column.
"""

import asyncio
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import JsonValue, ValidationError

from prefect_sora.errors import InvalidRequestError
from prefect_sora.limits import limits
from prefect_sora.requests import files
from prefect_sora.requests.problems import reason, whole
from prefect_sora.requests.table_formats import (
    ALIASES,
    SUFFIXES,
    Fields,
    labels_in,
    mistaken,
    read_rows,
)
from prefect_sora.requests.video import VideoRequest

_SIZE: Final = ("size", "aspect_ratio")


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        number: From 1, without the header.
        where: Its number, and its line in the file where that is another.
        request: What it asks for; None where it is broken.
        problems: What is wrong with it, each with its column.
        prompt: The text in its column prompt, for people.
        labels: The user's own columns, such as a product's number.
    """

    number: int
    where: str
    request: VideoRequest | None = None
    problems: tuple[str, ...] = ()
    prompt: str = ""
    labels: dict[str, JsonValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Hold only what the files of a batch's results can tell."""
        object.__setattr__(self, "where", whole(self.where))
        object.__setattr__(self, "prompt", whole(self.prompt))
        object.__setattr__(self, "problems", tuple(map(whole, self.problems)))


async def read_table(
    source: str | Path,
    *,
    defaults: Fields | None = None,
    options: Mapping[str, Any] | None = None,
) -> list[Row]:
    """Read the rows of a file; a relative picture is looked for beside it.

    Args:
        source: Path, http(s) URL, or any URL that fsspec opens; its suffix says what it is.
        defaults: Fields for the rows that lack them.
        options: For fsspec's file system.

    Raises:
        InvalidRequestError: The file cannot be read, is empty, or has columns that no
            request has. Broken rows are returned, not raised: see `refuse_broken`.
    """
    named = f'The batch file "{files.public_address(source)}"'
    address = (files.public_address(source) or "").lower()
    suffix = next((each for each in SUFFIXES if address.endswith(each)), None)
    if suffix is None:
        is_folder = files.is_folder(source)
        said = "is a folder" if is_folder else f"is none of {', '.join(SUFFIXES)}"
        step = f"Name a file: {', '.join(SUFFIXES)}." if is_folder else "Give one of these."
        raise InvalidRequestError(f"{named} {said}.", next_step=step)
    try:
        data = await files.load(source, max_bytes=limits().table_max_bytes, options=options)
    except files.UnreadableError as error:
        raise InvalidRequestError(
            f"{named} {error}.", next_step="Name one that can be read."
        ) from None
    return await asyncio.to_thread(_rows, data, suffix, source, named, defaults or {})


def rows_of(requests: Iterable[VideoRequest | Fields], defaults: Fields | None = None) -> list[Row]:
    """Take requests, or their fields, as the rows of a table."""
    return [
        _checked(number, f"row {number}", request)
        if isinstance(request, VideoRequest)
        else _row(number, f"row {number}", {**(defaults or {}), **request})
        for number, request in enumerate(requests, 1)
    ]


def refuse_broken(rows: Sequence[Row], *, skipped: bool = False) -> None:
    """Raise what is wrong with all broken rows, each on a line of its own.

    Args:
        rows: All rows.
        skipped: Broken ones are left out already, and no other is left.

    Raises:
        InvalidRequestError: There are some; the first of them are told with row and column.
    """
    broken = [row for row in rows if row.problems]
    if not broken:
        return
    most = limits().table_problems
    told = [f"{row.where}: {', '.join(row.problems)}" for row in broken[:most]]
    told += [f"and {len(broken) - most} more"] if len(broken) > most else []
    lines = "\n  ".join(["", *told]) if len(told) > 1 else f" {told[0]}"
    raise InvalidRequestError(
        f"{len(broken)} of {len(rows)} rows cannot be rendered:{lines}.",
        next_step="No row is left: correct one at least."
        if skipped
        else "Correct them, or go on without them: skip_bad_rows (--skip-bad-rows).",
    )


def _rows(data: bytes, suffix: str, source: str | Path, named: str, defaults: Fields) -> list[Row]:
    found = read_rows(data, suffix, named, defaults)
    rows = [
        _row(number, where, {**defaults, **fields}, [*fields], source)
        if isinstance(fields, Mapping)
        else Row(number, where, problems=(fields,))
        for number, (where, fields) in enumerate(found, 1)
    ]
    if not rows:
        raise InvalidRequestError(
            f"{named} has no rows.",
            next_step="Write a first line such as prompt,seconds,size, then one row per clip.",
        )
    return rows


def _row(
    number: int, where: str, fields: Fields, own: Collection[str] = (), source: str | Path = ""
) -> Row:
    """Check the fields of a row; those of its `own` name pictures as seen from the source."""
    prompt = fields.get("prompt")
    shown = prompt if isinstance(prompt, str) else ""
    labels = labels_in(fields)
    if "id" in labels:
        where += f", id {labels['id']}"
    if unknown := mistaken(fields):
        return Row(number, where, problems=(unknown,), prompt=shown, labels=labels)
    given = {ALIASES.get(n, n): value for n, value in fields.items() if n not in labels}
    if labels and isinstance(given.get("labels") or {}, Mapping):
        given["labels"] = {**labels, **(given.get("labels") or {})}
    try:
        for name in ("reference", *ALIASES):
            if name in own and isinstance(fields[name], str):
                given["reference"] = files.seen_from(source, fields[name])
        return _checked(number, where, VideoRequest(**_read(given)))
    except ValidationError as error:
        problems = _problems(error, given)
    except InvalidRequestError as error:
        problems = [f"column reference: {error.message.rstrip('.')}"]
    except ValueError as error:
        problems = [str(error)]
    return Row(number, where, problems=tuple(problems), prompt=shown, labels=labels)


def _checked(number: int, where: str, request: VideoRequest) -> Row:
    reference = request.reference
    if isinstance(reference, (str, Path)) and files.is_missing(reference):
        shown = files.public_address(reference)
        problem = f'column reference: the picture "{shown}" does not exist'
        return Row(number, where, problems=(problem,), prompt=request.prompt, labels=request.labels)
    return Row(number, where, request, prompt=request.prompt, labels=request.labels)


def _read(given: dict[str, Any]) -> dict[str, Any]:
    """Read the fields that a cell can only hold as text."""
    if isinstance(extra := given.get("extra"), str):
        try:
            given["extra"] = json.loads(extra)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"column extra: it is no JSON: {error}") from None
    if isinstance(characters := given.get("characters"), str):
        given["characters"] = characters.replace(",", " ").split()
    return given


def _problems(error: ValidationError, given: dict[str, Any]) -> list[str]:
    """Say all that is wrong: pydantic stops at a wrong size, so the rest is checked without it."""
    found = error.errors(include_url=False)
    if [each["loc"] for each in found] == [()] and (given.keys() & _SIZE):
        try:
            VideoRequest(**{name: v for name, v in given.items() if name not in _SIZE})
        except ValidationError as more:
            found += [e for e in more.errors(include_url=False) if e["msg"] != found[0]["msg"]]
    return [_problem(each) for each in found]


def _problem(error: Any) -> str:
    column = str(error["loc"][0]) if error["loc"] else None
    message = reason(error, VideoRequest.model_fields)
    if column is None:
        column = next((name for name in _SIZE if message.startswith(f"{name} ")), None)
    return f"column {column}: {message}" if column else message
