"""Providers: who renders, as the command line and the environment name it."""

import asyncio
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic import SecretStr

from prefect_sora.cli.redaction import hide
from prefect_sora.errors import InvalidRequestError
from prefect_sora.local import RendererAddress, ServerRecord, ensure_running
from prefect_sora.prices import by_model, prices_from_json
from prefect_sora.profiles import read_profile
from prefect_sora.server import Server, azure_server, local_server, remote

if TYPE_CHECKING:
    from prefect_sora.blocks import Provider as ProviderBlock

OPENAI_URL: Final = "https://api.openai.com/v1"
"""The openai SDK's default for OPENAI_BASE_URL."""

PROFILE_VARIABLE: Final = "PREFECT_SORA_PROFILE"

LOCAL_FOLDER_VARIABLE: Final = "PREFECT_SORA_LOCAL_FOLDER"
PRICES_VARIABLE: Final = "PREFECT_SORA_PRICES"

_CHOICES: Final = (
    "--provider local renders on this machine, for nothing; openai takes OPENAI_BASE_URL and "
    "OPENAI_API_KEY; azure takes AZURE_OPENAI_ENDPOINT, AZURE_OPENAI_API_KEY and "
    "AZURE_OPENAI_DEPLOYMENT; a saved block is named by its type's slug and its name, such as "
    "sora-openai-credentials/my-server."
)


class Provider(ABC):
    """Who renders.

    Attributes:
        name: What --provider takes.
        is_local: Whether it costs nothing.
        needs_prefect: Whether only Prefect's API knows it.
    """

    name: str
    is_local: bool = False
    needs_prefect: bool = False

    @property
    @abstractmethod
    def label(self) -> str:
        """What a person is told."""

    def start(self) -> None:  # noqa: B027 - most have nothing to begin
        """Begin what takes a while and can go on beside."""

    @abstractmethod
    def server(self) -> Server:
        """Describe the server; one that has to be started or loaded first takes its time."""

    @abstractmethod
    def block(self) -> "ProviderBlock":
        """Make the block that flows take; imports Prefect."""


class Local(Provider):
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

    def block(self) -> "ProviderBlock":
        """Make a `LocalRenderer`."""
        from prefect_sora.blocks import LocalRenderer

        return LocalRenderer(folder=str(self.folder))


class Remote(Provider):
    """A server and its key, from the environment."""

    def __init__(self, name: str, described: Server, fields: Mapping[str, Any]) -> None:
        self.name = name
        self._described = described
        self._fields = fields

    @property
    def label(self) -> str:
        """Name its address."""
        return self._described.base_url

    def server(self) -> Server:
        """Return what is known."""
        return self._described

    def block(self) -> "ProviderBlock":
        """Make credentials that are nowhere saved."""
        from prefect_sora.blocks import AzureOpenAICredentials, OpenAICredentials

        if self.name == "azure":
            return AzureOpenAICredentials(**self._fields)
        return OpenAICredentials(**self._fields)


class Saved(Provider):
    """A block that somebody has saved."""

    needs_prefect = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_local = name.startswith("sora-local-renderer/")

    @property
    def label(self) -> str:
        """Name the block."""
        return f"the block {self.name}"

    def server(self) -> Server:
        """Load the block and ask it."""
        server = asyncio.run(self._loaded.get_server())
        hide(server.api_key.get_secret_value() if server.api_key else None)
        return server

    def block(self) -> "ProviderBlock":
        """Load the block."""
        return self._loaded

    @cached_property
    def _loaded(self) -> "ProviderBlock":
        from prefect.blocks.core import Block

        from prefect_sora.blocks import Provider as ProviderBlock

        try:
            block: object = asyncio.run(cast(Any, Block.aload(self.name)))
        except ValueError as error:
            raise InvalidRequestError(
                f"Prefect has no block {self.name}.", next_step=_CHOICES
            ) from error
        if not isinstance(block, ProviderBlock):
            raise InvalidRequestError(
                f"The block {self.name} is a {type(block).__name__}, which renders nothing.",
                next_step=_CHOICES,
            )
        return block


