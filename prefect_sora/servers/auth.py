"""Auth: tokens are renewed before they end, and an account is recognised without its key."""

import asyncio
import hashlib
import hmac
import os
from collections.abc import Callable
from functools import cache, lru_cache
from time import time
from typing import Any, Final, Protocol

from prefect_sora.errors import AuthenticationError, InvalidRequestError
from prefect_sora.limits import limits

ENTRA_SCOPE: Final = "https://cognitiveservices.azure.com/.default"
"""The scope of a token for Azure OpenAI: Microsoft, azure-ai-docs "Video generation" (2026)."""


class _Access(Protocol):
    """What azure-identity gives: a token, and when it ends, Unix seconds."""

    token: str
    expires_on: int


class TokenSource:
    """Gives a token that is good for the next minutes; one fetch serves all who ask.

    Args:
        begin: Makes the function that fetches, which may cache. It is called again when the
            server refuses a token, so that no cached token comes back.
    """

    def __init__(self, begin: Callable[[], Callable[[], _Access]]) -> None:
        self._begin = begin
        self._fetch: Callable[[], _Access] | None = None
        self._access: _Access | None = None
        self._fetching: asyncio.Task[_Access] | None = None

    @property
    def current(self) -> str | None:
        """The token that was given last, to blank it out where it is quoted."""
        return self._access.token if self._access else None

    async def get(self) -> str:
        """Return a token.

        Raises:
            AuthenticationError: No identity is found here, or it gets no token.
        """
        if self._access and time() < self._access.expires_on - limits().token_early_seconds:
            return self._access.token
        fetching = self._fetching
        if fetching is None or fetching.done() or fetching.get_loop() is not _loop():
            fetching = self._fetching = asyncio.ensure_future(asyncio.to_thread(self._fetched))
        try:
            async with asyncio.timeout(limits().token_seconds):
                self._access = await asyncio.shield(fetching)
        except TimeoutError:
            said = f"no answer within {limits().token_seconds:g} s"
        except Exception as error:  # azure-identity's errors may quote an address
            said = type(error).__name__
        else:
            return self._access.token
        if self._access and time() < self._access.expires_on:
            return self._access.token  # the identity endpoint is away; the last token is still good
        # Raised outside the `except`, so that no cause travels along.
        raise AuthenticationError(
            f"No Entra ID token for Azure OpenAI could be had ({said}).",
            next_step="Sign in with `az login`, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and "
            "AZURE_CLIENT_SECRET, or give the machine a managed identity; it needs the role "
            "Cognitive Services OpenAI User. Or use api_key.",
        )

    def forget(self) -> None:
        """Drop a token that the server refused, and all that is cached: the next is a new one."""
        self._access = self._fetch = self._fetching = None

    def _fetched(self) -> _Access:
        if self._fetch is None:
            self._fetch = self._begin()
        return self._fetch()


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


@cache
def entra_tokens() -> TokenSource:
    """Give the tokens of this process's identity, as azure-identity finds it.

    Raises:
        InvalidRequestError: azure-identity is not installed.
    """
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError:
        raise InvalidRequestError(
            "Entra ID needs azure-identity, which is not installed.",
            next_step="pip install 'prefect-sora[azure]'.",
        ) from None

    def begin() -> Callable[[], _Access]:
        credential: Any = DefaultAzureCredential()
        return lambda: credential.get_token(ENTRA_SCOPE)

    return TokenSource(begin)


NO_KEY: Final = "no key"
"""Stands in a record for the account, where no key is sent or all keys see the same list."""

_COST: Final = 2**14
"""scrypt's N, with r = 8: 16 MiB and some 50 ms a guess, as its author gives for a log-in
(Percival, 2009). A provider's key cannot be guessed at any cost, but a gateway's may be
`sk-1234`, and whoever can read a store can guess for any length of time."""

_SCHEME: Final = "scrypt"


def written_down(credentials: bytes) -> str:
    """Make what a record may hold of the credentials: a salted digest.

    The salt is one for each process, so that ten thousand renders cost one digest.
    """
    salt = _salt(os.getpid())
    return f"{_SCHEME}${salt}${_digest(salt, credentials)}"


def is_same(stored: str, credentials: bytes) -> bool | None:
    """Whether the digest is one of these credentials; None where it cannot be read."""
    scheme, _, rest = stored.partition("$")
    salt, _, digest = rest.partition("$")
    if scheme != _SCHEME or not salt or not digest:
        return None
    return hmac.compare_digest(digest, _digest(salt, credentials))


@cache
def _salt(pid: int) -> str:
    return os.urandom(8).hex()


@lru_cache(maxsize=4096)  # one for each process whose records are looked at
def _digest(salt: str, credentials: bytes) -> str:
    return hashlib.scrypt(
        credentials, salt=salt.encode(), n=_COST, r=8, p=1, maxmem=2**26, dklen=16
    ).hex()
