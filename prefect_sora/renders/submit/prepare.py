"""Prepare: a request with its identity, checked before anything is sent or written."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from time import time
from typing import Any

from prefect_sora.limits import limits
from prefect_sora.requests.reference import Reference, prepare, public_address
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers import request_checks, video_models
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import Server
from prefect_sora.store.identity import (
    KEY_DIGITS,
    fingerprint,
    folder_name,
    new_owner,
    request_digest,
)
from prefect_sora.store.records import Reserved


@dataclass(frozen=True)
class PreparedVideo:
    """A request with what its identity needs: the reference fitted, the key computed."""

    request: VideoRequest
    reference: Reference | None
    scope: str
    fingerprint: str
    request_digest: str
    folder: str
    parent_key: str | None = None
    warnings: list[str] = field(default_factory=list)
    reference_sha256: str | None = None

    @property
    def key(self) -> str:
        """The render's key."""
        return self.fingerprint[:KEY_DIGITS]

    def reservation(
        self,
        server: Server,
        attempt: int,
        uncertain_since: float | None,
        doubted: Reserved | None = None,
    ) -> Reserved:
        """What is written down before the create request of an attempt is sent.

        Args:
            server: Who is asked.
            attempt: Its number.
            uncertain_since: From when on an earlier attempt may have been accepted.
            doubted: That attempt's record. While it is in doubt, only its account's list
                can tell.
        """
        in_doubt = uncertain_since is not None
        return Reserved(
            key=self.key,
            attempt=attempt,
            at=time(),
            fingerprint=self.fingerprint,
            request_digest=self.request_digest,
            request=self.request.recorded,
            reference=public_address(self.request.reference),
            reference_sha256=self.reference.source_sha256
            if self.reference
            else self.reference_sha256,
            server=server.identity,
            provider=server.label,
            scope=self.scope,
            parent_key=self.parent_key,
            owner=new_owner(),
            uncertain_since=uncertain_since,
            account=(doubted.account if doubted else None) if in_doubt else server.account,
            lease_seconds=_lease_seconds(server),
        )


def _lease_seconds(server: Server) -> float | None:
    """Say how long a worker holds a render whose create takes longer than usual."""
    answer_s = server.profile.create_seconds
    return answer_s and answer_s + limits().lease_seconds - limits().create_seconds


def prepared_of(
    request: VideoRequest,
    server: Server,
    scope: str,
    reference: Reference | None,
    *,
    reference_sha256: str | None = None,
    parent_key: str | None = None,
) -> PreparedVideo:
    """Compute the key of a request: nobody is asked, and nothing is checked.

    Args:
        request: What to render.
        server: Where; what it can do need not be known.
        scope: Whom the render is shared with.
        reference: Its picture, fitted.
        reference_sha256: That picture's hash, where its bytes are not at hand.
        parent_key: The render that this one starts from.
    """
    hashed = reference.source_sha256 if reference else reference_sha256
    digest = fingerprint(request, server, scope, hashed)
    return PreparedVideo(
        request=request,
        reference=reference,
        scope=scope,
        fingerprint=digest,
        request_digest=request_digest(request, server, hashed),
        folder=folder_name(request, digest),
        parent_key=parent_key,
        reference_sha256=hashed,
    )


def checked(prepared: PreparedVideo, server: Server) -> PreparedVideo:
    """Check a prepared request against its model and a server that has told what it can do.

    Raises:
        InvalidRequestError: It cannot be rendered as it stands; nothing was sent.
    """
    request = prepared.request
    request_checks.check(request, server)
    warnings = video_models.check(request, server.ends_models, profile=server.profile)
    return replace(prepared, warnings=warnings)


async def load_reference(
    request: VideoRequest, options: Mapping[str, Any] | None = None
) -> Reference | None:
    """Load the picture that a request starts from, fitted; None where it has none.

    Raises:
        ReferenceImageError: It cannot be loaded or fitted; nothing was sent.
    """
    if request.reference is None:
        return None
    return await prepare(request.reference, request.pixels, request.fit, options=options)


async def identify(
    request: VideoRequest,
    client: VideoClient,
    scope: str,
    *,
    parent_key: str | None = None,
) -> PreparedVideo:
    """Check the request against model and server, fit its reference, compute its key.

    Raises:
        InvalidRequestError: It cannot be rendered as it stands; nothing was sent.
    """
    prepared = prepared_of(request, client.server, scope, None, parent_key=parent_key)
    warnings = checked(prepared, client.server).warnings
    request_checks.check_offered(request, client.server)
    reference = await load_reference(request)
    prepared = prepared_of(request, client.server, scope, reference, parent_key=parent_key)
    return replace(prepared, warnings=warnings)
