"""Fixtures that all tests share, and the order in which they read: along the way of a render."""

import tests.support.bytecode  # noqa: F401 - before what it is about is imported

# isort: split
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from prefect_sora.servers.protocol.client import VideoClient
from prefect_sora.servers.server import Server
from prefect_sora.store.backends import VideoFolder
from prefect_sora.store.ledger import Ledger
from tests.support.renders import SOON

if TYPE_CHECKING:  # imported by pytest below, which rewrites its asserts
    from tests.support.renderer import Renderer

pytest_plugins = [
    "tests.support.limits",
    "tests.support.renderer",
    "tests.support.scripted",
    "tests.support.s3",
    "tests.support.prefect_server",
    "tests.support.strangers",
]


LONGEST = ("test_deployed.py", "test_ui.py")
"""What takes longest is begun first, so that at the end no worker is left alone with it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests; a file stays together."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture
def server(renderer: "Renderer") -> Server:
    """The local renderer, as the client sees any server."""
    return Server(
        base_url=renderer.base_url, identity="test", label="test", profile=SOON, local=True
    )


@pytest.fixture
async def client(server: Server) -> AsyncIterator[VideoClient]:
    """A client of the local renderer, over real HTTP."""
    client = VideoClient(server)
    yield client
    await client.close()


@pytest.fixture
def ledger(folder: VideoFolder) -> Ledger:
    """The records of a store: on a disk, in memory, on S3."""
    return Ledger(folder)


@pytest.fixture
def disk(tmp_path: Path) -> Ledger:
    """The records of a store on a disk, where which kind of store it is does not matter."""
    return Ledger(VideoFolder(str(tmp_path / "clips")))
