"""Server: the protocol over HTTP, as its character has it; `/admin` tells the truth."""

import base64
import itertools
import json
import time
from collections.abc import Mapping
from email.parser import BytesParser
from email.policy import HTTP
from email.utils import formatdate
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.stranger.character import Character
from tests.support.stranger.clips import clip, picture
from tests.support.stranger.faces import shown
from tests.support.stranger.jobs import Job, Jobs
from tests.support.stranger.serving import Loopback, Quiet

NOBODY: Final = "everybody"
"""The account where no key is asked for."""

_DERIVED: Final = {"edits": "edit", "extensions": "extend"}


class Stranger(Loopback):
    """A video server on loopback."""

    def __init__(self, port: int, folder: Path, character: Character) -> None:
        super().__init__(port, _Handler)
        self.jobs = Jobs(folder)
        self.character = character
        self.turns = itertools.count()


class _Handler(Quiet):
    server: Stranger

    def answer(self, body: bytes) -> None:
        if self.command == "POST":
            self._post(body)
        elif self.command == "DELETE":
            self._delete()
        else:
            self._get()

    def _get(self) -> None:
        parts = self._parts()
        if parts[:1] == ["admin"]:
            return self._say(200, {"jobs": self.server.jobs.truth()})
        account = self._account()
        if account is None:
            return self._refuse(401, "Incorrect API key provided", "invalid_api_key")
        if parts[:2] != ["v1", "videos"]:
            return self._refuse(404, "Unknown route")
        if len(parts) == 2:
            return self._list(account)
        job = self._find(parts[2], account)
        if job is None:
            return self._refuse(404, f"No video with id {parts[2]}", "not_found")
        if parts[3:] == ["content"]:
            if "variant" in self._query() or not job.is_done(self.server.character):
                return self._refuse(404, "Not ready")
            return self._say(200, clip(job.id), "video/mp4")
        return self._say(200, shown(job, self.server.character))

    def _post(self, body: bytes) -> None:
        parts = self._parts()
        if parts[:2] == ["admin", "character"]:
            self.server.character = Character.read(body.decode())
            return self._say(200, {})
        if parts[:2] == ["admin", "forget"]:
            self.server.jobs.forget()
            return self._say(200, {})
        account = self._account()
        if account is None:
            return self._refuse(401, "Incorrect API key provided", "invalid_api_key")
        fields = self._fields(body)
        if fields is None or not fields.get("prompt"):
            return self._refuse(400, "A prompt is required", "invalid_value")
        if parts[:3] == ["v1", "images", "generations"]:
            self._accept(account, "image", fields)
            data = base64.b64encode(picture()).decode()
            return self._say(200, {"created": int(time.time()), "data": [{"b64_json": data}]})
        if parts[:2] != ["v1", "videos"]:
            return self._refuse(404, "Unknown route")
        kind, source = _kind_of(parts[2:], fields)
        if kind != "create" and not (source and self._find(source, account)):
            return self._refuse(404, f"No video with id {source}", "not_found")
        job = self._accept(account, kind, fields, source)
        return self._say(200, shown(job, self.server.character))

    def _delete(self) -> None:
        parts, account = self._parts(), self._account()
        job = self._find(parts[2], account) if account and len(parts) == 3 else None
        if job is None:
            return self._refuse(404, "No such video", "not_found")
        self.server.jobs.delete(job)
        return self._say(200, {"id": job.id, "object": "video.deleted", "deleted": True})

    def _list(self, account: str) -> None:
        character, query = self.server.character, self._query()
        replica = None if character.shares_list else self._replica()
        jobs = [*self.server.jobs.seen(character, account, replica)]
        if query.get("order") == "asc":
            jobs.reverse()
        after = query.get("after") if character.pages else None
        if after:
            ids = [job.id for job in jobs]
            # As most do: from an id that it does not know, nothing follows.
            jobs = jobs[ids.index(after) + 1 :] if after in ids else []
        size = min(int(query.get("limit", "20")), character.page)
        page = [shown(job, character) for job in jobs[:size]]
        more = {"has_more": len(jobs) > size} if character.says_more else {}
        return self._say(200, {"object": "list", "data": page, **more})

    def _find(self, name: str, account: str) -> Job | None:
        character = self.server.character
        replica = None if character.shares_jobs else self._replica()
        seen = self.server.jobs.seen(character, account, replica)
        return next((job for job in seen if job.id == name), None)

    def _accept(
        self, account: str, kind: str, fields: dict[str, Any], source: str | None = None
    ) -> Job:
        key = self.headers.get("idempotency-key")
        age_s = float(self.headers.get("x-admin-age-s") or 0.0)
        at = time.time() - age_s
        return self.server.jobs.accept(account, kind, fields, at, self._replica(), source, key)

    def _replica(self) -> int:
        """Whose turn it is."""
        return next(self.server.turns) % self.server.character.replicas

    def _account(self) -> str | None:
        keys = self.server.character.keys
        said = self.headers.get("authorization", "").removeprefix("Bearer ")
        if "*" in keys and said:
            return said
        return keys.get(said) if keys else NOBODY

    def _parts(self) -> list[str]:
        return [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]

    def _query(self) -> dict[str, str]:
        return {name: v[-1] for name, v in parse_qs(urlsplit(self.path).query).items()}

    def _fields(self, body: bytes) -> dict[str, Any] | None:
        kind = self.headers.get("content-type", "")
        if "multipart" in kind:
            return _form(kind, body)
        try:
            given = json.loads(body)
        except ValueError:
            return None
        return given if isinstance(given, dict) else None

    def _refuse(self, status: int, message: str, code: str | None = None) -> None:
        error = {"message": message, "type": "invalid_request_error", "code": code}
        self._say(status, {"error": error})

    def _say(self, status: int, body: Any, kind: str = "application/json") -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response_only(status)
        if self.server.character.dates:
            now = time.time() + self.server.character.clock_s
            self.send_header("Date", formatdate(now, usegmt=True))
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


def _kind_of(rest: list[str], fields: Mapping[str, Any]) -> tuple[str, str | None]:
    """What is asked for, and from which video it starts."""
    if rest[1:] == ["remix"]:
        return "remix", rest[0]
    if rest and rest[0] in _DERIVED:
        video = fields.get("video")
        return _DERIVED[rest[0]], video.get("id") if isinstance(video, dict) else None
    return "create", None


def _form(kind: str, body: bytes) -> dict[str, Any]:
    head = f"content-type: {kind}\r\n\r\n".encode()
    fields: dict[str, Any] = {}
    for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts():
        content: Any = part.get_content()
        name = str(part.get_param("name", header="content-disposition"))
        fields[name] = content if isinstance(content, str) else f"{len(content)} bytes"
    return fields
