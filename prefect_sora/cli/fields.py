"""Fields: what --extra KEY=VALUE says."""

import json

from pydantic import JsonValue

from prefect_sora.errors import InvalidRequestError


def fields_of(extra: list[str] | None) -> dict[str, JsonValue]:
    """Read the words of --extra; a value that is JSON is taken as such, any other as text.

    Raises:
        InvalidRequestError: One is not KEY=VALUE.
    """
    fields: dict[str, JsonValue] = {}
    for word in extra or []:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise InvalidRequestError(
                f"--extra {word!r} is not KEY=VALUE.", next_step="Nothing was sent."
            )
        try:
            fields[name] = json.loads(value)
        except ValueError:
            fields[name] = value
    return fields
