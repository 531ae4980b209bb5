"""Saved: providers and stores that are named by their blocks, which Prefect alone knows.

What can be told without starting Prefect is told at once: that a type is none, and that the
Prefect API knows no such block.
"""

import asyncio
import base64
import logging
import os
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from mimetypes import guess_type
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from prefect_sora.cli import options, prefect_start, redaction
from prefect_sora.errors import InvalidRequestError
from prefect_sora.limits import limits
from prefect_sora.servers.profiles import HOSTED
from prefect_sora.servers.server import Server

if TYPE_CHECKING:
    from prefect_sora.store.backends import VideoFolder

log = logging.getLogger(__name__)

STORE: Final = "sora-video-store"
PROVIDERS: Final = (
    "sora-openai-credentials",
    "sora-azure-openai-credentials",
    "sora-local-renderer",
)
_STORES: Final = (
    f"A store is a folder, a URL such as s3://bucket/clips, or a saved store such as {STORE}/clips."
)
_OTHERS: Final = ("s3-bucket", "gcs-bucket", "azure-blob-storage-container", "local-file-system")
"""Storage blocks of Prefect's own collections, which are no stores of videos."""

_BARE: Final = re.compile(r"[^./\\:~][^/\\:]*")


@dataclass(frozen=True)
class NamedStore:
    """Where videos and records are kept, as a person has named it.

    Attributes:
        name: As --store took it, complete.
        folder: The place itself.
        daily_budget_usd: What all renders into it may cost in one UTC day; None: no limit.
        block: The saved store, where it is one.
    """

    name: str
    folder: "VideoFolder"
    daily_budget_usd: float | None = None
    block: Any = None

    @property
    def for_flows(self) -> Any:
        """The same, as flows take it."""
        return self.block or self.name


def store_named(name: str, environ: Mapping[str, str] = os.environ) -> NamedStore:
    """Find a store by its path, its URL, or its block as `sora-video-store/name`.

    A name alone is a saved store where the Prefect API that is configured knows one, and no
    folder is called so; else it is a folder.

    Raises:
        InvalidRequestError: There is no such block, or it is not clear what is meant.
    """
    kind, slash, document = name.partition("/")
    if slash and document and kind == STORE:
        return _saved_store(name, environ)
    if slash and document and "://" not in name and not os.path.isdir(name):
        if kind in PROVIDERS:
            raise InvalidRequestError(
                f"{name} is a saved provider, and no store.", next_step=_STORES
            )
        if kind.startswith("sora-") or kind in _OTHERS:
            raise InvalidRequestError(
                f"{name} looks like a saved block, and {kind} is no type of store.",
                next_step=(_STORES, f"For a folder write ./{name}."),
            )
    if (
        _BARE.fullmatch(name)
        and prefect_start.is_configured(environ)
        and _known(STORE, name, environ)
    ):
        if os.path.isdir(name):
            raise InvalidRequestError(
                f"{name} is a folder here, and a saved store as well.",
                next_step=f"Write ./{name} or {STORE}/{name}.",
            )
        return _saved_store(f"{STORE}/{name}", environ)
    _refuse_what_is_no_folder(name)
    from prefect_sora.store.backends import VideoFolder  # what most refusals need not wait for

    return NamedStore(name, VideoFolder(name))


def _refuse_what_is_no_folder(name: str) -> None:
    """Stop at a name that would make a folder nobody means: another's file, or half a URL."""
    if "://" in name or os.path.isdir(name):
        return
    if re.match(r"[a-z][\w+.-]+:", name, re.IGNORECASE):  # two letters at least, for C: is a drive
        raise InvalidRequestError(
            f"{name} is no store.", next_step=(_STORES, f"For a folder write ./{name}.")
        )
    if guess_type(name)[0]:
        raise InvalidRequestError(
            f"{name} is a file's name, and a store is a folder.",
            next_step="For a clip besides, -o needs a name that ends in .mp4, such as -o "
            f"{Path(name).stem}.mp4; for a picture one in .png, .jpg or .webp.",
        )


def standing(store: NamedStore) -> NamedStore:
    """Return a store that is to be read; a folder of which there is none is refused, not made.

    Raises:
        InvalidRequestError: There is no such folder.
    """
    missing = "://" not in store.name and store.block is None and not os.path.isdir(store.name)
    if missing and store.name != options.STORE:
        raise InvalidRequestError(
            f"There is no folder {store.name}.", next_step="Name the store that has the renders."
        )
    return store


