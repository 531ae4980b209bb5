"""Asked: a request made of what a command was given, and what is wrong with it in typed words."""

import json
import re
from typing import Any, Final, TypeVar

from pydantic import JsonValue

from prefect_sora.errors import InvalidRequestError
from prefect_sora.requests.problems import Request

_TYPED: Final = {
    "aspect_ratio": "--aspect-ratio",
    "output_compression": "--compression",
    "output_format": "--format",
    "give that as images": "give that with --edit",
    "take": "--take",
    "extra": "--extra",
}
"""What a request's fields are called in a command."""


_Asked = TypeVar("_Asked", bound=Request)


def as_typed(kind: type[_Asked], command: str, **fields: Any) -> _Asked:
    """Make a request of what a command was given; what is wrong is said in the command's words.

    Args:
        kind: What is asked for: a `VideoRequest` or an `ImageRequest`.
        command: The command's name.
        fields: The request's fields.

    Raises:
        InvalidRequestError: As `of` says.
    """
    try:
        return kind.of(**fields)
    except InvalidRequestError as error:
        error.message = re.sub(
            rf"(?<![\w-])({'|'.join(_TYPED)})(?![\w=-])(?! takes)",
            lambda found: _TYPED[found[1]],
            error.message,
        )
        error.advise(f"`prefect-sora {command} --help` says what it takes.")
        raise


def extra_fields(extra: list[str] | None) -> dict[str, JsonValue]:
    """Read the words of --extra; a value that is JSON is taken as such, any other as text.

    Raises:
        InvalidRequestError: One is not KEY=VALUE.
    """
    fields: dict[str, JsonValue] = {}
    for word in extra or []:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise InvalidRequestError(
                f"--extra {word!r} is not KEY=VALUE.",
                next_step="Write it so, as in --extra seed=7.",
            )
        try:
            fields[name] = json.loads(value)
        except ValueError:
            fields[name] = value
    return fields
