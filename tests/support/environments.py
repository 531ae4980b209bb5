"""Environments: what a few tests need beside this package, in a virtual environment of its own.

It is kept in $XDG_CACHE_HOME, so that only a first run installs it.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock


def environment(name: str, *installs: Sequence[str], made_of: str) -> Path:
    """Give the virtual environment of a name, made where it is not there yet.

    Args:
        name: What it is for.
        installs: The words of each `pip install`, in turn.
        made_of: What else it depends on: another text is another environment.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prefect-sora"
    digest = hashlib.sha256(f"{installs}{made_of}{sys.version}".encode()).hexdigest()
    home = cache / f"{name}-{digest[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(home.with_suffix(".lock")):
        if not (home / "whole").exists():
            shutil.rmtree(home, ignore_errors=True)
            venv.create(home, with_pip=True)
            for words in installs:
                pip = [str(home / "bin" / "pip"), "install", "--quiet"]
                subprocess.run([*pip, *words], check=True)
            (home / "whole").touch()
    return home
