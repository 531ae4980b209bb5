"""Environment: who renders, as a person names it: local, openai, azure, or a saved block.

`openai` and `azure` stand for what the environment describes. Naming a provider asks, starts
and loads nothing.
"""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from threading import Thread
from typing import Any, Final, cast
from urllib.parse import urlsplit

from pydantic import SecretStr

from prefect_sora.errors import InvalidRequestError
from prefect_sora.servers.local import RendererAddress, ServerRecord, ensure_running
from prefect_sora.servers.profiles import read_profile
from prefect_sora.servers.server import Server, azure_server, local_server, remote
from prefect_sora.servers.video_prices import by_model, prices_from_json

OPENAI_URL: Final = "https://api.openai.com/v1"
"""The openai SDK's default for OPENAI_BASE_URL."""

PROFILE_VARIABLE: Final = "PREFECT_SORA_PROFILE"
PRICES_VARIABLE: Final = "PREFECT_SORA_PRICES"
KEY_VARIABLE: Final = "PREFECT_SORA_API_KEY"
"""The key of a server that is named by its URL."""

LOCAL_FOLDER_VARIABLE: Final = "PREFECT_SORA_LOCAL_FOLDER"

CHOICES: Final = (
    "local renders on this machine, for nothing; openai takes OPENAI_BASE_URL and "
    "OPENAI_API_KEY; azure takes AZURE_OPENAI_ENDPOINT, AZURE_OPENAI_API_KEY and "
    "AZURE_OPENAI_DEPLOYMENT; a URL is the server there, such as http://gpu-box:30010/v1; a saved "
    "block is named by its type's slug and its name, such as sora-openai-credentials/my-server."
)
"""What a provider can be named."""

_KEYS: Final = ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", KEY_VARIABLE)


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


def named_provider(
    name: str | None,
    environ: Mapping[str, str] = os.environ,
    load: Callable[[str], Server] | None = None,
) -> NamedProvider:
    """Find who renders.

    Args:
        name: As `CHOICES` says; None: openai or azure, where their variables are set.
        environ: What describes the servers.
        load: Describes the server of a saved block.

    Raises:
        InvalidRequestError: Nobody is named, or what is named is not set up.
    """
    if name is None:
        if environ.get("OPENAI_BASE_URL") or environ.get("OPENAI_API_KEY"):
            name = "openai"
        elif environ.get("AZURE_OPENAI_ENDPOINT"):
            name = "azure"
        else:
            raise InvalidRequestError("No provider is named.", next_step=f"Name one: {CHOICES}")
    if name == "local":
        return Local(local_folder(environ))
    if name == "openai":
        return _openai(environ)
    if name == "azure":
        return _azure(environ)
    if name.startswith(("http://", "https://")):
        return _at(name, environ)
    slug, slash, document = name.partition("/")
    if slash and slug and document:
        return Saved(name, load)
    raise InvalidRequestError(f"{name!r} is no provider.", next_step=f"Name one: {CHOICES}")


def local_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the local renderer of this user keeps its jobs."""
    folder = environ.get(LOCAL_FOLDER_VARIABLE) or "~/.prefect-sora/renderer"
    return Path(folder).expanduser().absolute()


def described(environ: Mapping[str, str] = os.environ) -> list[Described]:
    """All servers that the environment describes; one that is half described does not count."""
    found = []
    for variables, make in (
        (("OPENAI_BASE_URL", "OPENAI_API_KEY"), _openai),
        (("AZURE_OPENAI_ENDPOINT",), _azure),
    ):
        if any(environ.get(variable) for variable in variables):
            try:
                found.append(make(environ))
            except InvalidRequestError:
                continue
    return found


def keys(environ: Mapping[str, str] = os.environ) -> list[str]:
    """All servers' keys that the environment holds."""
    return [environ[variable] for variable in _KEYS if environ.get(variable)]


def _openai(environ: Mapping[str, str]) -> Described:
    key, url = environ.get("OPENAI_API_KEY"), environ.get("OPENAI_BASE_URL")
    if not url and not key:
        raise InvalidRequestError(
            "The provider openai needs OPENAI_API_KEY, or OPENAI_BASE_URL for another server.",
            next_step="Set it in the environment.",
        )
    return _described("openai", url or OPENAI_URL, key, environ)


def _at(url: str, environ: Mapping[str, str]) -> Described:
    """Describe the server at a URL; the key of another server is not sent there."""
    key = environ.get(KEY_VARIABLE)
    if not key and _host(url) == _host(environ.get("OPENAI_BASE_URL") or OPENAI_URL):
        key = environ.get("OPENAI_API_KEY")
    return _described(url, url, key, environ)


def _host(url: str) -> tuple[str, str]:
    """What a key is sent to: scheme, and name with port."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.rpartition("@")[2].lower()


def _described(name: str, url: str, key: str | None, environ: Mapping[str, str]) -> Described:
    fields = {
        "base_url": url,
        "api_key": SecretStr(key) if key else None,
        "organization": environ.get("OPENAI_ORG_ID") or None,
        "project": environ.get("OPENAI_PROJECT_ID") or None,
    }
    own = prices_from_json(environ.get(PRICES_VARIABLE), PRICES_VARIABLE)
    profile = _profile(environ.get(PROFILE_VARIABLE) or "auto")
    server = remote(**cast(Any, fields), profile=read_profile(profile), prices=own)
    return Described(name, server, {**fields, "profile": profile, "prices": by_model(own)})


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
            "false}.",
        ) from None


def _azure(environ: Mapping[str, str]) -> Described:
    key, endpoint = environ.get("AZURE_OPENAI_API_KEY"), environ.get("AZURE_OPENAI_ENDPOINT")
    if not endpoint:
        raise InvalidRequestError(
            "The provider azure needs AZURE_OPENAI_ENDPOINT.",
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
    server = azure_server(**cast(Any, fields), prices=own)
    return Described("azure", server, {**fields, "prices": by_model(own)})
