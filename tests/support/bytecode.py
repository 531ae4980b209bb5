"""Bytecode: where an environment forbids it beside the sources, it is kept in pytest's cache.

Importing this module does it, for the process and for those that it starts. One that compiles
Prefect anew each time takes three times the CPU seconds to start.
"""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Where things are that take long to make and are good for many sessions."""
    folder = Path(__file__).parents[2] / ".pytest_cache" / "suite"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if sys.dont_write_bytecode:
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(cache_folder() / "bytecode")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
