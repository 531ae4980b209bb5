"""Film: shots are rendered, and kept clips become one film in the store."""

from prefect_sora.renders.film.audio import audio_of
from prefect_sora.renders.film.keep import (
    Cut,
    CutList,
    StoredFilm,
    keep_film,
    last_frame_of,
)

__all__ = ["Cut", "CutList", "StoredFilm", "audio_of", "keep_film", "last_frame_of"]
