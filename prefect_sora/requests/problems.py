"""Problems: what pydantic finds wrong with what a person gave, in words for that person."""

import json
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from prefect_sora.errors import InvalidRequestError


class Request(BaseModel):
    """What is asked for, as one frozen value."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64")

    @classmethod
    def of(cls, **fields: Any) -> Self:
        """Make a request, or say what is wrong with it, one sentence for each problem."""
        try:
            return cls(**fields)
        except ValidationError as error:
            wrong = in_words(error, cls.model_fields)
            raise InvalidRequestError(wrong) from None

    @field_validator("extra", "labels", check_fields=False)
    @classmethod
    def _what_is_sent_and_recorded_is_json(cls, fields: dict[str, Any]) -> dict[str, Any]:
        if fields and (wrong := no_json(fields)):
            raise ValueError(wrong)
        return fields

    @field_validator("model", check_fields=False)
    @classmethod
    def _no_name_is_no_model(cls, model: str | None) -> str | None:
        return model if model and model.strip() else None


def no_json(value: Any) -> str | None:
    """Say why a value cannot be written as JSON that every server reads; None where it can."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        return "holds half a character (a lone surrogate), as is left where an emoji was cut"
    except RecursionError:
        return "is nested too deeply"
    except (ValueError, TypeError) as error:  # NaN, a number of thousands of digits
        return f"is no JSON: {str(error).rstrip('.')}"
    return None


def whole(text: str) -> str:
    """The text without halves of characters, which no file takes."""
    return text.encode(errors="replace").decode()


_WHOLE, _NUMBER, _BOOL = "a whole number", "a number", "true or false"

_WANTED: Final = {
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float", "int_parsing_size"), _WHOLE),
    **dict.fromkeys(("float_parsing", "float_type", "finite_number"), _NUMBER),
    **dict.fromkeys(("bool_parsing", "bool_type"), _BOOL),
    "string_type": "text",
}
"""What stands in a field whose value is of another kind, by pydantic's type of the error."""

_BOUNDS: Final = {
    "greater_than": ("gt", "more than {:g}"),
    "greater_than_equal": ("ge", "{:g} or more"),
    "less_than": ("lt", "less than {:g}"),
    "less_than_equal": ("le", "{:g} at most"),
}

_SHOWN_CHARACTERS: Final = 60


def in_words(error: ValidationError, known: Iterable[str] = ()) -> str:
    """Say of each field what is wrong with it, one sentence each.

    Args:
        error: What was found.
        known: The fields that there are, so that one that is misspelt is told with its like.
    """
    return " ".join(_in_words(each, known) for each in error.errors(include_url=False))


def reason(error: Any, known: Iterable[str] = ()) -> str:
    """Say what is wrong with one field, to follow its name.

    Args:
        error: One of pydantic's `ValidationError.errors()`.
        known: The fields that there are.
    """
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    message = str(error["msg"]).removeprefix("Value error, ")
    match kind:
        case "extra_forbidden":
            like = get_close_matches(str(error["loc"][0]), [*known], n=1) * (len(error["loc"]) == 1)
            return f"is an unknown field{f': did you mean {like[0]}?' if like else ''}"
        case "missing":
            return "is missing"
        case "literal_error":
            return f"must be one of {context['expected']}, not {_shown(given)}"
        case "tuple_type" | "list_type":
            return "must be a list"
        case "model_type" | "dict_type":
            return "must be fields with their names"
        case "string_too_short" if context["min_length"] == 1:
            return "is empty"
        case "string_too_long":
            return f"has {len(given):,} characters; {context['max_length']:,} at most"
        case "too_long":
            return f"holds {context['actual_length']}; {context['max_length']} at most"
    if kind in _WANTED:
        return f"must be {_WANTED[kind]}, not {_shown(given)}"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"must be {words.format(context[name])}, not {_shown(given)}"
    return re.sub(r"^\w+ should ", "should ", message)  # "Input", "String", "List"


def _shown(given: object) -> str:
    text = repr(given)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


def _in_words(error: Any, known: Iterable[str]) -> str:
    where = ".".join(str(part) for part in error["loc"])
    said = f"{where} {reason(error, known)}".strip()
    return said if said.endswith((".", "?")) else f"{said}."


__all__ = ["Request", "in_words", "reason"]
