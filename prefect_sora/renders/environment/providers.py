"""Providers that a person names: the renderer here, a server of the environment, a saved block."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from threading import Thread
from typing import Any, Final, cast

from prefect_sora.errors import InvalidRequestError
from prefect_sora.servers.local import RendererAddress, ServerRecord, ensure_running
from prefect_sora.servers.profiles import HOSTED
from prefect_sora.servers.server import Server, local_server

CHOICES: Final = (
    "local (this machine, free), a server's URL, openai (OPENAI_API_KEY, OPENAI_BASE_URL), azure "
    "(AZURE_OPENAI_ENDPOINT), "
    f"{', '.join(f'{name} ({one.key_variable})' for name, one in HOSTED.items())}, or a saved "
    "block (type/name)."
)
"""What a provider can be named."""


class NamedProvider(ABC):
    """Who renders.

    Attributes:
        name: What a person types.
        is_local: Whether it costs nothing.
        is_saved: Whether only Prefect's API knows it.
    """

    name: str
    is_local: bool = False
    is_saved: bool = False

    @property
    @abstractmethod
    def label(self) -> str:
        """What a person is told."""

    def start(self) -> None:  # noqa: B027 - most have nothing to begin
        """Begin what takes a while and can go on in the background."""

    @abstractmethod
    def server(self) -> Server:
        """Describe the server; one that has to be started or loaded first takes its time."""


class Local(NamedProvider):
    """The renderer on this machine."""

    name = "local"
    is_local = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: Future[RendererAddress] | None = None

    @property
    def label(self) -> str:
        """Name it with its folder."""
        return f"the local renderer ({self.folder})"

    def start(self) -> None:
        """Start its process, unless it runs, while the caller goes on."""
        if self._started is None:
            started: Future[RendererAddress] = Future()
            self._started = started

            def work() -> None:
                try:
                    started.set_result(ensure_running(self.folder))
                except Exception as error:
                    started.set_exception(error)

            Thread(target=work, name="local-renderer-starter", daemon=True).start()

    def server(self) -> Server:
        """Wait until it answers."""
        self.start()
        return local_server(cast(Future[RendererAddress], self._started).result())

    @property
    def identity(self) -> str | None:
        """The server's identity without starting it; None where it never ran."""
        record = ServerRecord.read(self.folder)
        return f"local:{record.identity}" if record else None


class Described(NamedProvider):
    """A server and its key, from the environment.

    Attributes:
        fields: The same server as the block of its kind takes it.
    """

    def __init__(self, name: str, described: Server, fields: Mapping[str, Any]) -> None:
        self.name, self.fields = name, fields
        self._described = described

    @property
    def label(self) -> str:
        """Name its address."""
        return self._described.base_url

    def server(self) -> Server:
        """Return what is known."""
        return self._described


class Saved(NamedProvider):
    """A block that somebody has saved.

    Args:
        name: The slug of its type, a slash, and its own name.
        load: Asks Prefect for it.
    """

    is_saved = True

    def __init__(self, name: str, load: Callable[[str], Server] | None) -> None:
        self.name, self._load = name, load
        self.is_local = name.startswith("sora-local-renderer/")

    @property
    def label(self) -> str:
        """Name the block."""
        return f"the block {self.name}"

    def server(self) -> Server:
        """Load the block and ask it."""
        return self._loaded

    @cached_property
    def _loaded(self) -> Server:
        if self._load is None:
            raise InvalidRequestError(
                f"Only Prefect knows the block {self.name}.", next_step=f"Name one: {CHOICES}"
            )
        return self._load(self.name)
