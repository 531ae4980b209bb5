"""Addresses: a key in one goes into a secret field, because Prefect shows the others."""

from typing import Any, Final

from prefect.types import SecretDict
from pydantic import Field

from prefect_sora.errors.redaction import is_mask, masked
from prefect_sora.servers.access.addresses import with_query, without_secrets

QUERY: Final[Any] = Field(
    default=None,
    description="What a gateway wants in the query of each request, such as its key; what the "
    "address has of that is moved here.",
)


def take_secrets(fields: dict[str, Any], name: str) -> None:
    """Move what may be a key out of an address, which Prefect shows, into the secret query.

    Raises:
        InvalidRequestError: The address carries a user or a password.
    """
    if isinstance(fields.get(name), str):
        fields[name], taken = without_secrets(fields[name])
        if taken:
            given = fields.get("query") or {}
            known = given.get_secret_value() if isinstance(given, SecretDict) else given
            fields["query"] = {**known, **taken}


def with_secrets(address: str, query: SecretDict | None) -> str:
    """Put the secret query back into an address.

    Raises:
        InvalidRequestError: It was masked.
    """
    known = query.get_secret_value() if query else {}
    if any(is_mask(value) for value in known.values()):
        raise masked("query")
    return with_query(address, known)
