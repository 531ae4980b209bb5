"""Addresses: where a server answers, as people write it."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from prefect_sora.errors import InvalidRequestError

log = logging.getLogger(__name__)

Query = tuple[tuple[str, str], ...]

_AZURE_HOSTS: Final = (
    ".openai.azure.com",
    ".services.ai.azure.com",
    ".cognitiveservices.azure.com",
)


def is_azures(base_url: str) -> bool:
    """Whether an address is Azure's own, and no gateway's of its shape."""
    return (urlsplit(base_url).hostname or "").endswith(_AZURE_HOSTS)


def taken_version(base_url: str, version: str | None) -> str | None:
    """Leave out an api-version that is a date, where Azure itself answers.

    Such a one belongs to the older paths, which name a deployment. The v1 API refuses it:
    "api-version query parameter is not allowed when using /v1 path" (pydantic-ai#5066, 2026-04).
    """
    if version and is_azures(base_url) and re.match(r"\d{4}-\d{2}-\d{2}", version):
        log.info("api-version %s is not sent: Azure's v1 API takes no dates.", version)
        return None
    return version


@dataclass(frozen=True)
class AzureAddress:
    """What an Azure endpoint names.

    Attributes:
        base_url: Where the v1 API answers.
        query: Sent with every request, such as api-version.
        deployment: The video model's.
        image_deployment: The image model's.
    """

    base_url: str
    query: Query = ()
    deployment: str | None = None
    image_deployment: str | None = None


def azure_address(
    endpoint: str,
    api_version: str | None = None,
    deployment: str | None = None,
    image_deployment: str | None = None,
) -> AzureAddress:
    """Read an endpoint as Azure's portal, samples and gateways write it.

    Args:
        endpoint: The resource's URL, with or without /openai/v1, or as far as
            /openai/deployments/NAME/…, and with or without ?api-version=.
        api_version: In place of the one in the URL.
        deployment: The video model's, where the URL names none.
        image_deployment: The image model's.

    Raises:
        InvalidRequestError: It is no address, or says two things at once.
    """
    url, query = clean_url(endpoint)
    versions = {value for name, value in query if name == "api-version"}
    if len(versions) > 1:
        raise InvalidRequestError(
            f"The endpoint names several api-versions: {', '.join(sorted(versions))}.",
            next_step="Leave one, or none: Azure's v1 API needs none.",
        )
    version = api_version or taken_version(url, next(iter(versions), None))
    rest = tuple(pair for pair in query if pair[0] != "api-version")
    path = urlsplit(url).path.split("/")
    host, below = url.removesuffix("/".join(path)), list[str]()
    if "openai" in path:
        below = path[path.index("openai") + 1 :]
        path = path[: path.index("openai")]
    if below[:1] == ["deployments"] and below[1:]:
        named = unquote(below[1])
        if below[2:3] == ["images"]:
            image_deployment = _one(named, image_deployment, "image_deployment")
        else:
            deployment = _one(named, deployment, "deployment")
    for name in filter(None, (deployment, image_deployment)):
        if not re.fullmatch(r"[\w.-]+", name):
            raise InvalidRequestError(
                f"{name!r} is no deployment's name.",
                next_step="It has letters, digits, - _ and ., as the portal shows it under "
                "Deployments; a model's name with its vendor's is none.",
            )
    return AzureAddress(
        base_url=f"{host}{'/'.join(path)}/openai/v1",
        query=(*rest, ("api-version", version)) if version else rest,
        deployment=deployment,
        image_deployment=image_deployment,
    )


def _one(in_url: str, given: str | None, name: str) -> str:
    if given not in (None, in_url):
        raise InvalidRequestError(
            f"The endpoint names the deployment {in_url!r}, and {name} is {given!r}.",
            next_step="Name it once.",
        )
    return in_url


def without_secrets(address: str) -> tuple[str, dict[str, str]]:
    """Take out of an address what may be a gateway's key: its query, without the api-version.

    Raises:
        InvalidRequestError: It carries a user or a password.
    """
    try:
        parts = urlsplit(address.strip())
    except ValueError:  # it is refused where it is used
        return address, {}
    if parts.username or parts.password:
        clean_url(address)
    query = dict(parse_qsl(parts.query))
    taken = {name: value for name, value in query.items() if name != "api-version"}
    if not taken:
        return address, {}
    plain = {name: value for name, value in query.items() if name not in taken}
    return urlunsplit(parts._replace(query=urlencode(plain))), taken


def with_query(address: str, query: Mapping[str, Any]) -> str:
    """Put what was taken out of an address back."""
    if not query:
        return address
    return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"


def clean_url(base_url: str) -> tuple[str, Query]:
    """Split a base_url into itself, without slash and query, and the query's pairs.

    Raises:
        InvalidRequestError: No http(s) scheme, no host, or credentials in it.
    """
    text = base_url.strip()
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme.lower() not in ("http", "https") or not host:
        raise InvalidRequestError(
            "base_url is not an http(s) address.",
            next_step="Give it as https://host/v1, with the path under which /videos answers.",
        )
    if parts.username or parts.password:
        raise InvalidRequestError(
            f"base_url for {host} carries credentials.",
            next_step="Take them out of the URL and give them as api_key: URLs end up in logs.",
        )
    netloc = f"[{host}]" if ":" in host else host
    netloc += f":{port}" if port else ""
    url = f"{parts.scheme.lower()}://{netloc}{parts.path.rstrip('/')}"
    return url, tuple(parse_qsl(parts.query))
