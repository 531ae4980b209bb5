"""Characters: those who can appear in a video by their name, each with a picture of its own."""

import json
import time
from asyncio import Lock, to_thread
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shutil import rmtree
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from prefect_sora.local.address import write_whole
from prefect_sora.local.options import RendererOptions
from prefect_sora.local.orders import checked_name
from prefect_sora.local.wire import Refusal, bad, read_fields

_EDGE = 320
_SHOWN_AT = 1 / 3
"""Where in its video a character's picture is taken."""


@dataclass(frozen=True)
class Character:
    """Somebody who was taken from a video."""

    id: str
    name: str
    created_at: int
    idempotency_key: str | None = None

    def answer(self) -> dict[str, object]:
        """The Character object of the protocol."""
        return {"id": self.id, "name": self.name, "created_at": self.created_at}


@dataclass
class Characters:
    """The characters of one folder.

    ```text
    characters/ID.webp    the picture
    characters/ID.json    the record, written last
    ```
    """

    home: Path
    options: RendererOptions
    _known: dict[str, Character] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def load(self) -> None:
        """Read what the last process left."""
        folder = self.home / "characters"
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*.json"):
            with suppress(OSError, ValueError, TypeError):
                character = Character(**json.loads(path.read_text("utf-8")))
                self._known[character.id] = character

    def __len__(self) -> int:
        return len(self._known)

    def cast(self, ids: tuple[str, ...], prompt: str) -> Iterator[dict[str, str]]:
        """Those who are to appear, as a job remembers them.

        Raises:
            Refusal: One is unknown, or the prompt does not name it.
        """
        for one in dict.fromkeys(ids):
            character = self._known.get(one)
            if character is None:
                raise bad("characters", f"no character has the id '{one[:80]}'")
            if character.name.casefold() not in prompt.casefold():
                raise bad("characters", f"the prompt does not name '{character.name}'")
            yield {"id": character.id, "name": character.name}

    async def create(self, request: Request) -> Response:
        """POST /videos/characters."""
        fields = await read_fields(request)
        name = checked_name(fields)
        video = fields.file("video")
        if video is None:
            raise bad("video", "it must be a file in a multipart form")
        key = request.headers.get("idempotency-key") if self.options.idempotency else None
        async with self._lock:
            character = self._by_key(key) if key else None
            if character is None:
                character = Character(f"char_{uuid4().hex}", name, int(time.time()), key)
                try:
                    await to_thread(self._save, character, video)
                except ValueError as error:
                    raise bad("video", str(error)) from None
                self._known[character.id] = character
        return JSONResponse(character.answer())

    async def retrieve(self, request: Request) -> Response:
        """GET /videos/characters/{id}."""
        asked = request.path_params["character_id"]
        character = self._known.get(asked)
        if character is None:
            message = f"Character with id '{asked[:80]}' not found."
            raise Refusal(404, message, param="character_id", code="not_found")
        return JSONResponse(character.answer())

    async def reset(self) -> None:
        """Forget everybody."""
        self._known.clear()
        await to_thread(rmtree, self.home / "characters", ignore_errors=True)
        self.load()

    def _by_key(self, key: str) -> Character | None:
        return next((c for c in self._known.values() if c.idempotency_key == key), None)

    def _save(self, character: Character, video: bytes) -> None:
        from prefect_sora.local.footage import picture_at

        folder = self.home / "characters"
        path = folder / f"{character.id}.part"
        try:
            write_whole(path, video)
            picture = picture_at(path, _SHOWN_AT)
        finally:
            path.unlink(missing_ok=True)
        picture.thumbnail((_EDGE, _EDGE))
        picture.save(portrait_path(self.home, character.id), "WEBP", quality=85)
        write_whole(folder / f"{character.id}.json", json.dumps(asdict(character)).encode())


def portrait_path(home: Path, character_id: str) -> Path:
    """Where a character's picture lies."""
    return home / "characters" / f"{character_id}.webp"
