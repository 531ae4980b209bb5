"""Fallback: a video that one server has certainly not made is passed on to the next of a list.

That it was is written down, as an attempt that is closed unsent. So no other worker
can have it accepted there after all, and a later run goes straight to where it went.
"""

import logging
from collections.abc import Mapping, Sequence
from time import time
from typing import Any

from prefect_sora.asked import Asked, Way, may_pass_on
from prefect_sora.client import VideoClient
from prefect_sora.courses import pass_on
from prefect_sora.errors import RenderFailedError, UncertainSubmitError
from prefect_sora.handles import VideoJob
from prefect_sora.ledger import Ledger
from prefect_sora.passing import on_the_first
from prefect_sora.records import Failed, RenderState, Reserved
from prefect_sora.recovering import recover
from prefect_sora.references import Reference
from prefect_sora.requests import VideoRequest
from prefect_sora.server import Server
from prefect_sora.sources import as_written, may_change
from prefect_sora.submitting import job_of, submit
from prefect_sora.wishes import Wish, checked, load_reference, wish_of

log = logging.getLogger(__name__)


async def submit_to_first(
    request: VideoRequest,
    ways: Sequence[Way],
    ledger: Ledger,
    scope: str,
    *,
    parent_key: str | None = None,
    reference_options: Mapping[str, Any] | None = None,
    **submitting: Any,
) -> VideoJob:
    """Submit to the first server; to the next only where one has certainly not accepted.

    Args:
        request: What to render.
        ways: The servers, the preferred first.
        ledger: The store's records.
        scope: Whom the render is shared with.
        parent_key: The render that this one starts from.
        reference_options: fsspec options for the reference image's URL.
        submitting: As `submitting.submit` takes it.

    Raises:
        SoraError: As `identify` and `submit` say; what the last server said, or the first
            that may have accepted it.
    """
    asked = AskedVideo(request, ledger, scope, parent_key, reference_options, submitting)
    return await on_the_first(ways, asked)


class AskedVideo(Asked[Wish, VideoJob]):
    """A video that is to be made, as `submit_to_first` takes it."""

    def __init__(
        self,
        request: VideoRequest,
        ledger: Ledger,
        scope: str,
        parent_key: str | None = None,
        reference_options: Mapping[str, Any] | None = None,
        submitting: Mapping[str, Any] | None = None,
    ) -> None:
        self.request, self.ledger, self.scope = request, ledger, scope
        self.parent_key, self.options = parent_key, reference_options
        self.submitting = dict(submitting or {})
        self.at_url = may_change(request.reference)
        self.reference: Reference | None = None

    async def load(self) -> None:
        """Load and fit its picture."""
        self.reference = await load_reference(self.request, self.options)
        self.inputs_sha256 = self.reference.source_sha256 if self.reference else None

    def as_written(self) -> dict[str, Any]:
        """The request with its picture's URL; with the picture's hash where it has none."""
        url = as_written(str(self.request.reference)) if self.at_url else None
        return self.request.canonical(url or self.inputs_sha256)

    def wish(self, server: Server, inputs_sha256: str | None) -> Wish:
        """Compute its key with this picture, or with another than is at hand."""
        at_hand = inputs_sha256 == self.inputs_sha256
        return wish_of(
            self.request,
            server,
            self.scope,
            self.reference if at_hand else None,
            reference_sha256=inputs_sha256,
            parent_key=self.parent_key,
        )

    def unsent(self, wish: Wish, server: Server) -> Reserved:
        """Reserve it for nobody."""
        return wish.reservation(server, 1, None)

    def found(self, state: RenderState) -> VideoJob | None:
        """Its job, where it was accepted or is kept."""
        if state.stored:
            return job_of(state.stored.video, self.request)
        return state.accepted.job if state.accepted and state.is_on_its_way else None

    async def settle(self, state: RenderState, client: VideoClient) -> VideoJob | None:
        """Look for its job at the server; in doubt, do as the policy says."""
        with self.ledger.about(state.key):
            try:
                return await recover(state, client, self.ledger)
            except UncertainSubmitError as error:
                if self.submitting.get("in_doubt") != "resubmit":
                    raise
                doubt = error
        now = await self.ledger.state(state.folder)
        log.warning("Render %s is in doubt; paying again, as the policy says.", state.key)
        record = Failed(
            key=state.key,
            attempt=now.newest,
            at=time(),
            kind="failed",
            message=f"Paid for again, as the policy says. {doubt.message}",
            paid="unknown",
        )
        await self.ledger.fail(state.folder, record)
        return None

    async def make(self, wish: Wish, client: VideoClient, passed_on_after: int | None) -> VideoJob:
        """Submit it."""
        wish = checked(wish, client.server)
        return await submit(
            wish, client, self.ledger, passed_on_after=passed_on_after, **self.submitting
        )


async def pass_on_failed(
    error: RenderFailedError, job: VideoJob, last: str, ledger: Ledger
) -> None:
    """Pass a failed job on to the next server of a list.

    Args:
        error: How it failed.
        job: The job.
        last: The label of the last server of the list: there it ends.
        ledger: The store's records.

    Raises:
        RenderFailedError: It must not be passed on.
    """
    if job.provider == last or not may_pass_on(error) or not await pass_on(job.folder, ledger):
        raise error
