"""Tokens: renewed before they end, one fetch for all who ask."""

import asyncio
import base64
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from time import time
from typing import Any, ClassVar, Final, Protocol

from prefect_sora.errors import AuthenticationError, InvalidRequestError
from prefect_sora.limits import limits
from prefect_sora.servers.access.accounts import check_sendable

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

    renews: ClassVar[bool] = True
    """Whether it has another one where one is refused."""

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


class GivenToken(TokenSource):
    """A token that somebody has fetched, for as long as it is good.

    Args:
        token: Its text. Where it is a JSON Web Token, it says itself when it ends.

    Raises:
        InvalidRequestError: No header can carry it.
    """

    renews = False

    def __init__(self, token: str) -> None:
        check_sendable(azure_ad_token=token)
        self._token, self._ends = token, _end_of(token)

    @property
    def current(self) -> str:
        """The token."""
        return self._token

    async def get(self) -> str:
        """Return it.

        Raises:
            AuthenticationError: It has ended; nothing was sent.
        """
        if self._ends is not None and time() >= self._ends:
            ended = datetime.fromtimestamp(self._ends, UTC)
            raise AuthenticationError(
                f"The Entra ID token that was given ended on {ended:%Y-%m-%d at %H:%M} UTC.",
                next_step="Give a new one, as from `az account get-access-token --resource "
                "https://cognitiveservices.azure.com`; or leave it out and let azure-identity "
                "renew them (entra_id, on the command line PREFECT_SORA_ENTRA_ID=1).",
            )
        return self._token

    def forget(self) -> None:
        """Go on with it: there is no other."""


def _end_of(token: str) -> float | None:
    """Read when a JSON Web Token ends, Unix seconds; None where it does not say (RFC 7519)."""
    payload = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        ends = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"]
    except (ValueError, TypeError, KeyError):
        return None
    return float(ends) if isinstance(ends, (int, float)) and 0 < ends < 2**33 else None


@cache
def given_token(token: str) -> GivenToken:
    """Give a token's source: the same for the same text, so that servers can be compared.

    Raises:
        InvalidRequestError: No header can carry it.
    """
    return GivenToken(token)


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def has_identity() -> bool:
    """Whether azure-identity is installed."""
    try:
        return find_spec("azure.identity") is not None
    except ModuleNotFoundError:  # nothing of Azure's is
        return False


@cache
def entra_tokens() -> TokenSource:
    """Give the tokens of this process's identity, as azure-identity finds it.

    Raises:
        InvalidRequestError: azure-identity is not installed.
    """
    if not has_identity():
        raise InvalidRequestError(
            "Entra ID needs azure-identity, which is not installed.",
            next_step="pip install 'prefect-sora[azure]'.",
        )

    def begin() -> Callable[[], _Access]:
        from azure.identity import DefaultAzureCredential  # which takes a while

        log = logging.getLogger("azure.identity")
        if log.level == logging.NOTSET:  # it warns with a page of what it has tried; we say it once
            log.setLevel(logging.ERROR)
        credential: Any = DefaultAzureCredential()
        return lambda: credential.get_token(ENTRA_SCOPE)

    return TokenSource(begin)
