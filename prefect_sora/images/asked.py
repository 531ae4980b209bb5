"""Asked: pictures on their way to the first of several servers that makes them."""

import hashlib
from typing import Any

from prefect_sora.asked import Asked
from prefect_sora.client import VideoClient
from prefect_sora.handles import StoredImage
from prefect_sora.images.drawing import TIMEOUT_SECONDS, PictureSender
from prefect_sora.images.requests import ImageRequest, Source
from prefect_sora.images.wishes import ImageWish, Inputs, checked, load_inputs, wish_of
from prefect_sora.records import RenderState, Reserved
from prefect_sora.references import load_source
from prefect_sora.server import Server
from prefect_sora.sources import as_written, may_change


class AskedPictures(Asked[ImageRequest, ImageWish, StoredImage]):
    """Pictures that the first of several servers is to make."""

    inputs = Inputs()
    told: tuple[str | None, ...] = ()

    @property
    def at_url(self) -> bool:
        """Whether a picture of them is at a URL."""
        return any(may_change(source) for source in (*self.request.images, self.request.mask))

    async def load(self) -> None:
        """Load its pictures and its mask."""
        if self.at_url:  # what is at no URL first: it names the request, whatever is at the others
            given = [*self.request.images, self.request.mask]
            self.told = tuple([await self._told(source) for source in given])
        self.inputs = await load_inputs(self.request, self.reference_options)
        self.inputs_sha256 = self.inputs.sha256

    def as_written(self) -> dict[str, Any]:
        """The request with its pictures' URLs; with a hash of those that have none."""
        if not self.at_url:
            return self.request.canonical(self.inputs_sha256)
        return {**self.request.canonical(None), "inputs": [*self.told]}

    def wish(self, server: Server, inputs_sha256: str | None) -> ImageWish:
        """Compute its key with these pictures, or with others than are at hand."""
        return wish_of(
            self.request,
            server,
            self.options.scope,
            self.inputs if inputs_sha256 == self.inputs_sha256 else Inputs(sha256=inputs_sha256),
            parent_key=self.parent_key,
        )

    def checked(self, wish: ImageWish, server: Server) -> ImageWish:
        """Check it against its model."""
        return checked(wish, server)

    def unsent(self, wish: ImageWish, server: Server) -> Reserved:
        """Reserve it for nobody."""
        return wish.reservation(server, 1, TIMEOUT_SECONDS)

    def found(self, state: RenderState) -> StoredImage | None:
        """The pictures, where they are kept."""
        return state.pictures.image if state.pictures else None

    def sender(self, wish: ImageWish, client: VideoClient) -> PictureSender:
        """How they are sent for at one server."""
        return PictureSender(wish, client, self.ledger, self.options)

    async def _told(self, source: Source | None) -> str | None:
        if source is None:
            return None
        if may_change(source):
            return as_written(str(source))
        return hashlib.sha256(await load_source(source, options=self.reference_options)).hexdigest()
