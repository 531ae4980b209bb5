"""Wish: a request with its identity, checked before anything is sent or written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import time
from typing import Any

from prefect_sora import capabilities, catalogue
from prefect_sora.client import VideoClient
from prefect_sora.identity import KEY_DIGITS, fingerprint, folder_name, new_owner, request_digest
from prefect_sora.records import Reserved
from prefect_sora.references import Reference, prepare, public_address
from prefect_sora.requests import VideoRequest
from prefect_sora.server import Server


@dataclass(frozen=True)
class Wish:
    """A request with what its identity needs: the reference fitted, the key computed."""

    request: VideoRequest
    reference: Reference | None
    scope: str
    fingerprint: str
    request_digest: str
    folder: str
    parent_key: str | None = None
    warnings: list[str] = field(default_factory=list)

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
            doubted: That attempt's record. While it is in doubt, its account is the one
                whose list can tell.
        """
        in_doubt = uncertain_since is not None
        return Reserved(
            key=self.key,
            attempt=attempt,
            at=time(),
            fingerprint=self.fingerprint,
            request_digest=self.request_digest,
            request=self.request.model_dump(mode="json", exclude={"reference"}),
            reference=public_address(self.request.reference),
            reference_sha256=self.reference.source_sha256 if self.reference else None,
            server=server.identity,
            provider=server.label,
            scope=self.scope,
            parent_key=self.parent_key,
            owner=new_owner(),
            uncertain_since=uncertain_since,
            account=(doubted.account if doubted else None) if in_doubt else server.account,
        )


async def identify(
    request: VideoRequest,
    client: VideoClient,
    scope: str,
    *,
    parent_key: str | None = None,
    reference_options: Mapping[str, Any] | None = None,
) -> Wish:
    """Check the request against model and server, fit its reference, compute its key.

    Raises:
        InvalidRequestError: It cannot be rendered as it stands; nothing was sent.
    """
    server = client.server
    capabilities.check(request, server)
    known_there = request.model_copy(update={"model": server.model_for(request.model)})
    warnings = catalogue.check(known_there, server.service)
    reference = None
    if request.reference is not None:
        reference = await prepare(
            request.reference, request.pixels, request.fit, options=reference_options
        )
    hashed = reference.source_sha256 if reference else None
    digest = fingerprint(request, server, scope, hashed)
    return Wish(
        request=request,
        reference=reference,
        scope=scope,
        fingerprint=digest,
        request_digest=request_digest(request, server, hashed),
        folder=folder_name(request, digest),
        parent_key=parent_key,
        warnings=warnings,
    )
