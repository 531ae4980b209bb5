"""Characters: those who can appear in a video by their name, each with a picture of its own."""

import json
import time
from asyncio import to_thread
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shutil import rmtree
from uuid import uuid4

from prefect_sora.servers.local.state.files import write_whole


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
    """The characters of one renderer's folder.

    ```text
    characters/ID.webp    the picture
    characters/ID.json    the record, written last
    ```
    """

    home: Path
    _known: dict[str, Character] = field(default_factory=dict)

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

    def get(self, character_id: str) -> Character | None:
        """The character, or None where it is unknown."""
        return self._known.get(character_id)

    def by_idempotency_key(self, key: str) -> Character | None:
        """The character that was made with this key."""
        return next((c for c in self._known.values() if c.idempotency_key == key), None)

    async def keep(self, name: str, picture: bytes, key: str | None) -> Character:
        """Make a character that survives any crash from here on; the picture is a WebP file."""
        character = Character(f"char_{uuid4().hex}", name, int(time.time()), key)
        await to_thread(self._save, character, picture)
        self._known[character.id] = character
        return character

    async def reset(self) -> None:
        """Forget everybody."""
        self._known.clear()
        await to_thread(rmtree, self.home / "characters", ignore_errors=True)
        self.load()

    def _save(self, character: Character, picture: bytes) -> None:
        write_whole(portrait_path(self.home, character.id), picture)
        record = self.home / "characters" / f"{character.id}.json"
        write_whole(record, json.dumps(asdict(character)).encode())


def portrait_path(home: Path, character_id: str) -> Path:
    """Where a character's picture lies."""
    return home / "characters" / f"{character_id}.webp"
