"""Commands: what a person can run as it stands, in errors, on a screen or in an artifact."""

import re
import shlex
from typing import Final

from prefect_sora.errors import SoraError

_RESUME: Final = "prefect-sora resume"


def resume_command(key: str | None, store: str, provider: str | None = None) -> str:
    """The command that brings a render, or all of them, home."""
    words = [*_RESUME.split(), *([key] if key else []), "--store", store]
    words += ["--provider", provider] if provider else []
    return shlex.join(words)


def pasteable(error: BaseException, store: str, provider: str | None = None) -> None:
    """Complete the commands in an error's next step, so that they can be run as they stand."""
    if isinstance(error, SoraError) and error.next_step:
        options = resume_command(None, store, provider).removeprefix(_RESUME)
        error.next_step = re.sub(
            rf"`({_RESUME}(?: (?!--store)[^`\s]+)*)`",
            lambda command: f"`{command[1]}{options}`",
            error.next_step,
        )
