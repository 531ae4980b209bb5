"""Address: where the renderer of a folder answers, and a check that it is that folder's."""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prefect_sora.servers.local.state.files import write_whole

PROBE_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class RendererAddress:
    """A renderer that answers.

    Attributes:
        base_url: What a client takes as its base URL, `/v1` included.
        pid: Its process.
        identity: Stable name of its folder: it outlives ports and restarts.
    """

    base_url: str
    pid: int
    identity: str


@dataclass(frozen=True)
class ServerRecord:
    """What a renderer leaves in its folder's `server.json`."""

    pid: int
    port: int
    base_url: str
    identity: str
    version: str

    @classmethod
    def read(cls, folder: Path) -> "ServerRecord | None":
        """The folder's record, or None where no renderer ever ran."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            saved = json.loads((folder / "server.json").read_text("utf-8"))
            return cls(**{name: saved[name] for name in cls.__dataclass_fields__})
        return None

    def write(self, folder: Path) -> None:
        """Replace the folder's record whole."""
        write_whole(folder / "server.json", json.dumps(asdict(self), indent=2).encode())

    @property
    def address(self) -> RendererAddress:
        """The part that callers use."""
        return RendererAddress(self.base_url, self.pid, self.identity)


def folder_mark(folder: Path) -> str:
    """A digest of the folder's path: tells a copied folder from its original."""
    return sha256(os.fsencode(folder.resolve())).hexdigest()[:16]


def find_running(folder: Path) -> RendererAddress | None:
    """The renderer that serves this folder now, or None.

    The address on record is asked who answers there: another process may have taken its port.
    """
    record = ServerRecord.read(folder)
    if record is None:
        return None
    health = _health(record.base_url)
    if health is None or health.get("identity") != record.identity:
        return None
    if health.get("folder") != folder_mark(folder):
        return None
    return RendererAddress(record.base_url, int(health["pid"]), record.identity)


def _health(base_url: str) -> dict[str, Any] | None:
    from http.client import HTTPConnection, HTTPException

    host = urlsplit(base_url)
    connection = HTTPConnection(host.hostname or "", host.port, timeout=PROBE_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        health = json.loads(answer.read(65536))
    except (OSError, ValueError, HTTPException):
        return None
    finally:
        connection.close()
    return health if isinstance(health, dict) and "pid" in health else None