def provider_name(name: str | None, environ: Mapping[str, str] = os.environ) -> str | None:
    """Complete the name of a provider: a saved block's own name is enough where it is unique.

    Raises:
        InvalidRequestError: No block is called so, or several are.
    """
    if name is None or "://" in name or name in ("local", "openai", "azure", *HOSTED, ""):
        return name
    kind, slash, _ = name.partition("/")
    if slash:
        if kind not in PROVIDERS:
            raise InvalidRequestError(
                f"{kind} is no type of provider.",
                next_step=f"Saved providers are of the types {', '.join(PROVIDERS)}.",
            )
        if not _may_exist(name, environ):
            raise _unknown(name)
        return name
    if prefect_start.holds_nothing(environ):
        return name  # which is refused as no provider
    found = [kind for kind in PROVIDERS if _known(kind, name, environ)]
    if len(found) > 1:
        several = " or ".join(f"{kind}/{name}" for kind in found)
        raise InvalidRequestError(
            f"Several saved providers are called {name}.", next_step=f"Write {several}."
        )
    return f"{found[0]}/{name}" if found else name


def load_server(name: str) -> Server:
    """Load a saved provider, and describe its server.

    Raises:
        InvalidRequestError: Prefect has no such block.
    """
    _ready(name)
    from prefect_sora.tasks.providers import provider_of

    async def load() -> Server:
        return await (await provider_of(name)).get_server()

    server = asyncio.run(load())
    redaction.hide(server.api_key.get_secret_value() if server.api_key else None)
    redaction.hide(server.token.current if server.token else None)
    return server


def _saved_store(name: str, environ: Mapping[str, str]) -> NamedStore:
    if not _may_exist(name, environ):
        raise _unknown(name, _STORES)
    _ready(name)
    from prefect_sora.blocks import VideoStore

    async def load() -> VideoStore:
        return await VideoStore.aload(name.partition("/")[2])

    try:
        block = asyncio.run(load())
    except ValueError as error:
        raise _unknown(name, _STORES) from error
    options = block.storage_options.get_secret_value() if block.storage_options else {}
    for secret in options.values():
        redaction.hide(secret if isinstance(secret, str) and len(secret) > 15 else None)
    return NamedStore(name, block.folder, block.daily_budget_usd, block)


def _unknown(name: str, choices: str = "") -> InvalidRequestError:
    return InvalidRequestError(
        f"Prefect has no block {name}.",
        next_step=("`prefect block ls` lists those that it has.", choices),
    )


def _ready(name: str) -> None:
    if not prefect_start.is_configured():
        log.warning(
            "%s is in the database of Prefect's temporary server, which starts slowly; with "
            "PREFECT_API_URL set to a Prefect server that runs, it is there at once.",
            name,
        )
    prefect_start.ready()


def _may_exist(name: str, environ: Mapping[str, str]) -> bool:
    """Whether a block may be there: no, where that is certain without starting Prefect."""
    if prefect_start.holds_nothing(environ):
        return False
    kind, _, document = name.partition("/")
    return _asked(kind, document, environ) is not False


def _known(kind: str, document: str, environ: Mapping[str, str]) -> bool:
    """Whether a block is there, whatever it takes to find out."""
    told = _asked(kind, document, environ)
    if told is not None:
        return told
    prefect_start.ready()
    from prefect import get_client
    from prefect.exceptions import ObjectNotFound

    async def look() -> bool:
        async with get_client() as api:
            try:
                await api.read_block_document_by_name(document, kind, include_secrets=False)
            except ObjectNotFound:
                return False
            return True

    return asyncio.run(look())


def _asked(kind: str, document: str, environ: Mapping[str, str]) -> bool | None:
    """Ask the Prefect API itself, which takes less than importing Prefect; None: no answer."""
    if not prefect_start.is_configured(environ):
        return _in_database(kind, document, environ)
    if not (url := environ.get("PREFECT_API_URL")):
        return None
    import httpx2

    place = (
        f"/block_types/slug/{quote(kind, safe='')}/block_documents/name/{quote(document, safe='')}"
    )
    try:
        answer = httpx2.get(
            url.rstrip("/") + place, headers=_headers(environ), timeout=limits().connect_seconds
        )
    except httpx2.HTTPError:
        return None
    if answer.status_code == 404 and "Block" not in answer.text:
        return None  # no Prefect API, but something else
    return {200: True, 404: False}.get(answer.status_code)


def _in_database(kind: str, document: str, environ: Mapping[str, str]) -> bool | None:
    """Look into the database of Prefect's temporary server, whose start takes many seconds.

    Its tables are Prefect's own affair: whatever is not as in 3.8 is no answer.
    """
    path = prefect_start.database(environ)
    if path is None or not path.exists():
        return None
    query = (
        "SELECT 1 FROM block_document AS d JOIN block_type AS t ON d.block_type_id = t.id "
        "WHERE t.slug = ? AND d.name = ?"
    )
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as there:
            return there.execute(query, (kind, document)).fetchone() is not None
    except sqlite3.Error:
        return None


def _headers(environ: Mapping[str, str]) -> dict[str, str]:
    if key := environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if word := environ.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(word.encode()).decode()}"}
    return {}
