"""The command line: `prefect-sora`."""

import sys
from collections.abc import Sequence
from typing import Any


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = sys.argv[1:] if words is None else list(words)
    try:  # what a command needs takes a while to import, and Ctrl-C may come meanwhile
        from prefect_sora.cli.application import run_words
    except KeyboardInterrupt:
        sys.stderr.write("✗ Stopped. Nothing was sent.\n")
        return 130
    return run_words(words)


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(name)
    from prefect_sora.cli.application import app

    return app


__all__ = ["app", "main"]
