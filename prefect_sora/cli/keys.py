"""Keys: a provider's key, from a prompt, a pipe or a file descriptor."""

import logging
import os
import sys
from collections.abc import MutableMapping
from getpass import getpass

from prefect_sora.cli import redaction
from prefect_sora.errors import InvalidRequestError
from prefect_sora.renders.environment import KEY_VARIABLE
from prefect_sora.servers.profiles import HOSTED

log = logging.getLogger(__name__)


def use(word: str, provider: str | None, environ: MutableMapping[str, str] = os.environ) -> None:
    """Use a key for a provider, in this process and in those that it starts.

    Args:
        word: As --api-key took it: -, fd:NUMBER, or the key itself.
        provider: As --provider took it.
        environ: Where the key is put.

    Raises:
        InvalidRequestError: No key is there, or the provider takes none.
    """
    variable = _variable(provider, environ)
    environ[variable] = _read(word)
    if variable.startswith("AZURE_"):  # what is typed is meant, and not what is set besides
        for other in ("AZURE_OPENAI_AD_TOKEN", "PREFECT_SORA_ENTRA_ID"):
            environ.pop(other, None)


def _variable(provider: str | None, environ: MutableMapping[str, str]) -> str:
    if provider is None:
        azure = environ.get("AZURE_OPENAI_ENDPOINT") and not environ.get("OPENAI_BASE_URL")
        return "AZURE_OPENAI_API_KEY" if azure else "OPENAI_API_KEY"
    if "://" in provider:
        return KEY_VARIABLE
    if provider in HOSTED:
        return str(HOSTED[provider].key_variable)
    if provider in ("openai", "azure"):
        return "OPENAI_API_KEY" if provider == "openai" else "AZURE_OPENAI_API_KEY"
    raise InvalidRequestError(
        f"--api-key goes with openai, azure, {', '.join(HOSTED)} or a URL, and not with "
        f"{provider}.",
        next_step="Leave it out: the local renderer takes none, and a saved block has its own.",
    )


def _read(word: str) -> str:
    if word == "-":
        key = getpass("API key: ", sys.stderr) if sys.stdin.isatty() else sys.stdin.readline()
    elif word.startswith("fd:"):
        try:
            with os.fdopen(int(word[3:]), closefd=False) as file:
                key = file.readline()
        except (OSError, ValueError):
            raise InvalidRequestError(
                f"--api-key {word}: no such file descriptor is open.",
                next_step="Open it in the shell, as in --api-key fd:3 3< key.txt.",
            ) from None
    else:
        redaction.hide(word)
        log.warning(
            "The key was typed, so it stands in the shell's history and in the list of processes: "
            "--api-key - asks for it instead."
        )
        key = word
    if not (key := key.strip()):
        raise InvalidRequestError(
            "--api-key: no key was given.", next_step="--api-key - asks for it."
        )
    redaction.hide(key)
    return key
