"""Plain: the steps of a render without Prefect, for commands that are no run of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from uuid import uuid4

from prefect_sora.cli.progress import Display
from prefect_sora.cli.saved import NamedStore
from prefect_sora.handles import StoredImage
from prefect_sora.renders.environment import NamedProvider
from prefect_sora.renders.fallback import on_the_first
from prefect_sora.renders.images.submit import AskedPictures
from prefect_sora.renders.run import PlainSteps
from prefect_sora.renders.submit.candidates import Way, refuse_twice
from prefect_sora.renders.submit.options import Budget, RenderOptions
from prefect_sora.requests.image import ImageRequest
from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.protocol.connections import connect
from prefect_sora.servers.protocol.detect import recognised
from prefect_sora.servers.server import Server
from prefect_sora.store.ledger import Ledger


@dataclass(frozen=True)
class Plainly:
    """Who renders, where it is kept, and how, for one command.

    Attributes:
        providers: Who renders: the first, and those that are asked next.
        store: Where it is kept.
        display: Shows the progress.
        scope: Whom the renders are shared with; None: this command alone.
        max_cost: What they may cost together, in USD.
        waiting: How long they are waited for, as `RenderOptions` takes it.
    """

    providers: Sequence[NamedProvider]
    store: NamedStore
    display: Display
    scope: str | None
    max_cost: float | None
    waiting: dict[str, Any]

    def steps(self) -> PlainSteps:
        """The steps of a render, each taken again where it fails for the moment.

        Raises:
            InvalidRequestError: Two providers are one server.
        """
        servers = [each.server() for each in self.providers]
        refuse_twice([server.label for server in servers])
        return PlainSteps(
            [Way(server, partial(_connected, server)) for server in servers],
            Ledger(self.store.folder),
            RenderOptions(
                self.scope or str(uuid4()),
                budget=Budget(self.max_cost, self.store.daily_budget_usd),
                **self.waiting,
            ),
            on_submitted=self.display.submitted,
            on_progress=self.display.progressed,
            on_kept=self.display.kept,
            patient=True,
        )


async def draw(
    request: ImageRequest, steps: PlainSteps, timeout_seconds: float | None
) -> StoredImage:
    """Have pictures made, once, and keep them; see `tasks.image.generate_image`."""
    options = replace(steps.options, timeout_seconds=timeout_seconds)
    return await on_the_first(steps.ways, AskedPictures(request, steps.ledger, options))


async def _connected(server: Server) -> VideoClient:
    return connect(await recognised(server))
