"""Worlds: a store's requests in doubt, who of them made which job, and what a server shows of it.

The truth is drawn first, and what is shown follows from it, so that each world names
the right outcome of every request: a server may hide, round, rename, improve and
translate, and write its times by a clock of any kind, but what it does it does always.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from hypothesis import strategies as st

from prefect_sora.renders.matching.match import Clock, Doubt
from prefect_sora.renders.matching.ownership import Asked, Seen, are_twins
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.profiles import GENERIC
from prefect_sora.servers.protocol.video_object import Video, read_video
from prefect_sora.servers.server import Server

NOW: Final = 1_790_000_000.0
HOUR: Final = 3600.0
DAY: Final = 24 * HOUR
GRACE: Final = 5.0

PROMPTS: Final = ("a kite", "A kite!", "a kite, cinematic", "the sea", "shot 1 of 2", "shot 2 of 2")
SIZES: Final = ("1280x720", "1280x704", "720x1280")
MODELS: Final = (None, "sora-2", "sora-2-pro", "sora-2-2025-10-06")
ROUNDED: Final = {"1280x720": "1280x704"}
RENAMED: Final = {"sora-2": "sora-2-pro", "sora-2-pro": "sora-2"}


@dataclass(frozen=True)
class Shows:
    """What a server makes of a request when it shows its job.

    Attributes:
        hides: Fields that it leaves out.
        prompts: What it does to the words of each.
        rounds: Whether it takes sizes and lengths that it has.
        models: What it does to their names.
        clock_s: How far its times are from ours.
        date_s: How far the Date of its answers is from our clock; None where there is none.
        units: What its times are written in.
    """

    hides: frozenset[str] = frozenset()
    prompts: str = "verbatim"
    rounds: bool = False
    models: str = "verbatim"
    clock_s: float = 0.0
    date_s: float | None = None
    units: str = "seconds"

    def prompt(self, prompt: str) -> str:
        """The words that it shows."""
        match self.prompts:
            case "improved" if not prompt.endswith(", cinematic"):
                return f"{prompt}, cinematic"
            case "translated":
                return {p: f"Bild {n}" for n, p in enumerate(PROMPTS)}[prompt]
            case "tidied":
                return f" {prompt}  \n"
        return prompt

    def model(self, model: str | None) -> str | None:
        """The model that it names."""
        match self.models:
            case "dated" if model in ("sora-2", "sora-2-pro"):
                return f"{model}-2025-10-06"
            case "renamed":
                return RENAMED.get(model or "", "wan-2.2")
        return model

    def job(self, video_id: str, request: VideoRequest, made_at: float) -> Video:
        """The job of a request, as its list shows it."""
        derived = request.kind != "create"
        size = "1280x720" if derived else str(request.size)
        seconds = 12 if derived else request.seconds
        at = made_at + self.clock_s
        fields: dict[str, Any] = {
            "prompt": self.prompt(request.prompt),
            "model": self.model(request.model),
            "size": ROUNDED.get(size, size) if self.rounds else size,
            "seconds": seconds // 4 * 4 if self.rounds else seconds,
            "created_at": {"seconds": int(at), "milliseconds": at * 1000, "none": 0}[self.units],
            "remixed_from_video_id": request.source_video_id,
        }
        shown = {name: value for name, value in fields.items() if name not in self.hides}
        video = read_video({"id": video_id, "status": "queued", **shown})
        assert video is not None
        return video


@dataclass(frozen=True)
class Maker:
    """One request, and what truly became of it.

    Attributes:
        asked: As the store knows it.
        made_at: When the server accepted it; None where it never did.
        finished: Whether its worker has claimed its job since, and it is in doubt no more.
    """

    asked: Asked
    made_at: float | None
    finished: bool = False

    @property
    def video_id(self) -> str:
        """Its job's id."""
        return f"video_of_{self.asked.key}"


@dataclass(frozen=True)
class World:
    """All that is true, and what of it is seen."""

    shows: Shows
    makers: tuple[Maker, ...]
    strangers: tuple[tuple[str, VideoRequest, float], ...] = ()
    verbatim: bool = False
    remembers_seconds: float | None = None
    is_whole: bool = True
    missing: frozenset[str] = frozenset()
    same_account: bool | None = True
    is_late: bool = True
    claims: dict[str, str] = field(default_factory=dict)
    settled: frozenset[str] = frozenset()
    """Renders that are in doubt no more, though their own job may be free."""

    @property
    def in_doubt(self) -> list[Asked]:
        """The requests of which the store knows no job."""
        open_ones = (m.asked for m in self.makers if not m.finished)
        return [asked for asked in open_ones if asked.key not in self.settled]

    @property
    def server(self) -> Server:
        """The server, as its profile describes it truly."""
        profile = GENERIC.model_copy(
            update={
                "prompt_verbatim": self.verbatim,
                "remembers_seconds": self.remembers_seconds,
                "submit_grace_s": GRACE,
            }
        )
        return Server(base_url="http://x/v1", identity="x", label="x", profile=profile)

    @property
    def jobs(self) -> tuple[Video, ...]:
        """What the list shows."""
        ours = (
            self.shows.job(maker.video_id, maker.asked.request, maker.made_at)
            for maker in self.makers
            if maker.asked.request and maker.made_at is not None
        )
        theirs = (self.shows.job(*stranger) for stranger in self.strangers)
        return (*ours, *theirs)

    def seen(self, can_wait: bool) -> Seen:
        """What a search sees."""
        jobs = self.jobs
        return Seen(
            jobs=jobs,
            clock=Clock(NOW, self.shows.date_s),
            latest=NOW if self.is_late else NOW + 1,
            holders={m.video_id: m.asked.key for m in self.makers if m.finished} | self.claims,
            first_seen={job.id: NOW - GRACE for job in jobs},
            is_whole=self.is_whole,
            missing=self.missing,
            can_wait=can_wait,
            can_read_again=False,
            same_account=self.same_account,
        )

    def family(self, asked: Asked) -> set[str]:
        """The jobs that may rightly become a request's: its own, and its twins'."""
        return {
            m.video_id
            for m in self.makers
            if m.made_at is not None and (m.asked.key == asked.key or are_twins(m.asked, asked))
        }

    @property
    def proves_absence(self) -> bool:
        """Whether what its list does not show is not there."""
        return (
            self.is_late and self.is_whole and not self.missing and self.same_account is not False
        )


