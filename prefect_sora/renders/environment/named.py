"""Named: who renders, found by the name that a person has typed."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from prefect_sora.errors import InvalidRequestError
from prefect_sora.renders.environment.providers import (
    CHOICES,
    Described,
    Local,
    NamedProvider,
    Saved,
)
from prefect_sora.renders.environment.variables import (
    KEYS,
    PROFILE_VARIABLE,
    at,
    azure,
    hosted,
    openai,
)
from prefect_sora.servers.profiles import HOSTED
from prefect_sora.servers.server import Server

LOCAL_FOLDER_VARIABLE: Final = "PREFECT_SORA_LOCAL_FOLDER"


def named_provider(
    name: str | None,
    environ: Mapping[str, str] = os.environ,
    load: Callable[[str], Server] | None = None,
) -> NamedProvider:
    """Find who renders.

    Args:
        name: As `CHOICES` says; None: openai or azure, where their variables are set.
        environ: What describes the servers.
        load: Describes the server of a saved block.

    Raises:
        InvalidRequestError: Nobody is named, or what is named is not set up.
    """
    if name is None:
        if environ.get("OPENAI_BASE_URL") or environ.get("OPENAI_API_KEY"):
            name = "openai"
        elif environ.get("AZURE_OPENAI_ENDPOINT"):
            name = "azure"
        else:
            step = f"Name one with --provider: {CHOICES}"
            raise InvalidRequestError("No provider is named.", next_step=step)
    if name == "local":
        return Local(local_folder(environ))
    if name == "openai":
        return openai(environ)
    if name == "azure":
        return azure(environ)
    if name in HOSTED:
        return hosted(name, environ)
    if name.startswith(("http://", "https://")):
        return at(name, environ)
    slug, slash, document = name.partition("/")
    if slash and slug and document:
        return Saved(name, load)
    raise InvalidRequestError(f"{name!r} is no provider.", next_step=f"Providers are {CHOICES}")


def named_anywhere(environ: Mapping[str, str] = os.environ) -> str | None:
    """Name whom the environment describes so that another terminal finds the same; None: nobody."""
    url = environ.get("OPENAI_BASE_URL")
    if url and not {"@", "?"} & {*url}:  # which may hold a secret
        return url
    if url or environ.get("OPENAI_API_KEY"):
        return "openai"
    return "azure" if environ.get("AZURE_OPENAI_ENDPOINT") else None


def takes_profile(provider: NamedProvider) -> bool:
    """Whether what a provider can do may be said of it: not where its name or a block says it."""
    told = isinstance(provider, Described) and provider.name not in ("azure", *HOSTED)
    return told and not provider.is_local


def named_profile(environ: Mapping[str, str] = os.environ) -> str | None:
    """Name the profile that the environment does; None for one that is written out there."""
    said = environ.get(PROFILE_VARIABLE, "").strip()
    return said if said and not said.startswith("{") else None


def local_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the local renderer of this user keeps its jobs."""
    folder = environ.get(LOCAL_FOLDER_VARIABLE) or "~/.prefect-sora/renderer"
    return Path(folder).expanduser().absolute()


def described(environ: Mapping[str, str] = os.environ) -> list[Described]:
    """All servers that the environment describes; one that is half described does not count."""
    found = []
    ways: list[tuple[tuple[str, ...], Callable[[Mapping[str, str]], Described]]] = [
        (("OPENAI_BASE_URL", "OPENAI_API_KEY"), openai),
        (("AZURE_OPENAI_ENDPOINT",), azure),
        *(((str(one.key_variable),), partial(hosted, name)) for name, one in HOSTED.items()),
    ]
    for variables, make in ways:
        if any(environ.get(variable) for variable in variables):
            try:
                found.append(make(environ))
            except InvalidRequestError:
                continue
    return found


def keys(environ: Mapping[str, str] = os.environ) -> list[str]:
    """All servers' keys that the environment holds."""
    return [environ[variable] for variable in KEYS if environ.get(variable)]
