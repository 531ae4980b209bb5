"""JSON values: what a stranger's JSON says, as plain values that nothing here trips over."""

import json
from collections.abc import Callable
from typing import Any, Final

_DEEPEST: Final = 100
"""Levels of objects and lists in one answer; known servers send six at most. Ours."""

_LONGEST: Final = 300
"""Digits of one whole number: a float holds no more. Ours."""


def parsed(text: bytes | str, redact: Callable[[str], str] = str) -> Any:
    """Read JSON; none of its numbers is too long, none of its texts holds half a character.

    Args:
        text: What came.
        redact: Makes a text one that may be shown.

    Raises:
        ValueError: It is no JSON, or nested too deep.
    """
    try:
        try:
            value = json.loads(text, parse_constant=_nothing)
        except json.JSONDecodeError:
            raise
        except ValueError:  # Python reads no number of more than 4,300 digits
            value = json.loads(text, parse_constant=_nothing, parse_int=_whole)
    except RecursionError:
        raise ValueError("nested too deep") from None
    return cleaned(value, redact)


def cleaned(value: Any, redact: Callable[[str], str] = str, levels: int = _DEEPEST) -> Any:
    """Make a value of JSON one that can be written down and shown.

    Raises:
        ValueError: It is nested too deep.
    """
    if isinstance(value, str):
        # Gateways cut texts, and so characters of two halves.
        whole = value if value.isascii() else value.encode("utf-8", "replace").decode()
        return redact(whole)
    if not isinstance(value, (dict, list)):
        return value
    if levels == 0:
        raise ValueError("nested too deep")
    if isinstance(value, list):
        return [cleaned(one, redact, levels - 1) for one in value]
    return {cleaned(name, redact): cleaned(one, redact, levels - 1) for name, one in value.items()}


def _nothing(_: str) -> None:
    """NaN and the infinities, which are no JSON."""


def _whole(digits: str) -> int | None:
    return int(digits) if len(digits) <= _LONGEST else None
