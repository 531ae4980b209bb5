"""Table formats: rows of CSV, JSON lines, JSON and Parquet, as people and spreadsheets write them.

Each row comes with where it stands, and with its fields or with what is wrong with it.
"""

import csv
import difflib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pydantic import ConfigDict, JsonValue, TypeAdapter, ValidationError

from prefect_sora.errors import InvalidRequestError
from prefect_sora.requests.problems import no_json, whole
from prefect_sora.requests.video import VideoRequest

ALIASES: Final = {"image": "reference"}
"""What a column may be called besides its field's name."""

MEANT: Final = {
    **dict.fromkeys(["duration", "length"], "seconds"),
    **dict.fromkeys(["resolution", "width", "height"], "size"),
    **dict.fromkeys(["ratio", "aspect"], "aspect_ratio"),
    **dict.fromkeys(["text"], "prompt"),
    **dict.fromkeys(["input_reference", "picture", "first_frame"], "reference"),
}
"""What other tools call a request's field: a column of this name would be paid for and ignored."""

COLUMNS: Final = (*VideoRequest.model_fields, *ALIASES)

SUFFIXES: Final = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")

_SEPARATORS: Final = (",", ";", "\t")  # a spreadsheet's own choice depends on its country

Fields = Mapping[str, Any]

_ALIKE: Final = 0.75
"""From where on a name is a slip of the pen. Ours: promt and modell are, product and id are not."""

_JSON: Final = TypeAdapter[JsonValue](JsonValue, config=ConfigDict(strict=True))


def read_rows(
    data: bytes, suffix: str, named: str, defaults: Fields
) -> Iterator[tuple[str, Fields | str]]:
    """Read the rows of a file.

    Args:
        data: All of the file.
        suffix: One of `SUFFIXES`: the file's format.
        named: What errors call the file, at the start of a sentence.
        defaults: Fields that its rows need not have.

    Returns:
        Where each row stands, and its fields or what is wrong with it.

    Raises:
        InvalidRequestError: It is none of that format, or has unknown columns.
    """
    if suffix == ".parquet":
        return _parquet(data, named)
    text = _text(data, named)
    if suffix == ".json":
        return _json(text, named)
    if suffix in (".jsonl", ".ndjson"):
        return _json_lines(text)
    return _csv(text, named, defaults)


def _text(data: bytes, named: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InvalidRequestError(
            f"{named} is not UTF-8 text: line {line} has a byte that is none.",
            next_step="Save it as UTF-8.",
        ) from None


def _csv(text: str, named: str, defaults: Fields) -> Iterator[tuple[str, Fields | str]]:
    """Read CSV as spreadsheets write it; an empty cell is a field that is not given."""
    first = text.lstrip("\r\n").partition("\n")[0]
    separator = next((s for s in _SEPARATORS if "prompt" in _names(first, s)), ",")
    # newline="": the reader itself tells a line's end from one inside quotes.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header: list[str] | None = None
    number = 0
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                _check_columns(header, named, defaults)
                continue
            number += 1
            where = f"row {number} (line {reader.line_num})"
            if len(cells) != len(header):
                yield where, f"it has {len(cells)} cells, and the header has {len(header)}"
            else:
                yield where, {n: c for n, c in zip(header, cells, strict=True) if c.strip()}
    except csv.Error as error:
        raise InvalidRequestError(
            f"{named} is no CSV from line {reader.line_num} on: {error}.",
            next_step="Correct that line, or save the table as CSV anew.",
        ) from None


def _names(line: str, separator: str) -> list[str]:
    return [name.strip().strip('"') for name in line.split(separator)]


def _check_columns(header: list[str], named: str, defaults: Fields) -> None:
    unknown = mistaken(header)
    fields = [ALIASES.get(name, name) for name in header]
    twice = sorted({name for name in fields if fields.count(name) > 1})
    if unknown:
        problem = f"has {unknown}"
    elif twice:
        problem = f"has {twice[0]} twice"
    elif "prompt" not in (*fields, *defaults):
        problem = "has no column prompt"
    else:
        return
    raise InvalidRequestError(
        f"{named} {problem}.",
        next_step=f"Its columns are some of {', '.join(COLUMNS)}.",
    )


def mistaken(names: Iterable[str]) -> str:
    """Name columns that no request has, and that look as if a request's were meant; "": none."""
    told = []
    for name in (each for each in names if each not in COLUMNS):
        near = difflib.get_close_matches(name.lower().replace(" ", "_"), COLUMNS, 1, _ALIKE)
        meant = MEANT.get(name.lower()) or next(iter(near), None)
        told += [f"{name!r} (is it {meant}?)"] if meant else []
    return f"unknown columns: {', '.join(told)}" if told else ""


def labels_in(fields: Fields) -> dict[str, JsonValue]:
    """Take the columns that no request has, which are the user's own, as plain JSON."""
    return {whole(name): _plain(value) for name, value in fields.items() if name not in COLUMNS}


def _plain(value: Any) -> JsonValue:
    try:
        plain = _JSON.validate_python(value)
    except ValidationError:  # a date of Parquet, a number that is none
        return whole(str(value))
    return plain if no_json(plain) is None else whole(str(value))


def _json_lines(text: str) -> Iterator[tuple[str, Fields | str]]:
    number = 0
    for line, written in enumerate(text.split("\n"), 1):  # a prompt may hold other line ends
        if not written.strip():
            continue
        number += 1
        where = f"row {number}" if number == line else f"row {number} (line {line})"
        try:
            value = json.loads(written)
        except (ValueError, RecursionError) as error:
            yield where, f"it is no JSON: {error}"
            continue
        yield where, value if isinstance(value, dict) else "it is no JSON object"


def _json(text: str, named: str) -> Iterator[tuple[str, Fields | str]]:
    problem = "is no list of objects"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        value, problem = None, f"is no JSON: {error}"
    if not isinstance(value, list):
        raise InvalidRequestError(
            f"{named} {problem}.", next_step='Write a list, such as [{"prompt": "a red kite"}].'
        )
    for number, item in enumerate(value, 1):
        yield f"row {number}", item if isinstance(item, dict) else "it is no JSON object"


def _parquet(data: bytes, named: str) -> Iterator[tuple[str, Fields | str]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InvalidRequestError(
            f"{named} is Parquet, which needs pyarrow.",
            next_step="Run: pip install 'prefect-sora[parquet]'.",
        ) from None
    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(data))
    except (pyarrow.ArrowException, OSError) as error:
        raise InvalidRequestError(
            f"{named} is no Parquet file: {error}.", next_step="Write it anew, or as CSV."
        ) from None
    _check_columns(table.column_names, named, {"prompt": ""})
    for number, fields in enumerate(table.to_pylist(), 1):
        # Whole numbers with gaps come as floats with NaN.
        given = {n: v for n, v in fields.items() if v is not None and v == v}
        yield f"row {number}", given
