"""Wish: an image request with its identity, checked before anything is sent or written."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import time
from typing import Any, Final

from prefect_sora.client import VideoClient
from prefect_sora.errors import InvalidRequestError
from prefect_sora.identity import KEY_DIGITS, fingerprint, folder_name, new_owner, request_digest
from prefect_sora.images import catalogue
from prefect_sora.images.pictures import check_mask, sendable
from prefect_sora.images.requests import ImageRequest, Source, inputs_sha256, recorded
from prefect_sora.records import Reserved
from prefect_sora.references import Reference, load_source, public_address
from prefect_sora.server import Server

LEASE_SLACK_SECONDS: Final = 60.0
"""How much longer a reservation speaks for its worker than its request may take. Ours."""


@dataclass(frozen=True)
class ImageWish:
    """A request with what its identity needs: the pictures loaded, the key computed."""

    request: ImageRequest
    inputs: tuple[Reference, ...]
    mask: Reference | None
    scope: str
    fingerprint: str
    request_digest: str
    inputs_sha256: str | None
    folder: str
    usd_each: float | None = None
    parent_key: str | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        """The render's key."""
        return self.fingerprint[:KEY_DIGITS]

    def reservation(self, server: Server, attempt: int, timeout_seconds: float) -> Reserved:
        """What is written down before the request of an attempt is sent."""
        request = self.request
        told = request.model_dump(mode="json", exclude={"images", "mask"})
        if request.images:
            told["images"] = [public_address(source) for source in request.images]
            told["mask"] = public_address(request.mask)
        return Reserved(
            key=self.key,
            attempt=attempt,
            at=time(),
            fingerprint=self.fingerprint,
            request_digest=self.request_digest,
            request=told,
            reference_sha256=self.inputs_sha256,
            server=server.identity,
            provider=server.label,
            scope=self.scope,
            parent_key=self.parent_key,
            owner=new_owner(),
            kind="image",
            lease_seconds=timeout_seconds + LEASE_SLACK_SECONDS,
            usd_each=self.usd_each,
            account=server.account,
        )


async def identify(
    request: ImageRequest,
    server: Server,
    scope: str,
    *,
    parent_key: str | None = None,
    reference_options: Mapping[str, Any] | None = None,
) -> ImageWish:
    """Check the request against its model, load its pictures, compute its key.

    Raises:
        InvalidRequestError: It cannot be drawn as it stands; nothing was sent.
    """
    warnings = catalogue.check(request, server.service)
    inputs = tuple([await _loaded(source, reference_options) for source in request.images])
    mask = None
    if request.mask is not None:
        mask = await _loaded(request.mask, reference_options, "mask")
        await asyncio.to_thread(check_mask, mask.data, inputs[0].data)
    hashed = inputs_sha256(
        [each.source_sha256 for each in inputs], mask.source_sha256 if mask else None
    )
    digest = fingerprint(request, server, scope, hashed)
    return ImageWish(
        request=request,
        inputs=inputs,
        mask=mask,
        scope=scope,
        fingerprint=digest,
        request_digest=request_digest(request, server, hashed),
        inputs_sha256=hashed,
        folder=folder_name(request, digest),
        usd_each=catalogue.usd_each(request, server),
        parent_key=parent_key,
        warnings=warnings,
    )


async def wish_again(reserved: Reserved, client: VideoClient) -> ImageWish:
    """Rebuild from its record what was asked for; its pictures must still be the same.

    Raises:
        InvalidRequestError: They were given as bytes, or are others by now.
    """
    step = "Run it again with the same pictures and the same scope."
    told = reserved.request.get("images")
    if isinstance(told, list) and None in told:
        message = "The pictures were given as bytes, which the records do not hold."
        raise InvalidRequestError(message, key=reserved.key, next_step=step)
    request = recorded(reserved.request)
    wish = await identify(request, client.server, reserved.scope, parent_key=reserved.parent_key)
    if wish.fingerprint != reserved.fingerprint:
        message = "The pictures to change are others than those that were sent."
        raise InvalidRequestError(message, key=reserved.key, next_step=step)
    return wish


async def _loaded(
    source: Source, options: Mapping[str, Any] | None, what: str = "picture to change"
) -> Reference:
    original = await load_source(source, options=options)
    data, content_type, suffix = await asyncio.to_thread(sendable, original, what)
    name = what.partition(" ")[0]
    return Reference(data, content_type, f"{name}{suffix}", hashlib.sha256(original).hexdigest())
