"""Where the videos go: $PREFECT_SORA_STORE, or `renders/` in this checkout."""

import os
from pathlib import Path

from prefect_sora import VideoStore


def document() -> VideoStore:
    """Take a URL as it is; make a path absolute, for workers start anywhere."""
    url = os.environ.get("PREFECT_SORA_STORE") or Path(__file__).parents[1] / "renders"
    if isinstance(url, str) and "://" in url:
        return VideoStore(url=url)
    return VideoStore(Path(url).expanduser().absolute())
