"""Addresses: where a server answers, as people write it."""

from urllib.parse import parse_qsl, urlsplit

from prefect_sora.errors import InvalidRequestError


def clean_url(base_url: str) -> tuple[str, tuple[tuple[str, str], ...]]:
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
