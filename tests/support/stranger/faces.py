"""Faces: how a server shows a job, which need not be what it was asked for."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.support.stranger.character import Character
from tests.support.stranger.jobs import Job

LOCAL_HOURS: Final = 8
"""How far the clock on the wall is ahead of UTC there."""

DATE: Final = "2026-03-01"

_MADE_OF: Final = "remixed_from_video_id"


def shown(job: Job, character: Character) -> dict[str, Any]:
    """A job as the protocol shows it there."""
    status = "completed" if job.is_done(character) else "in_progress"
    face: dict[str, Any] = {
        "id": job.id,
        "object": "video",
        "status": character.words.get(status, status),
        "progress": 100 if status == "completed" else 0,
        "created_at": _time(job.at + character.clock_s, character),
        "prompt": _prompt(job.fields.get("prompt"), character),
        "model": _model(job.fields.get("model"), character),
        "size": _size(job.fields.get("size"), character),
        "seconds": _seconds(job.fields.get("seconds"), character),
        "x_region": "eu",
    }
    if job.kind == "remix":
        face[_MADE_OF] = job.source
    return {name: value for name, value in face.items() if name not in character.hides}


def _time(at: float, character: Character) -> Any:
    match character.times:
        case "milliseconds":
            return int(at * 1000)
        case "zero":
            return 0
        case "iso":
            return datetime.fromtimestamp(at, UTC).isoformat()
        case "local":
            wall = datetime.fromtimestamp(at, UTC) + timedelta(hours=LOCAL_HOURS)
            return int(wall.timestamp())
    return int(at)


def _prompt(prompt: Any, character: Character) -> Any:
    if not isinstance(prompt, str) or character.prompts == "verbatim":
        return prompt
    if character.prompts == "trimmed":
        return " ".join(prompt.split())
    return f"Cinematic, golden hour: {prompt.capitalize()}, highly detailed"


def _model(model: Any, character: Character) -> Any:
    if not isinstance(model, str) or character.models == "verbatim":
        return model
    return f"{model}-{DATE}" if character.models == "dated" else f"vendor/{model}"


def _size(size: Any, character: Character) -> Any:
    if not isinstance(size, str) or character.sizes == "verbatim":
        return size
    width, _, height = size.partition("x")
    return f"{-(-int(width) // 48) * 48}x{-(-int(height) // 48) * 48}"


def _seconds(seconds: Any, character: Character) -> Any:
    if seconds is None or character.lengths == "verbatim":
        return seconds
    return float(seconds) if character.lengths == "number" else float(seconds) + 0.04
