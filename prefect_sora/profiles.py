"""What a server can do, as data: code branches on these, never on a server's name."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Profile:
    """The capabilities of one kind of video server.

    Attributes:
        name: As a block or the command line names it.
        can_list: `GET /videos` lists the jobs of this account.
        variants: Files besides the video that `/content` serves.
        remix: `POST /videos/{id}/remix` exists.
        prompt_echo: The Video object repeats the prompt.
        submit_grace_s: How long an accepted job may take to appear in the list, seconds.
    """

    name: str
    can_list: bool = True
    variants: frozenset[str] = frozenset()
    remix: bool = True
    prompt_echo: bool = False
    submit_grace_s: float = 5.0


_STILLS: Final = frozenset({"thumbnail", "spritesheet"})

OPENAI: Final = Profile("openai", variants=_STILLS, prompt_echo=True)
AZURE: Final = Profile("azure", prompt_echo=True, submit_grace_s=10.0)
LOCAL: Final = Profile("local", variants=_STILLS, prompt_echo=True, submit_grace_s=0.5)
GENERIC: Final = Profile("generic")

PROFILES: Final = {p.name: p for p in (OPENAI, AZURE, LOCAL, GENERIC)}
