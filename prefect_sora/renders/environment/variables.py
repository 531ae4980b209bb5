"""Variables: the servers that the environment describes."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

from pydantic import SecretStr

from prefect_sora.errors import InvalidRequestError
from prefect_sora.renders.environment.providers import Described
from prefect_sora.servers.access.addresses import is_azures, taken_version
from prefect_sora.servers.access.tokens import entra_tokens, given_token, has_identity
from prefect_sora.servers.access.webhooks import Webhooks
from prefect_sora.servers.profiles import HOSTED, Profile, read_profile
from prefect_sora.servers.server import azure_server, remote
from prefect_sora.servers.video_prices import by_model, prices_from_json

OPENAI_URL: Final = "https://api.openai.com/v1"
"""The openai SDK's default for OPENAI_BASE_URL."""

PROFILE_VARIABLE: Final = "PREFECT_SORA_PROFILE"
PRICES_VARIABLE: Final = "PREFECT_SORA_PRICES"
KEY_VARIABLE: Final = "PREFECT_SORA_API_KEY"
"""The key of a server that is named by its URL."""

ENTRA_VARIABLE: Final = "PREFECT_SORA_ENTRA_ID"
"""Asks for Entra ID's tokens, as azure-identity finds who asks."""

KEYS: Final = (
    "OPENAI_API_KEY",
    "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_AD_TOKEN",
    KEY_VARIABLE,
    *(profile.key_variable for profile in HOSTED.values() if profile.key_variable),
)


def openai(environ: Mapping[str, str]) -> Described:
    """Describe OpenAI's server, or another at OPENAI_BASE_URL.

    Raises:
        InvalidRequestError: Neither address nor key is set.
    """
    key, url = environ.get("OPENAI_API_KEY"), environ.get("OPENAI_BASE_URL")
    if not url and not key:
        raise InvalidRequestError(
            "The provider openai needs OPENAI_BASE_URL for a server that still renders, or "
            "OPENAI_API_KEY for OpenAI's own.",
            next_step="Set it in the environment.",
        )
    return _described("openai", url or OPENAI_URL, key, environ)


def hosted(name: str, environ: Mapping[str, str]) -> Described:
    """Describe a server whose address is the same for everybody, by the name of its profile.

    Another address of it, such as a proxy's, may stand in NAME_BASE_URL.

    Raises:
        InvalidRequestError: Its key is not set.
    """
    profile = HOSTED[name]
    variable, url = str(profile.key_variable), environ.get(url_variable(profile))
    if not environ.get(variable):
        raise InvalidRequestError(
            f"The provider {name} needs {variable}.", next_step="Set it in the environment."
        )
    own = _profile(environ.get(PROFILE_VARIABLE) or name)
    if read_profile(own).base_url != profile.base_url:
        own = name  # it is of another server
    key = SecretStr(environ[variable])
    return _as_block(name, {"base_url": url or profile.base_url, "api_key": key}, own, environ)


def url_variable(profile: Profile) -> str:
    """Name the variable that holds another address of a hosted server."""
    return f"{str(profile.key_variable).removesuffix('_API_KEY')}_BASE_URL"


def at(url: str, environ: Mapping[str, str]) -> Described:
    """Describe the server at a URL; the key of another server is not sent there."""
    key = environ.get(KEY_VARIABLE)
    if not key and _host(url) == _host(environ.get("OPENAI_BASE_URL") or OPENAI_URL):
        key = environ.get("OPENAI_API_KEY")
    for profile in HOSTED.values():
        if not key and _host(url) == _host(str(profile.base_url)):
            key = environ.get(str(profile.key_variable))
    return _described(url, url, key, environ)


