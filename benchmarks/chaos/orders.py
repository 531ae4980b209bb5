"""Orders: which renders there are, told by their numbers, and what is said about them."""

from dataclasses import dataclass, field
from typing import Any, Literal

from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.profiles import PROFILES, Profile, read_profile
from prefect_sora.servers.server import Server, remote

SCOPE = "chaos"

TWINS_EVERY = 10
"""The last of so many renders is a second take of the one before it: no list tells them apart."""

STRANGER = read_profile(
    {"base": "generic", "name": "stranger", "submit_grace_s": 0.5, "longest_create_s": 4.0}
)
"""What is believed of a stranger: nothing, but that its gateway keeps no create for long."""

Way = Literal["render", "flow"]


@dataclass(frozen=True)
class Place:
    """Where renders are made and kept, and by which way.

    Attributes:
        base_url: The video server's.
        profile: What is believed of it, by name.
        store: The store's URL.
        options: The store's options.
        way: `wait.render`, or the flow `text_to_video`.
        patience_s: How long a silent answer to a GET is waited for; 30 s outside of here.
        log: Where a worker writes what it has to say.
        truth: Where a stranger tells what it has accepted: what a person would look up.
    """

    base_url: str
    profile: str
    store: str
    options: dict[str, Any] = field(default_factory=dict)
    way: Way = "render"
    patience_s: float = 2.0
    log: str = ""
    truth: str = ""

    @property
    def server(self) -> Server:
        """The video server, as any client of it sees it."""
        return remote(self.base_url, profile=self.known)

    @property
    def known(self) -> Profile:
        """What is believed of it."""
        return STRANGER if self.profile == STRANGER.name else PROFILES[self.profile]


@dataclass(frozen=True)
class Order:
    """One render that a worker is handed.

    Attributes:
        number: Which.
        decided: Whether a person has looked at the server, and says whose the video is.
    """

    number: int
    decided: bool = False


@dataclass(frozen=True)
class Answer:
    """What a worker says of one run.

    Attributes:
        number: The render's.
        video_id: The video that was kept, where one was.
        sha256: Its hash.
        error: The kind of error in which the run ended, where it did.
        message: What that error says.
        peak_bytes: The most memory that the worker has had so far.
    """

    number: int
    peak_bytes: int
    video_id: str | None = None
    sha256: str | None = None
    error: str | None = None
    message: str = ""


def request_of(number: int) -> VideoRequest:
    """The nth render: one second of 64x64 pixels."""
    twin = number % TWINS_EVERY == TWINS_EVERY - 1
    return VideoRequest(
        prompt=f"{number - twin} kites over the sea",
        model=None,
        size="64x64",
        seconds=1,
        take=1 + twin,
    )
