"""Send: the one request that costs money, and the pictures in its answer."""

import asyncio
import base64
import binascii
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefect_sora.errors import CorruptVideoError, SoraError, UnavailableError
from prefect_sora.limits import limits
from prefect_sora.renders.images.pictures import Picture, picture_of
from prefect_sora.renders.images.prepare import PreparedPictures
from prefect_sora.requests.files import binary
from prefect_sora.requests.image import MAX_COUNT
from prefect_sora.servers.costs.told import NOTHING, Told, told_of
from prefect_sora.servers.images import models as image_models
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.http.arrivals import json_of
from prefect_sora.servers.protocol.send_times import Departure
from prefect_sora.servers.protocol.status_errors import not_the_protocol
from prefect_sora.servers.server import Server

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Drawn:
    """An answer.

    Attributes:
        pictures: All that came.
        told: What the server says that they cost together.
    """

    pictures: list[Picture]
    told: Told = NOTHING


async def ask(
    prepared: PreparedPictures,
    client: VideoClient,
    idempotency_key: str,
    timeout_seconds: float,
    departure: Departure,
) -> Drawn:
    """Send the request once; return the pictures that came, whole, and what they cost.

    Args:
        prepared: What is to be drawn.
        client: The server that draws it.
        idempotency_key: For servers that recognise a repeated request by it.
        timeout_seconds: How long the answer may take, and then the pictures that it names.
        departure: Until when it may leave; tells afterwards when it left.

    Raises:
        UnavailableError: With `never_sent`: it never left. With `ended`: the server failed at
            it, and says so. Else it may have been carried out, and the answer is lost or holds
            no whole pictures.
        ApiError: Refused; nothing was paid.
        ModerationError: Refused by moderation.
    """
    body, told = await _answer(prepared, client, idempotency_key, timeout_seconds, departure)
    try:
        async with asyncio.timeout(timeout_seconds):
            return Drawn(await _pictures(body, client), told)
    except TimeoutError:
        raise UnavailableError(f"No picture came within {timeout_seconds:g} s.") from None
    except CorruptVideoError as error:
        raise UnavailableError(error.message) from None


async def _answer(
    prepared: PreparedPictures,
    client: VideoClient,
    idempotency_key: str,
    timeout_seconds: float,
    departure: Departure,
) -> tuple[Mapping[str, Any], Told]:
    fields, files = _order(prepared, client.server.for_pictures)
    headers = {
        "Idempotency-Key": idempotency_key,
        "x-litellm-num-retries": "0",  # its proxy would repeat a request by itself
    }
    response = await client.post(
        f"/images/{'edits' if prepared.inputs else 'generations'}",
        fields,
        files,
        headers,
        verb="create",
        departure=departure,
        timeout_seconds=timeout_seconds,
        # An endless answer is cut: at all pictures of the largest kind, in base64.
        max_bytes=MAX_COUNT * limits().picture_max_bytes * 4 // 3 + 2**20,
    )
    body = json_of(response)
    if not isinstance(body, Mapping) or not isinstance(body.get("data"), list):
        is_an_api = await client.is_an_api()
        raise not_the_protocol(
            client.server, response, verb="create", wanted="pictures", is_an_api=is_an_api
        )
    told = told_of(body, "completed", client.server.profile, response.headers)
    asked = prepared.request.n
    return body, told.beside(prepared.usd_each and prepared.usd_each * asked)


def _order(prepared: PreparedPictures, server: Server) -> tuple[dict[str, Any], list[Any] | None]:
    """The fields of a request for pictures, and where it is a form, its files."""
    given = prepared.request
    fields: dict[str, Any] = {"prompt": given.prompt, "model": server.deployment or given.model}
    fields |= {name: getattr(given, name) for name in image_models.OPTIONS}
    fields["n"] = given.n if given.n > 1 else None
    model = image_models.find(given.model)
    if model and model.response_format and "/" not in str(given.model):
        fields["response_format"] = "b64_json"  # or a URL, which is one more thing to fail
    fields = {k: v for k, v in {**fields, **given.extra}.items() if v is not None}
    if not prepared.inputs:
        return fields, None
    # The SDK's own form: one file as `image`, several as `image[]`.
    name = "image" if len(prepared.inputs) == 1 else "image[]"
    files = [(name, (i.filename, i.data, i.content_type)) for i in prepared.inputs]
    if prepared.mask:
        files.append(
            ("mask", (prepared.mask.filename, prepared.mask.data, prepared.mask.content_type))
        )
    return fields, files


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
    attempts = limits().picture_fetch_attempts
    for attempt in range(1, attempts + 1):
        try:
            return await _fetched(url, client)
        except SoraError as error:
            log.warning("Fetch %d of a picture: %s", attempt, error.message)
            if attempt == attempts:
                raise CorruptVideoError(
                    f"The picture was made and cannot be fetched. {error.message}"
                ) from None
            await asyncio.sleep(limits().look_pause_seconds * 2**attempt)
    raise AssertionError("unreachable: the last attempt returns or raises")


async def _fetched(url: str, client: VideoClient) -> bytes:
    data, most = bytearray(), limits().picture_max_bytes
    async with client.content("image", url=url) as content:
        async for chunk in content.chunks:
            data += chunk
            if len(data) > most:
                raise CorruptVideoError(f"The picture is larger than {binary(most)}.")
    if content.expected_bytes not in (None, len(data)):
        raise CorruptVideoError(f"{len(data)} bytes came of {content.expected_bytes}.")
    await asyncio.to_thread(picture_of, bytes(data))
    return bytes(data)
