"""Next steps: the commands in an error's advice, complete, to be run as they stand."""

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prefect_sora.errors import SoraError

_COMMAND: Final = re.compile(r"`(prefect-sora (?:resume|doctor)(?: [^`]*)?)`")


def resume_command(key: str | None, store: str, provider: str | None = None) -> str:
    """The command that brings a render, or all of them, home."""
    return _complete("prefect-sora resume" + (f" {key}" if key else ""), store, provider)


def pasteable(error: BaseException, store: str, provider: str | None = None) -> None:
    """Add to the commands in an error's next step what they do not say.

    Args:
        error: Any error; only ours have a next step.
        store: The store, as --store takes it.
        provider: Who renders, as --provider takes it; None where nobody was named.
    """
    if isinstance(error, SoraError) and error.next_step:
        error.next_step = _COMMAND.sub(
            lambda found: f"`{_complete(found[1], store, provider)}`", error.next_step
        )


@contextmanager
def in_store(place: str, key: str, video_id: str | None = None) -> Iterator[None]:
    """Say of every error which render it is about, and where that is kept."""
    try:
        yield
    except SoraError as error:
        error.about(key=key, video_id=video_id)
        pasteable(error, place)
        raise


def _complete(command: str, store: str, provider: str | None) -> str:
    for option, value in (("--store", store), ("--provider", provider)):
        if value and f" {option} " not in command:
            command += f" {option} {shlex.quote(value)}"
    return command