def requests() -> st.SearchStrategy[VideoRequest]:
    """Requests that differ in what a list shows, and in what none does."""
    creates = st.builds(
        lambda **given: {"kind": "create", **given},
        prompt=st.sampled_from(PROMPTS),
        size=st.sampled_from(SIZES),
        seconds=st.sampled_from([4, 5, 8]),
        model=st.sampled_from(MODELS),
        extra=st.sampled_from([{}, {"seed": 1}]),
        characters=st.sampled_from([None, ("alice",)]),
        take=st.sampled_from([1, 2]),
    )
    derived = st.builds(
        lambda **given: {"model": None, **given},
        kind=st.sampled_from(["remix", "edit", "extend"]),
        prompt=st.sampled_from(PROMPTS),
        source_video_id=st.sampled_from(["clip_a", "clip_b"]),
    )
    return st.one_of(creates, derived).map(VideoRequest.model_validate)


CLOCKS_S: Final = (0.0, 0.0, 0.0, 30.0, -30.0, 300.0, -12 * HOUR, 8 * HOUR, 14 * HOUR)
STEPS_S: Final = (0.0, 0.0, 0.0, 1200.0, -1200.0, HOUR, -HOUR)


def shows() -> st.SearchStrategy[Shows]:
    """Servers of all characters, the plain ones among them."""
    fields = ["prompt", "model", "size", "seconds", "remixed_from_video_id"]
    hiding = st.builds(Shows, hides=st.frozensets(st.sampled_from(fields), min_size=1, max_size=3))
    odd = st.builds(
        Shows,
        hides=st.frozensets(st.sampled_from(fields), max_size=3),
        prompts=st.sampled_from(["verbatim", "verbatim", "tidied", "improved", "translated"]),
        rounds=st.booleans(),
        models=st.sampled_from(["verbatim", "verbatim", "dated", "renamed"]),
        clock_s=st.sampled_from(CLOCKS_S),
        date_s=st.sampled_from([None, 0.0, 300.0, -8 * HOUR, -3 * 365 * DAY]),
        units=st.sampled_from(["seconds", "seconds", "seconds", "milliseconds", "none"]),
    ).filter(lambda s: not (s.prompts == "translated" and s.rounds))  # docs/paid-once.md, Limits
    return st.one_of(st.just(Shows()), hiding, odd)


@st.composite
def makers(draw: st.DrawFn, key: str, request: VideoRequest, ago_s: float = 60.0) -> Maker:
    """A request sent at some time, by a worker that lives or not, with what came of it."""
    sent_at = NOW - ago_s
    stamped = sent_at + draw(st.sampled_from(STEPS_S))
    accepted = draw(st.booleans())
    picture = draw(st.sampled_from([None, None, "red"])) if request.kind == "create" else None
    asked = Asked(
        key=key,
        request=request,
        doubt=Doubt(stamped, stamped + 100),
        reference_sha256=picture,
        held=ago_s < HOUR and draw(st.sampled_from([False, False, True])),
    )
    finished = accepted and draw(st.sampled_from([False, False, True]))
    return Maker(asked, sent_at + draw(st.floats(0, 9)) if accepted else None, finished)


@st.composite
def variations(draw: st.DrawFn, first: VideoRequest) -> VideoRequest:
    """The same request in all but one thing, or in all, or another one altogether."""
    other = draw(requests())
    names = ["prompt", "take"]
    if other.kind == first.kind == "create":
        names += ["size", "seconds", "model", "extra", "characters"]
    if other.kind != "create" != first.kind:
        names += ["kind", "source_video_id"]
    name = draw(st.sampled_from([*names, "all"]))
    return other if name == "all" else first.model_copy(update={name: getattr(other, name)})


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Any world: up to five requests, most of them alike, and jobs of other stores."""
    told = draw(shows())
    first = draw(requests())
    asked = [first, *draw(st.lists(variations(first), min_size=1, max_size=4))]
    ages_s = st.sampled_from([10.0, 60.0, 60.0, 60.0, HOUR, 20 * HOUR, 3 * DAY])
    several = [draw(makers(f"r{n}", request, draw(ages_s))) for n, request in enumerate(asked)]
    theirs = draw(st.lists(variations(first), max_size=2))
    strangers = tuple(
        (f"stranger{n}", request, NOW - draw(st.sampled_from([55.0, HOUR, 9 * DAY])))
        for n, request in enumerate(theirs)
    )
    odd = draw(st.sampled_from(["", "", "", "whole", "missing", "account", "late", "memory"]))
    return World(
        shows=told,
        makers=tuple(several),
        strangers=strangers,
        verbatim=told.prompts in ("verbatim", "tidied") and draw(st.booleans()),
        remembers_seconds=DAY if odd == "memory" else None,
        is_whole=odd != "whole",
        missing=frozenset({"video_gone"}) if odd == "missing" else frozenset(),
        same_account=False if odd == "account" else draw(st.sampled_from([True, None])),
        is_late=odd != "late",
    )
