"""The renderer on this machine, where flows render until another is named."""

import os
from pathlib import Path

from prefect_sora import LocalRenderer


def document() -> LocalRenderer:
    """Keep its jobs where `prefect-sora` keeps them too."""
    folder = os.environ.get("PREFECT_SORA_LOCAL_FOLDER") or "~/.prefect-sora/renderer"
    return LocalRenderer(folder=Path(folder).expanduser().absolute())
