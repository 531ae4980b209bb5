"""Transport: the openai SDK's verbs, with its retries and redirects off and its secrets unlogged.

Its `videos.*` methods are deprecated and retry creates, so calls are made on its verbs.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import httpx2
import openai
from openai import AsyncOpenAI

from prefect_sora.answers import error_of, no_answer
from prefect_sora.errors import UnavailableError
from prefect_sora.private_urls import in_private
from prefect_sora.server import Server

CREATE_TIMEOUT_SECONDS: Final = 90.0
"""Longest create: a server decodes a reference image and queues, it does not render.
Ours; with `ledger.LEASE_SECONDS` it bounds how long another worker waits for a dead one."""

CONNECT_TIMEOUT_SECONDS: Final = 5.0
"""Longest connecting, to anything. Ours."""

READ_TIMEOUT_SECONDS: Final = 30.0
"""Longest silence inside an answer, of a poll or of a download. Ours."""


class Transport:
    """Requests to one server, with its credentials."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(
                READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS, pool=60.0
            ),
            limits=httpx2.Limits(max_connections=100, max_keepalive_connections=20),
        )
        key = server.api_key.get_secret_value() if server.api_key else ""
        self._openai = AsyncOpenAI(
            base_url=server.base_url,
            api_key=key or "none",
            max_retries=0,
            default_query=dict(server.query),
            http_client=self.http,
        )
        # The SDK fills these from the environment, which may mean another server.
        self._openai.organization = server.organization
        self._openai.project = server.project

    async def close(self) -> None:
        """Close its connections."""
        await self._openai.close()

    async def get(
        self,
        path: str,
        params: Mapping[str, object] | None = None,
        more: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Ask for something below /v1, with more headers where some are given.

        Raises:
            openai.APIError: An error status, or no answer.
        """
        return await self._authorised(
            lambda headers: self._openai.get(
                path,
                cast_to=httpx2.Response,
                options={
                    "params": dict(params or {}),
                    "headers": {**headers, **(more or {})},
                    "max_retries": 0,
                    "follow_redirects": False,
                },
            )
        )

    async def post(
        self,
        path: str,
        fields: object,
        files: Any = None,
        more: Mapping[str, str] | None = None,
        *,
        verb: str,
    ) -> httpx2.Response:
        """Send something once: as JSON, or where `files` is a list, empty too, as a form.

        Raises:
            ApiError: Refused; or `UnavailableError`: no answer, and unless it says
                `never_sent`, it may have been carried out.
        """
        form = {} if files is None else {"Content-Type": "multipart/form-data"}
        timeout = httpx2.Timeout(CREATE_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS)
        try:
            async with asyncio.timeout(CREATE_TIMEOUT_SECONDS):
                return await self._authorised(
                    lambda headers: self._openai.post(
                        path,
                        cast_to=httpx2.Response,
                        body=fields,
                        files=files,
                        options={
                            "headers": {**headers, **(more or {}), **form},
                            "max_retries": 0,
                            "follow_redirects": False,
                            "timeout": timeout,
                        },
                    )
                )
        except TimeoutError:
            raise UnavailableError(
                f"The video server {self.server.base_url} did not answer the create request."
            ) from None
        except openai.APIError as error:
            raise error_of(self.server, error, verb=verb) from None

    async def remove(self, path: str) -> None:
        """Delete something below /v1.

        Raises:
            openai.APIError: An error status, or no answer.
        """
        await self._authorised(
            lambda headers: self._openai.delete(
                path,
                cast_to=httpx2.Response,
                options={"headers": headers, "follow_redirects": False},
            )
        )

    async def peek(self, path: str) -> httpx2.Response:
        """Ask for something harmless, and take any answer, whatever its status.

        Raises:
            UnavailableError: None came.
        """
        try:
            return await self.get(path)
        except openai.APIStatusError as error:
            return error.response
        except openai.APIError as error:
            raise error_of(self.server, error, verb="models") from None

    async def peek_root(self, path: str) -> httpx2.Response:
        """The same outside /v1, without credentials.

        Raises:
            UnavailableError: None came.
        """
        root = self.server.base_url.removesuffix("/v1")
        try:
            return await self.http.get(f"{root}{path}", follow_redirects=False)
        except httpx2.HTTPError as error:
            raise no_answer(self.server, error) from None

    async def _authorised(
        self, send: Callable[[dict[str, Any]], Awaitable[httpx2.Response]]
    ) -> httpx2.Response:
        """Send with credentials; a token that is no longer taken is fetched anew, once.

        What a server answers with 401 it has not carried out, a create too.
        """
        with self._unlogged():
            try:
                return await send(await self._headers())
            except openai.AuthenticationError:
                if self.server.token is None:
                    raise
                self.server.token.forget()
                return await send(await self._headers())

    def _unlogged(self) -> contextlib.AbstractContextManager[None]:
        """Some gateways take their key in the query, which the HTTP library logs."""
        return in_private() if self.server.query else contextlib.nullcontext()

    async def _headers(self) -> dict[str, Any]:
        """Say the key where the SDK would not, and silence it where there is none."""
        server = self.server
        if server.auth == "bearer" and server.api_key is not None and server.token is None:
            return {}
        return {"Authorization": openai.omit, **await server.authorisation()}
