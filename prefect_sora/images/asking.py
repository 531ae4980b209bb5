"""Ask: the one request that costs money, and the pictures in its answer.

The openai SDK would read an answer of any length and repeat a request by itself; so the
request goes out on its transport alone.
"""

import asyncio
import base64
import binascii
import json
import logging
from collections.abc import Mapping
from time import time
from typing import Any, Final

import httpx2

from prefect_sora.answers import no_answer, status_error
from prefect_sora.client import VideoClient
from prefect_sora.errors import CorruptVideoError, RejectedError, SoraError, UnavailableError
from prefect_sora.images import catalogue
from prefect_sora.images.pictures import Picture, picture_of
from prefect_sora.images.requests import MAX_COUNT
from prefect_sora.images.wishes import ImageWish
from prefect_sora.private_urls import in_private
from prefect_sora.sending import UnclearError
from prefect_sora.server import Server
from prefect_sora.transport import CONNECT_TIMEOUT_SECONDS

log = logging.getLogger(__name__)

MAX_PICTURE_BYTES: Final = 50 * 1024 * 1024
"""OpenAI's own limit for a picture that it is given (openapi.yaml, 2026-08-21)."""

MAX_ANSWER_BYTES: Final = MAX_COUNT * MAX_PICTURE_BYTES * 4 // 3 + 2**20
"""An answer without end is cut here: all pictures of the largest kind, in base64."""

FETCH_ATTEMPTS: Final = 4
"""How often a picture that the answer names by its URL is fetched. Ours."""


class EndedError(Exception):
    """The server says in the protocol's words that it has made nothing.

    Attributes:
        why: What it said.
    """

    def __init__(self, why: UnavailableError) -> None:
        super().__init__(str(why))
        self.why = why


async def ask(
    wish: ImageWish, client: VideoClient, idempotency_key: str, timeout_seconds: float
) -> list[Picture]:
    """Send the request once; return the pictures that came, whole.

    Raises:
        UnclearError: It may have been carried out, and the answer is lost or no pictures.
        EndedError: The server failed at it, and says so.
        UnavailableError: With `never_sent`: it never left.
        ApiError: Refused; nothing was paid.
        ModerationError: Refused by moderation.
    """
    sent_at = time()
    try:
        async with asyncio.timeout(timeout_seconds):
            body = await _answer(wish, client, idempotency_key, timeout_seconds)
            return await _pictures(body, client)
    except TimeoutError:
        why = UnavailableError(f"No picture came within {timeout_seconds:g} s.")
        raise UnclearError(why.message, sent_at, why) from None
    except CorruptVideoError as error:
        raise UnclearError(error.message, sent_at) from None
    except UnavailableError as error:
        if error.never_sent:
            raise
        raise UnclearError(error.message, sent_at, error) from None


async def _answer(
    wish: ImageWish, client: VideoClient, idempotency_key: str, timeout_seconds: float
) -> Mapping[str, Any]:
    server = client.server
    credentials = await server.authorisation()
    request = _request(wish, client, idempotency_key, timeout_seconds, credentials)
    try:
        with in_private():  # some gateways take their key in the query
            response = await client.http.send(request, stream=True, follow_redirects=False)
            try:
                data = await _read(response)
            finally:
                await response.aclose()
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise no_answer(server, error) from None
    whole = httpx2.Response(response.status_code, headers=_plain(response), content=data)
    body = _json(data)
    if whole.is_error or whole.is_redirect:
        refused = status_error(server, whole, verb="create")
        if isinstance(refused, UnavailableError) and refused.ended:
            raise EndedError(refused)
        raise refused
    if not isinstance(body, Mapping) or not isinstance(body.get("data"), list):
        raise _no_pictures(server, whole)
    return body


def _no_pictures(server: Server, response: httpx2.Response) -> SoraError:
    kind = response.headers.get("content-type", "no type").partition(";")[0]
    message = (
        f"The server {server.base_url} answered {response.status_code} with {kind}, not with "
        "pictures."
    )
    if kind != "text/html":
        return UnavailableError(message, status=response.status_code)
    # A page comes from a proxy, a login or a website: the request went no further.
    return RejectedError(
        message,
        status=response.status_code,
        next_step="Point base_url at the API itself, such as https://host/v1.",
    )


