"""What a server can do, as data: code branches on these, never on a server's name."""

from dataclasses import dataclass
from typing import Final, Literal

Service = Literal["openai", "azure"]
"""The services that have ended models of their own."""


@dataclass(frozen=True)
class Profile:
    """The capabilities of one kind of video server.

    Attributes:
        name: As a block or the command line names it.
        can_list: `GET /videos` lists the jobs of this account.
        variants: Files besides the video that `/content` serves.
        derives: Which kinds of render start from a finished video there. A server of which
            nothing is known is asked: what it lacks, it refuses, and nothing is paid.
        characters: `POST /videos/characters` exists.
        delete_stops: Deleting a job that is being rendered ends its rendering; None: not known.
        prompt_verbatim: A prompt in the Video object is the one that was sent, word for word,
            so that a job with another prompt is another's; some servers improve prompts.
        submit_grace_s: How long an accepted job may take to appear in the list, seconds.
        longest_create_s: How long after a create request was sent its job may still be
            accepted, seconds. Ours.
    """

    name: str
    can_list: bool = True
    variants: frozenset[str] = frozenset()
    derives: frozenset[str] = frozenset({"remix", "edit", "extend"})
    characters: bool = True
    delete_stops: bool | None = None
    prompt_verbatim: bool = False
    submit_grace_s: float = 5.0
    longest_create_s: float = 90.0


_STILLS: Final = frozenset({"thumbnail", "spritesheet"})

OPENAI: Final = Profile("openai", variants=_STILLS, prompt_verbatim=True)
# Microsoft documents remixes alone (azure-ai-docs, "Video generation", 2026).
AZURE: Final = Profile(
    "azure",
    prompt_verbatim=True,
    submit_grace_s=10.0,
    derives=frozenset({"remix"}),
    characters=False,
)
LOCAL: Final = Profile(
    "local",
    variants=_STILLS,
    prompt_verbatim=True,
    submit_grace_s=0.5,
    longest_create_s=2.0,
    delete_stops=True,
)
GENERIC: Final = Profile("generic")

PROFILES: Final = {p.name: p for p in (OPENAI, AZURE, LOCAL, GENERIC)}
