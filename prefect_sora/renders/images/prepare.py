"""Prepare: an image request with its identity, checked before anything is sent or written."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from time import time
from typing import Any

from prefect_sora.errors import InvalidRequestError
from prefect_sora.limits import limits
from prefect_sora.renders.images.pictures import check_mask, sendable
from prefect_sora.renders.submit.attempt import asked_for
from prefect_sora.requests.image import ImageRequest, Source, inputs_sha256, recorded
from prefect_sora.requests.reference import Reference, load_source, public_address, shown
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.images import checks as image_checks
from prefect_sora.servers.images import models as image_models
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.request_checks import check_edges
from prefect_sora.servers.server import Server
from prefect_sora.store.identity import (
    KEY_DIGITS,
    fingerprint,
    folder_name,
    new_owner,
    request_digest,
)
from prefect_sora.store.records import Reserved


def first_frame(
    prompt: str,
    video: VideoRequest,
    model: str | None,
    size: str | None = None,
    quality: str | None = None,
) -> ImageRequest:
    """Make the request for the picture that a video begins with.

    Args:
        prompt: What it shows.
        video: The video, whose size and take are the picture's.
        model: The image model.
        size: None: the video's own, or the model's nearest to it.
        quality: Such as low, medium, high or auto.

    Raises:
        InvalidRequestError: It cannot be drawn as it stands.
    """
    return ImageRequest.of(
        prompt=prompt,
        model=model,
        size=size or image_models.nearest_size(model, video.pixels),
        quality=quality,
        take=video.take,
        allow_unlisted=video.allow_unlisted,
    )


@dataclass(frozen=True)
class PreparedPictures:
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
            lease_seconds=timeout_seconds + limits().lease_seconds - limits().create_seconds,
            usd_each=self.usd_each,
            account=server.account,
        )


@dataclass(frozen=True)
class Inputs:
    """The pictures of an edit; the hash of all is known where their bytes are not at hand."""

    images: tuple[Reference, ...] = ()
    mask: Reference | None = None
    sha256: str | None = None


async def load_inputs(request: ImageRequest, options: Mapping[str, Any] | None = None) -> Inputs:
    """Load the pictures and the mask of an edit; of another request there are none.

    Raises:
        ReferenceImageError: One cannot be loaded, or is none; nothing was sent.
    """
    images = tuple([await _loaded(source, options) for source in request.images])
    mask = None
    if request.mask is not None:
        mask = await _loaded(request.mask, options, "mask")
        await asyncio.to_thread(check_mask, mask.data, images[0].data)
    hashes = [each.source_sha256 for each in images]
    return Inputs(images, mask, inputs_sha256(hashes, mask.source_sha256 if mask else None))


def prepared_of(
    request: ImageRequest,
    server: Server,
    scope: str,
    inputs: Inputs,
    *,
    parent_key: str | None = None,
) -> PreparedPictures:
    """Compute the key of a request: nobody is asked, and nothing is checked."""
    drawing = server.for_pictures
    digest = fingerprint(request, drawing, scope, inputs.sha256)
    return PreparedPictures(
        request=request,
        inputs=inputs.images,
        mask=inputs.mask,
        scope=scope,
        fingerprint=digest,
        request_digest=request_digest(request, drawing, inputs.sha256),
        inputs_sha256=inputs.sha256,
        folder=folder_name(request, digest),
        usd_each=image_models.usd_each(request, server),
        parent_key=parent_key,
    )


def checked(prepared: PreparedPictures, server: Server) -> PreparedPictures:
    """Check a prepared request against its model.

    Raises:
        InvalidRequestError: It cannot be drawn as it stands; nothing was sent.
    """
    return replace(prepared, warnings=_warnings(prepared.request, server))


def _warnings(request: ImageRequest, server: Server) -> list[str]:
    if server.deployment and not server.image_deployment and request.model is None:
        raise InvalidRequestError(
            f"{server.label} names a deployment for videos, and none for pictures.",
            next_step="Name the image model's in the block's image_deployment, in "
            "AZURE_OPENAI_IMAGE_DEPLOYMENT, or as the picture's model.",
        )
    if request.size and request.size != "auto":
        width, _, height = request.size.partition("x")
        check_edges((int(width), int(height)), server)
    service = server.for_pictures.ends_models
    return image_checks.check(request, service, profile=server.profile)


async def identify(
    request: ImageRequest,
    server: Server,
    scope: str,
    *,
    parent_key: str | None = None,
) -> PreparedPictures:
    """Check the request against its model, load its pictures, compute its key.

    Raises:
        InvalidRequestError: It cannot be drawn as it stands; nothing was sent.
    """
    warnings = _warnings(request, server)
    inputs = await load_inputs(request)
    prepared = prepared_of(request, server, scope, inputs, parent_key=parent_key)
    return replace(prepared, warnings=warnings)


async def prepare_again(reserved: Reserved, client: VideoClient) -> PreparedPictures:
    """Rebuild from its record what was asked for; its pictures must still be the same.

    Raises:
        InvalidRequestError: They were given as bytes, or are others by now.
    """
    step = "Run it again with the same pictures and the same scope."
    told = reserved.request.get("images")
    if isinstance(told, list) and None in told:
        message = "The pictures were given as bytes, which the records do not hold."
        raise InvalidRequestError(message, key=reserved.key, next_step=step)
    request = asked_for(reserved, recorded)
    prepared = await identify(
        request, client.server, reserved.scope, parent_key=reserved.parent_key
    )
    if prepared.fingerprint != reserved.fingerprint:
        message = "The pictures to change are others than those that were sent."
        raise InvalidRequestError(message, key=reserved.key, next_step=step)
    return prepared


async def _loaded(
    source: Source, options: Mapping[str, Any] | None, what: str = "picture to change"
) -> Reference:
    original = await load_source(source, options=options, what=what)
    named = f"{what} {shown(source)}"
    data, content_type, suffix = await asyncio.to_thread(sendable, original, named)
    name = what.partition(" ")[0]
    return Reference(data, content_type, f"{name}{suffix}", hashlib.sha256(original).hexdigest())
