"""Claims: which render of a store holds which video id, so that no two hold one."""

import asyncio
import hashlib
from typing import Final

from pydantic import BaseModel

from prefect_sora.limits import limits
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.records import SCHEMA, read_record

TORN: Final = "unreadable"
"""The holder of a claim that cannot be read; no render has this key."""


class Claims:
    """The claims of one store."""

    store: VideoFolder

    async def claim(self, server: str, video_id: str, key: str) -> str:
        """Take a video id for one render, unless another has it; return who holds it now."""
        claim = _Claim(key=key, video_id=video_id, server=server)
        if await self.store.create(
            _claim_path(server, video_id), claim.model_dump_json(indent=1).encode()
        ):
            return key
        return await self.holder(server, video_id) or TORN

    async def holder(self, server: str, video_id: str) -> str | None:
        """Read which render holds a video id: its key, None, or `TORN`."""
        name = _claim_path(server, video_id)
        data = await self.store.read(name)
        claim = read_record(_Claim, data, name)
        return claim.key if claim else None if data is None else TORN

    async def claims_of(self, server: str, key: str) -> list[str]:
        """Find the video ids that a render holds: every claim of the store is read."""
        names = [name for name in await self.store.names(".claims") if name.endswith(".json")]
        gate = asyncio.Semaphore(limits().records_at_once)

        async def read(name: str) -> _Claim | None:
            async with gate:
                name = f".claims/{name}"
                return read_record(_Claim, await self.store.read(name), name)

        claims = await asyncio.gather(*(read(name) for name in names))
        return [c.video_id for c in claims if c and (c.server, c.key) == (server, key)]


class _Claim(BaseModel):
    schema_version: int = SCHEMA
    key: str
    video_id: str
    server: str


def _claim_path(server: str, video_id: str) -> str:
    name = hashlib.sha256(f"{server}\n{video_id}".encode()).hexdigest()[:32]
    return f".claims/{name}.json"
