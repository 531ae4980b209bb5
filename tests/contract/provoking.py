"""Faults that the contract asks for, as the local renderer scripts them."""

import asyncio
from typing import Final

from prefect_sora.renders.contract import Fault, Provoke
from tests.support.renderer import Renderer

_FAULTS: Final[dict[Fault, str]] = {"fail": "fail", "moderate": "moderate", "lose": "drop_after"}


def provoking(renderer: Renderer) -> Provoke:
    """Have the next create of a renderer meet a fault."""

    async def provoke(fault: Fault) -> None:
        await asyncio.to_thread(renderer.faults, [{"on": "create", "do": _FAULTS[fault]}])

    return provoke