def _request(
    wish: ImageWish,
    client: VideoClient,
    idempotency_key: str,
    timeout_seconds: float,
    credentials: Mapping[str, str],
) -> httpx2.Request:
    server, given = client.server, wish.request
    fields: dict[str, Any] = {"prompt": given.prompt, "model": server.deployment or given.model}
    fields |= {name: getattr(given, name) for name in catalogue.OPTIONS}
    fields["n"] = given.n if given.n > 1 else None
    model = catalogue.find(given.model)
    if model and model.response_format:
        fields["response_format"] = "b64_json"  # or a URL, which is one more thing to fail
    fields = {k: v for k, v in {**fields, **given.extra}.items() if v is not None}
    body: dict[str, Any] = {"json": fields}
    if wish.inputs:
        # The SDK's own form: one file as `image`, several as `image[]`.
        name = "image" if len(wish.inputs) == 1 else "image[]"
        files = [(name, (i.filename, i.data, i.content_type)) for i in wish.inputs]
        if wish.mask:
            files.append(("mask", (wish.mask.filename, wish.mask.data, wish.mask.content_type)))
        form = {k: v if isinstance(v, str) else json.dumps(v) for k, v in fields.items()}
        body = {"data": form, "files": files}
    return client.http.build_request(
        "POST",
        f"{server.base_url}/images/{'edits' if wish.inputs else 'generations'}",
        params=dict(server.query) or None,
        headers={
            **credentials,
            "Accept-Encoding": "identity",
            "Idempotency-Key": idempotency_key,
            "x-litellm-num-retries": "0",  # its proxy would repeat a request by itself
        },
        timeout=httpx2.Timeout(timeout_seconds, connect=CONNECT_TIMEOUT_SECONDS),
        **body,
    )


async def _read(response: httpx2.Response) -> bytes:
    data = bytearray()
    async for chunk in response.aiter_bytes(64 * 1024):
        data += chunk
        if len(data) > MAX_ANSWER_BYTES:
            raise UnavailableError("The answer has no end: it was cut off.")
    return bytes(data)


def _plain(response: httpx2.Response) -> dict[str, str]:
    """The headers of a body that is decoded and whole."""
    coded = ("content-encoding", "content-length", "transfer-encoding")
    return {name: value for name, value in response.headers.items() if name not in coded}


def _json(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


async def _pictures(body: Mapping[str, Any], client: VideoClient) -> list[Picture]:
    """Decode, or fetch, each picture of an answer.

    Raises:
        CorruptVideoError: There is none, or one is no picture.
        UnavailableError: One cannot be fetched.
    """
    found = [item for item in body["data"] if isinstance(item, Mapping)]
    if not found:
        raise CorruptVideoError("The answer holds no picture.")
    data = await asyncio.gather(*(_bytes_of(item, client) for item in found))
    return [await asyncio.to_thread(picture_of, one) for one in data]


async def _bytes_of(item: Mapping[str, Any], client: VideoClient) -> bytes:
    coded, url = item.get("b64_json"), item.get("url")
    if isinstance(coded, str) and coded:
        try:
            return base64.b64decode(coded.partition(",")[2] or coded)
        except (binascii.Error, ValueError):
            raise CorruptVideoError("A picture of the answer is no base64.") from None
    if not isinstance(url, str) or not url:
        raise CorruptVideoError("A picture of the answer has neither bytes nor a URL.")
    for attempt in range(1, FETCH_ATTEMPTS + 1):
        try:
            return await _fetched(url, client)
        except SoraError as error:
            log.warning("Fetch %d of a picture: %s", attempt, error.message)
            if attempt == FETCH_ATTEMPTS:
                raise CorruptVideoError(
                    f"The picture was made and cannot be fetched. {error.message}"
                ) from None
            await asyncio.sleep(0.25 * 2**attempt)
    raise AssertionError("unreachable: the last attempt returns or raises")


async def _fetched(url: str, client: VideoClient) -> bytes:
    data = bytearray()
    async with client.content("image", url=url) as content:
        async for chunk in content.chunks:
            data += chunk
            if len(data) > MAX_PICTURE_BYTES:
                raise CorruptVideoError("The picture is larger than 50 MiB.")
    if content.expected_bytes not in (None, len(data)):
        raise CorruptVideoError(f"{len(data)} bytes came of {content.expected_bytes}.")
    await asyncio.to_thread(picture_of, bytes(data))
    return bytes(data)
