"""Film: shots are rendered, and kept clips become one film in the store."""

from prefect_sora.renders.film.keep import Cut, CutList, StoredFilm, keep_film, last_frame_of

__all__ = ["Cut", "CutList", "StoredFilm", "keep_film", "last_frame_of"]
