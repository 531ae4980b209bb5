"""Transport: one way to a server, for videos and pictures, with its credentials and none logged.

Requests that only ask go by the openai SDK's verbs, with its retries and redirects off. The SDK
would send a create over an idle connection, which may be closing at the other end; then nobody
knows whether the create was read. So a request that costs money leaves once, over a connection
of its own.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx2

from prefect_sora.errors import InvalidRequestError, SoraError, UnavailableError
from prefect_sora.errors.redaction import in_private
from prefect_sora.limits import limits
from prefect_sora.servers import openai_sdk as openai
from prefect_sora.servers.protocol.http.arrivals import json_of, whole
from prefect_sora.servers.protocol.http.proxies import certificates, http_client
from prefect_sora.servers.protocol.payload import encoded
from prefect_sora.servers.protocol.payment_outcome import refuses_the_encoding
from prefect_sora.servers.protocol.send_times import Departure
from prefect_sora.servers.protocol.status_errors import error_of, no_answer, status_error
from prefect_sora.servers.server import Server

_reads_forms: dict[str, bool] = {}
"""Which addresses took a request in the other encoding than their profile's; for this process."""


class Transport:
    """Requests to one server, with its credentials.

    Raises:
        InvalidRequestError: The environment names a proxy that cannot be used.
    """

    def __init__(self, server: Server) -> None:
        self.server, mine = server, limits()
        verify = certificates()
        self.http = http_client(
            server,
            verify,
            timeout=httpx2.Timeout(
                mine.read_seconds, connect=mine.connect_seconds, pool=mine.pool_seconds
            ),
            limits=httpx2.Limits(
                max_connections=mine.connections, max_keepalive_connections=mine.idle_connections
            ),
        )
        self._is_an_api = False
        key = server.api_key.get_secret_value() if server.api_key else ""
        self._openai = openai.AsyncOpenAI(
            base_url=server.base_url,
            api_key=key or "none",
            max_retries=0,
            default_query=dict(server.query),
            http_client=self.http,
        )
        # No request waits in it, because the gate is before it, and no connection is used twice.
        self._once = http_client(
            server,
            verify,
            params=dict(server.query) or None,
            headers={
                "Accept": "application/json",
                "User-Agent": self._openai.user_agent,
            },
            # The departure bounds the whole of a request.
            timeout=httpx2.Timeout(None, connect=mine.connect_seconds),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
        )
        self._gate = asyncio.Semaphore(mine.creates_at_once)
        # The SDK fills these from the environment, which may mean another server.
        self._openai.organization = server.organization
        self._openai.project = server.project

    def place(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Wait for a place among the requests under way that cost money; hold it for the block.

        Wait before a reservation is stamped: after that, a request that others keep from
        leaving would soon be too late.
        """
        return self._gate

    async def close(self) -> None:
        """Close its connections."""
        await self._once.aclose()
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
        response = await self._authorised(
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
        self._is_an_api |= "json" in response.headers.get("content-type", "")
        return response

    async def post(
        self,
        path: str,
        fields: Mapping[str, Any],
        files: Any = None,
        more: Mapping[str, str] | None = None,
        *,
        verb: str,
        departure: Departure | None = None,
        timeout_seconds: float | None = None,
        max_bytes: int | None = None,
        either: bool = False,
    ) -> httpx2.Response:
        """Send something once: as a form where `files` is a list, even an empty one; else as JSON.

        Args:
            path: Below /v1.
            fields: What is sent. A form has no standard place for a nested value: it goes as
                JSON text.
            files: Names, each with a file's name, bytes and type.
            more: Further headers.
            verb: What is asked, as in `status_errors.error_of`.
            departure: Until when it may leave; tells afterwards when it left.
            timeout_seconds: How long the answer may take to its end, once the request has left;
                None: `Limits.create_seconds`.
            max_bytes: How many bytes the answer may have; None: `Limits.job_max_bytes`.
            either: Whether it may go as JSON as well as in a form. Where the server refuses the
                one unread, it is sent in the other, and so from then on.

        Returns:
            An answer of success, read to its end.

        Raises:
            InvalidRequestError: It cannot be written down; nothing was sent.
            ApiError: Refused; or `UnavailableError`: no answer, and unless it says
                `never_sent`, it may have been carried out.
        """
        departure = departure or Departure()
        answer_s = limits().create_seconds if timeout_seconds is None else timeout_seconds
        longest = limits().job_max_bytes if max_bytes is None else max_bytes
        if either:
            files = [] if _reads_forms.get(self.server.base_url, files is not None) else None
        try:
            with self._unlogged():
                async with (
                    departure.limits(answer_s),
                    contextlib.nullcontext() if departure.has_place else self._gate,
                ):
                    departure.begin()
                    response = await self._sent(path, fields, files, more, departure, longest)
                    if either and refuses_the_encoding(response, json_of(response), fields):
                        departure.refused()
                        other: Any = [] if files is None else None
                        again = await self._sent(path, fields, other, more, departure, longest)
                        if not refuses_the_encoding(again, json_of(again), fields):
                            response = again
                        if again.is_success:
                            _reads_forms[self.server.base_url] = files is None
        except SoraError:
            raise
        except TimeoutError as error:
            if not departure.may_have_left:
                raise no_answer(self.server, error, left=False) from None
            raise UnavailableError(
                f"The video server {self.server.base_url} did not answer the request within "
                f"{answer_s:g} s."
            ) from None
        except Exception as error:  # whatever it is, one thing counts: had it left?
            raise no_answer(self.server, error, left=departure.may_have_left) from None
        if response.is_success:
            self._is_an_api |= "json" in response.headers.get("content-type", "")
            return response
        # A redirect leads to a login, or away from a form that was carried out.
        away = response.status_code in (302, 303) and not await self.is_an_api()
        raise status_error(self.server, response, verb=verb, is_an_api=not away)

    async def _sent(
        self,
        path: str,
        fields: Mapping[str, Any],
        files: Any,
        more: Mapping[str, str] | None,
        departure: Departure,
        max_bytes: int,
    ) -> httpx2.Response:
        """Send it; where the server refuses the token, send it once more with a new one."""
        for renewed in (False, True):
            headers = {**await self.server.authorisation(), **(more or {})}
            try:
                url, trace = f"{self.server.base_url}{path}", {"trace": departure}
                request = self._once.build_request(
                    "POST", url, headers=headers, extensions=trace, **encoded(fields, files)
                )
            except (TypeError, ValueError) as error:  # NaN, half a character
                raise InvalidRequestError(
                    f"The request cannot be written down ({type(error).__name__}).",
                    next_step="Look at the prompt and the extra fields.",
                ) from None
            departure.hand_over()
            response = await self._once.send(request, stream=True, follow_redirects=False)
            try:
                answer = await whole(response, max_bytes)
            finally:
                await response.aclose()
            if answer.status_code != 401 or not (token := self.server.renewable) or renewed:
                break
            token.forget()
            departure.refused()
        return answer

    async def is_an_api(self) -> bool:
        """Say whether anything here answers as an API, where a page came in its place.

        A page in place of a new job comes from a gateway in trouble, and the server behind it
        may go on; or it comes from a website, which renders nothing. Other questions tell which:
        a website answers none of them as an API. Where no answer comes, or one that tells of
        trouble, the address counts as an API.
        """
        for path in ("/videos?limit=1", "/models"):
            if self._is_an_api:
                break
            try:
                told = await self.peek(path)
            except SoraError:
                return True
            if told.status_code in (408, 429) or told.is_server_error:
                return True
            self._is_an_api |= isinstance(json_of(told), (Mapping, list))
        return self._is_an_api

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

    async def _authorised(
        self, send: Callable[[dict[str, Any]], Awaitable[httpx2.Response]]
    ) -> httpx2.Response:
        """Send with credentials; a token that is no longer taken is fetched anew, once.

        A server that answers 401 has not carried out the request, not even a create.
        """
        with self._unlogged():
            try:
                return await send(await self._headers())
            except openai.AuthenticationError:
                if not (token := self.server.renewable):
                    raise
                token.forget()
                return await send(await self._headers())

    def _unlogged(self) -> contextlib.AbstractContextManager[None]:
        """Keep a query out of the HTTP library's logs: some gateways take their key in it."""
        return in_private() if self.server.query else contextlib.nullcontext()

    async def _headers(self) -> dict[str, Any]:
        """Send the key where the SDK would not, and drop the SDK's header where there is no key."""
        server = self.server
        if server.auth == "bearer" and server.api_key is not None and server.token is None:
            return {}
        return {"Authorization": openai.omit, **await server.authorisation()}
