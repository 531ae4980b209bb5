"""Masks: what Prefect shows in a secret's place is no secret, and is not sent as one."""

from pydantic import SecretStr

from prefect_sora.errors import InvalidRequestError


def usable(secret: SecretStr | None, name: str) -> SecretStr | None:
    """Return a secret that is one.

    Raises:
        InvalidRequestError: It is a mask.
    """
    if secret is not None and is_mask(secret.get_secret_value()):
        raise masked(name)
    return secret


def is_mask(value: object) -> bool:
    """Whether it is a row of asterisks: Prefect shows eight, or ten, of them."""
    return isinstance(value, str) and set(value) == {"*"}


def masked(name: str) -> InvalidRequestError:
    """Say how a secret reaches a deployment."""
    return InvalidRequestError(
        f"{name} is a row of asterisks: Prefect hides secrets in a run's parameters.",
        next_step="Pass a saved block to a deployment by reference, as "
        '{"$ref": {"block_document_slug": "type-slug/name"}}, not the block itself.',
    )
