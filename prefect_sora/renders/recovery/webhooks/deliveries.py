"""Deliveries: what came by webhook stands in the store before it is answered.

```text
<store>/.webhooks/<render's key>-<digest of the server and the event's id>.json
```

Such a file is written once, so that an event that comes again is known; a render that is closed
needs nothing more of it.
"""

import hashlib
import hmac
from dataclasses import dataclass
from time import time

from pydantic import BaseModel

from prefect_sora.renders.recovery.webhooks.schemes import Event
from prefect_sora.servers.access.webhooks import mark
from prefect_sora.store.backends.concurrency import in_bounds
from prefect_sora.store.backends.walk import names_starting
from prefect_sora.store.claims import TORN
from prefect_sora.store.identity import key_of
from prefect_sora.store.ledger import Ledger
from prefect_sora.store.records import SCHEMA

_FOLDER = ".webhooks"


class _Delivery(BaseModel):
    schema_version: int = SCHEMA
    key: str
    at: float
    server: str
    event: str
    video_id: str


@dataclass(frozen=True)
class Deliveries:
    """The webhooks of one store."""

    ledger: Ledger

    async def render_of(
        self, server: str, event: Event, named: tuple[str, int, str] | None
    ) -> str | None:
        """Find which render of the store an event is about: its key, or None.

        A create whose answer was lost left a record and no id. Its callback address names it by
        a token that stands in that record; so the id is claimed for it, as the answer would be.

        Args:
            server: Whose event it is, by its identity.
            event: What it tells.
            named: What the callback address names.

        Raises:
            StorageError: The store cannot be read, or takes no claim.
        """
        video_id = str(event.video_id)
        holder = await self.ledger.holder(server, video_id)
        if holder == TORN:
            return None
        if holder is not None or named is None:
            return holder
        key, attempt, token = named
        for folder in await self.ledger.open_folders():
            if key_of(folder) != key:
                continue
            reserved = await self.ledger.reservation(folder, attempt)
            if reserved is None or reserved.server != server:
                continue
            true = mark(key, attempt, reserved.owner.token).encode()
            if not hmac.compare_digest(true, mark(key, attempt, token).encode()):
                continue
            state = await self.ledger.state(folder)
            if state.name != "reserved" or state.attempt != attempt:
                return None  # its answer came after all, or a later attempt is under way
            return key if await self.ledger.claim(server, video_id, key) == key else None
        return None

    async def record(self, server: str, event: Event, key: str) -> bool:
        """Make an event durable; False where it is already.

        Raises:
            StorageError: The store refuses.
        """
        digest = hashlib.sha256(f"{server}\n{event.id}".encode()).hexdigest()[:32]
        told = _Delivery(
            key=key, at=time(), server=server, event=event.id, video_id=str(event.video_id)
        )
        data = told.model_dump_json(indent=1).encode()
        return await self.ledger.store.create(f"{_FOLDER}/{key}-{digest}.json", data)

    async def left(self) -> list[str]:
        """List the keys of open renders of which an event came that nobody has acted on yet.

        Raises:
            StorageError: The store cannot be read.
        """

        async def told(folder: str) -> str | None:
            key = key_of(folder)
            came = await names_starting(self.ledger.store, _FOLDER, f"{key}-", at_most=1)
            return key if came else None

        return [key for key in await in_bounds(told, await self.ledger.open_folders()) if key]
