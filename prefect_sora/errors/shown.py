"""Shown: a stranger's text where it leaves for a terminal, a page or a spreadsheet.

A server's id, error or prompt may hold what a terminal obeys, what turns the reading direction
round, or what a spreadsheet takes for a formula.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

_OBEYED: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but for tab and line feed, DEL, C1 (ECMA-48)
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # of the reading direction (Unicode's UAX 9)
    "\u2028\u2029"  # ends of lines that no source shows
    "\ud800-\udfff]"  # halves of characters, which no terminal can be sent
)

_FORMULA: Final = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""How a formula begins: OWASP's page on CSV injection (2026-11)."""

_NUMBER: Final = re.compile(r"[+\-][\d\s.,()/-]*")
"""What begins like a formula and computes nothing but a number, such as a telephone's."""


def visible(text: str) -> str:
    """The text, where a mark stands for each character that a terminal or a page obeys."""
    return _OBEYED.sub("\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str) -> str:
    """The same, on one line."""
    return " ".join(visible(text).split())


def escaped(json_text: str) -> str:
    r"""A JSON document that says the same, where these characters are written as `\u001b`."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", json_text)


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Write rows as CSV with a header; text that begins like a formula has a `'` before it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_cell, columns))
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, (int, float)) or value is None:
        return value
    text = visible(str(value))
    is_formula = _FORMULA.match(text) and not _NUMBER.fullmatch(text)
    return f"'{text}" if is_formula else text
