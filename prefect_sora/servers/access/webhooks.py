"""Webhooks: where a server may tell that a job has ended, and the secrets that it signs with."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from prefect_sora.errors import InvalidRequestError

URL_VARIABLE: Final = "PREFECT_SORA_WEBHOOK_URL"
SECRET_VARIABLE: Final = "PREFECT_SORA_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable

_QUERY: Final = "render"
_MARK: Final = re.compile(r"([0-9a-f]{12})-(\d{1,6})-([0-9a-f]{8,64})")


@dataclass(frozen=True)
class Webhooks:
    """What is known of a server's webhooks.

    Attributes:
        url: The public address of the receiver; None where nobody has said that there is one.
        secrets: Any of them may have signed: while one is replaced, both are good.
    """

    url: str | None = None
    secrets: tuple[SecretStr, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, url: str | None, secret: SecretStr | str | None) -> Self | None:
        """Read them as a block or the environment says them; None where nothing is said.

        Args:
            url: The receiver's address.
            secret: One secret, or several with spaces between.

        Raises:
            InvalidRequestError: No server can call the address.
        """
        text = secret.get_secret_value() if isinstance(secret, SecretStr) else secret or ""
        url = (url or "").strip() or None
        if url is None and not text.split():
            return None
        if url is not None:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
                raise InvalidRequestError(
                    "The webhooks' address is no http:// or https:// URL of a host.",
                    next_step="Give the address at which the server reaches the receiver, such as "
                    "https://hooks.example.com/webhooks, without a password.",
                )
            url = url.partition("#")[0]
        return cls(url, tuple(map(SecretStr, text.split())))

    @classmethod
    def of_environment(
        cls, own: str | None = None, environ: Mapping[str, str] = os.environ
    ) -> Self | None:
        """Read them from the environment.

        Args:
            own: The variable of this server's own secret, which comes before the one for all.
            environ: The environment.
        """
        secret = environ.get(own or "") or environ.get(SECRET_VARIABLE)
        return cls.of(environ.get(URL_VARIABLE), secret)

    @property
    def secret(self) -> SecretStr | None:
        """The secrets as a block takes them."""
        text = " ".join(each.get_secret_value() for each in self.secrets)
        return SecretStr(text) if text else None

    def callback(self, mark: str) -> str | None:
        """The address that is sent with a create: it names the render that was asked for."""
        if self.url is None:
            return None
        return f"{self.url}{'&' if '?' in self.url else '?'}{_QUERY}={mark}"


def mark(key: str, attempt: int, token: str) -> str:
    """Name an attempt of a render so that nobody else can: the token is in its record alone."""
    return f"{key}-{attempt}-{token}"


def read_mark(query: str) -> tuple[str, int, str] | None:
    """Read which attempt a query names: its render's key, its number and its token."""
    given = parse_qs(query, max_num_fields=20).get(_QUERY, [""])[0] if len(query) < 2000 else ""
    found = _MARK.fullmatch(given)
    return (found[1], int(found[2]), found[3]) if found else None