def _host(url: str) -> tuple[str, str]:
    """What a key is sent to: scheme, and name with port."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.rpartition("@")[2].lower()


def _described(name: str, url: str, key: str | None, environ: Mapping[str, str]) -> Described:
    fields = {
        "base_url": url,
        "api_key": SecretStr(key) if key else None,
        "organization": environ.get("OPENAI_ORG_ID") or None,
        "project": environ.get("OPENAI_PROJECT_ID") or None,
    }
    return _as_block(name, fields, _profile(environ.get(PROFILE_VARIABLE) or "auto"), environ)


def _as_block(
    name: str,
    fields: Mapping[str, Any],
    profile: str | dict[str, Any],
    environ: Mapping[str, str],
) -> Described:
    own = prices_from_json(environ.get(PRICES_VARIABLE), PRICES_VARIABLE)
    server = remote(**cast(Any, fields), profile=read_profile(profile), prices=own)
    variable = f"{name.upper()}_WEBHOOK_SECRET" if name.isalpha() else None
    webhooks = Webhooks.of_environment(variable, environ)
    told = webhooks or Webhooks()
    as_block = {
        **fields,
        "profile": profile,
        "prices": by_model(own),
        "webhook_url": told.url,
        "webhook_secret": told.secret,
    }
    return Described(name, replace(server, webhooks=webhooks), as_block)


def _profile(text: str) -> str | dict[str, Any]:
    """Read a profile's name, or one of the user's own as JSON, or from a file of this machine.

    Raises:
        InvalidRequestError: It begins like JSON and is none, or the file cannot be read.
    """
    if text.lower().endswith((".json", ".yaml", ".yml")):
        return _from_file(text)
    if not text.lstrip().startswith("{"):
        return text
    try:
        return cast("dict[str, Any]", json.loads(text))
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(
            f"{PROFILE_VARIABLE} is no JSON: {error}.",
            next_step='Set it to a name, or to what differs: {"base": "generic", "can_list": '
            "false}.",
        ) from None


def _from_file(path: str) -> dict[str, Any]:
    import yaml  # only where it is needed

    try:
        written = yaml.safe_load(Path(path).expanduser().read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        written = getattr(error, "strerror", None) or "it is no YAML or JSON"
    if not isinstance(written, dict):
        why = written if isinstance(written, str) else "it holds no fields"
        raise InvalidRequestError(
            f"The profile {path} cannot be read: {why}.",
            next_step="Write it as a mapping, with a base and what differs from it.",
        )
    return written


def azure(environ: Mapping[str, str]) -> Described:
    """Describe a deployment on Azure, by the variables that the openai SDK reads.

    Raises:
        InvalidRequestError: No endpoint is set, or what is set does not go together.
    """
    endpoint = environ.get("AZURE_OPENAI_ENDPOINT")
    if not endpoint:
        raise InvalidRequestError(
            "The provider azure needs AZURE_OPENAI_ENDPOINT.",
            next_step="Set it in the environment, with AZURE_OPENAI_API_KEY and "
            "AZURE_OPENAI_DEPLOYMENT.",
        )
    names = ("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN", ENTRA_VARIABLE)
    given = [name for name in names if environ.get(name)]
    if len(given) > 1:
        raise InvalidRequestError(
            f"{' and '.join(given)} are set, and each says who asks.",
            next_step="Unset all but one of them.",
        )
    key, token = environ.get("AZURE_OPENAI_API_KEY"), environ.get("AZURE_OPENAI_AD_TOKEN")
    # Azure itself takes nobody without credentials, so those of this machine are meant.
    entra_id = bool(environ.get(ENTRA_VARIABLE))
    entra_id |= not given and is_azures(endpoint) and has_identity()
    fields: dict[str, Any] = {
        "endpoint": endpoint,
        "deployment": environ.get("AZURE_OPENAI_DEPLOYMENT") or None,
        "image_deployment": environ.get("AZURE_OPENAI_IMAGE_DEPLOYMENT") or None,
        "api_key": SecretStr(key) if key else None,
        "api_version": taken_version(endpoint, environ.get("OPENAI_API_VERSION") or None),
    }
    own = prices_from_json(environ.get(PRICES_VARIABLE), PRICES_VARIABLE)
    given_one = given_token(token.strip()) if token else None
    tokens = entra_tokens() if entra_id else given_one
    server = azure_server(**fields, prices=own, token=tokens)
    fields |= {"entra_id": entra_id, "azure_ad_token": SecretStr(token) if token else None}
    return Described("azure", server, {**fields, "prices": by_model(own)})