def choose(name: str | None, environ: Mapping[str, str] = os.environ) -> Provider:
    """Find who renders.

    Raises:
        InvalidRequestError: Nobody is named, or what is named is not set up.
    """
    if name is None:
        if environ.get("OPENAI_BASE_URL") or environ.get("OPENAI_API_KEY"):
            name = "openai"
        elif environ.get("AZURE_OPENAI_ENDPOINT"):
            name = "azure"
        else:
            raise InvalidRequestError("No provider is named.", next_step=f"Name one: {_CHOICES}")
    if name == "local":
        return Local(local_folder(environ))
    if name == "openai":
        return _openai(environ)
    if name == "azure":
        return _azure(environ)
    slug, slash, document = name.partition("/")
    if slash and slug and document:
        return Saved(name)
    raise InvalidRequestError(f"{name!r} is no provider.", next_step=_CHOICES)


def local_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the local renderer of this user keeps its jobs."""
    folder = environ.get(LOCAL_FOLDER_VARIABLE) or "~/.prefect-sora/renderer"
    return Path(folder).expanduser().absolute()


def in_environment(environ: Mapping[str, str] = os.environ) -> list[Remote]:
    """All servers that the environment describes; one that is half described is none."""
    found = []
    for describes, make in (
        (("OPENAI_BASE_URL", "OPENAI_API_KEY"), _openai),
        (("AZURE_OPENAI_ENDPOINT",), _azure),
    ):
        if any(environ.get(variable) for variable in describes):
            try:
                found.append(make(environ))
            except InvalidRequestError:
                continue
    return found


def _openai(environ: Mapping[str, str]) -> Remote:
    key = environ.get("OPENAI_API_KEY")
    hide(key)
    url = environ.get("OPENAI_BASE_URL")
    if not url and not key:
        raise InvalidRequestError(
            "--provider openai needs OPENAI_API_KEY, or OPENAI_BASE_URL for another server.",
            next_step="Set it in the environment.",
        )
    fields = {
        "base_url": url or OPENAI_URL,
        "api_key": SecretStr(key) if key else None,
        "organization": environ.get("OPENAI_ORG_ID") or None,
        "project": environ.get("OPENAI_PROJECT_ID") or None,
    }
    own = prices_from_json(environ.get(PRICES_VARIABLE), PRICES_VARIABLE)
    profile = _profile(environ.get(PROFILE_VARIABLE) or "auto")
    described = remote(**cast(Any, fields), profile=read_profile(profile), prices=own)
    return Remote("openai", described, {**fields, "profile": profile, "prices": by_model(own)})


def _profile(text: str) -> str | dict[str, Any]:
    """Read a profile's name, or one of the user's own as JSON.

    Raises:
        InvalidRequestError: It begins like JSON and is none.
    """
    if not text.lstrip().startswith("{"):
        return text
    try:
        return cast("dict[str, Any]", json.loads(text))
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(
            f"{PROFILE_VARIABLE} is no JSON: {error}.",
            next_step='Set it to a name, or to what differs: {"base": "generic", "can_list": '
            "false}; nothing was sent.",
        ) from None


def _azure(environ: Mapping[str, str]) -> Remote:
    key = environ.get("AZURE_OPENAI_API_KEY")
    hide(key)
    endpoint = environ.get("AZURE_OPENAI_ENDPOINT")
    if not endpoint:
        raise InvalidRequestError(
            "--provider azure needs AZURE_OPENAI_ENDPOINT.",
            next_step="Set it in the environment, with AZURE_OPENAI_API_KEY and "
            "AZURE_OPENAI_DEPLOYMENT.",
        )
    fields = {
        "endpoint": endpoint,
        "api_key": SecretStr(key) if key else None,
        "deployment": environ.get("AZURE_OPENAI_DEPLOYMENT") or None,
        "api_version": environ.get("OPENAI_API_VERSION") or None,
    }
    own = prices_from_json(environ.get(PRICES_VARIABLE), PRICES_VARIABLE)
    described = azure_server(**cast(Any, fields), prices=own)
    return Remote("azure", described, {**fields, "prices": by_model(own)})
