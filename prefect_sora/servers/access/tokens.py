"""Tokens: renewed before they end, one fetch for all who ask."""

import asyncio
from collections.abc import Callable
from functools import cache
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
