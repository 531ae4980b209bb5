"""Asked: pictures on their way to the first of several servers that makes them."""

import hashlib
import logging
from collections.abc import Mapping
from time import time
from typing import Any

from prefect_sora.asked import Asked
from prefect_sora.client import VideoClient
from prefect_sora.errors import InvalidRequestError
from prefect_sora.handles import StoredImage
from prefect_sora.images.doubts import bring_home, uncertain
from prefect_sora.images.drawing import TIMEOUT_SECONDS, draw
from prefect_sora.images.requests import ImageRequest, Source
from prefect_sora.images.wishes import ImageWish, Inputs, checked, load_inputs, wish_of
from prefect_sora.ledger import Ledger
from prefect_sora.records import Failed, RenderState, Reserved
from prefect_sora.references import load_source
from prefect_sora.server import Server
from prefect_sora.sources import as_written, may_change

log = logging.getLogger(__name__)


class AskedPictures(Asked[ImageWish, StoredImage]):
    """Pictures that are to be made; `drawing` is as `draw` takes it."""

    def __init__(
        self,
        request: ImageRequest,
        ledger: Ledger,
        scope: str,
        parent_key: str | None = None,
        reference_options: Mapping[str, Any] | None = None,
        drawing: Mapping[str, Any] | None = None,
    ) -> None:
        self.request, self.ledger, self.scope = request, ledger, scope
        self.parent_key, self.options = parent_key, reference_options
        self.drawing = dict(drawing or {})
        self.at_url = any(may_change(source) for source in (*request.images, request.mask))
        self.inputs = Inputs()
        self.told: list[str | None] = []

    async def load(self) -> None:
        """Load its pictures and its mask."""
        if self.at_url:  # what is at no URL first: it names the request, whatever is at the others
            given = [*self.request.images, self.request.mask]
            self.told = [await self._told(source) for source in given]
        self.inputs = await load_inputs(self.request, self.options)
        self.inputs_sha256 = self.inputs.sha256

    def as_written(self) -> dict[str, Any]:
        """The request with its pictures' URLs; with a hash of those that have none."""
        if not self.at_url:
            return self.request.canonical(self.inputs_sha256)
        return {**self.request.canonical(None), "inputs": self.told}

    def wish(self, server: Server, inputs_sha256: str | None) -> ImageWish:
        """Compute its key with these pictures, or with others than are at hand."""
        return wish_of(
            self.request,
            server,
            self.scope,
            self.inputs if inputs_sha256 == self.inputs_sha256 else Inputs(sha256=inputs_sha256),
            parent_key=self.parent_key,
        )

    def unsent(self, wish: ImageWish, server: Server) -> Reserved:
        """Reserve it for nobody."""
        return wish.reservation(server, 1, TIMEOUT_SECONDS)

    def found(self, state: RenderState) -> StoredImage | None:
        """The pictures, where they are kept."""
        return state.pictures.image if state.pictures else None

    async def settle(self, state: RenderState, client: VideoClient) -> StoredImage | None:
        """Look for them in the store: no server can tell; in doubt, do as the policy says."""
        with self.ledger.about(state.key):
            if home := await bring_home(state, self.ledger):
                return home
            if state.reserved is None:
                raise InvalidRequestError(
                    "The store holds no readable record of this render.", paid="unknown"
                )
            doubt = uncertain(state.reserved)
            if self.drawing.get("in_doubt") != "resubmit":
                raise doubt
        log.warning("Render %s is in doubt; paying again, as the policy says.", state.key)
        record = Failed(
            key=state.key,
            attempt=state.attempt,
            at=time(),
            kind="failed",
            message=f"Paid for again, as the policy says. {doubt.message}",
            paid="unknown",
        )
        await self.ledger.fail(state.folder, record)
        return None

    async def make(
        self, wish: ImageWish, client: VideoClient, passed_on_after: int | None
    ) -> StoredImage:
        """Have them drawn."""
        wish = checked(wish, client.server)
        return await draw(
            wish, client, self.ledger, passed_on_after=passed_on_after, **self.drawing
        )

    async def _told(self, source: Source | None) -> str | None:
        if source is None:
            return None
        if may_change(source):
            return as_written(str(source))
        return hashlib.sha256(await load_source(source, options=self.options)).hexdigest()
