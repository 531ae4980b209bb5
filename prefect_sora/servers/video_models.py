"""What each known model offers, as dated data; unknown models pass through.

Sources: OpenAI's openapi.yaml (2026-08-21); OpenAI's guide "Video generation
with Sora" (2026); OpenAI's "Deprecations" (read 2026-11); Microsoft's model
retirement schedule for Foundry (2026-07). Prices: `video_prices`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from prefect_sora.errors import InvalidRequestError, RetiredModelError
from prefect_sora.requests.video import DERIVED, VideoRequest
from prefect_sora.servers.profiles import Profile, Service

_720P: Final = ("1280x720", "720x1280")
_1024P: Final = ("1792x1024", "1024x1792")
_1080P: Final = ("1920x1080", "1080x1920")


@dataclass(frozen=True)
class VideoModel:
    """One model of the catalogue.

    Attributes:
        name: As it stands on the wire.
        snapshots: Dated names of the same model.
        seconds: Lengths it offers.
        disputed_seconds: Lengths that some documentation lists and the API was
            reported to refuse: allowed, with a warning that says so.
        sizes: Sizes it offers, `WIDTHxHEIGHT`.
        ended: The day that each service ended it.
        good_for: What one takes it for, in a few words. Ours.
        account_limits: What OpenAI's accounts were allowed of it.
    """

    name: str
    snapshots: tuple[str, ...]
    seconds: tuple[int, ...]
    sizes: tuple[str, ...]
    ended: Mapping[Service, date]
    disputed_seconds: tuple[int, ...] = ()
    good_for: str = ""
    account_limits: str = ""


# Both services' dates: OpenAI "Deprecations"; Microsoft's retirement schedule
# names 2026-07-15 and, for the later snapshot, 2026-09-15: the later one stands.
_ENDED: Final[Mapping[Service, date]] = {
    "openai": date(2026, 9, 24),
    "azure": date(2026, 9, 15),
}

_LIMITS: Final = (
    "at OpenAI: not available on the free tier, {} requests a minute on tier 1 to {} on tier 5 "
    "(a third party's table, 2026-01)"
)

MODELS: Final = {
    model.name: model
    for model in (
        VideoModel(
            name="sora-2",
            snapshots=("sora-2-2025-10-06", "sora-2-2025-12-08"),
            # 4, 8, 12: openapi.yaml. 16 and 20: the guide of 2026.
            seconds=(4, 8, 12, 16, 20),
            sizes=_720P,
            ended=_ENDED,
            good_for="drafts, variants and clips for small screens: the cheapest by the second",
            account_limits=_LIMITS.format(25, 375),
        ),
        VideoModel(
            name="sora-2-pro",
            snapshots=("sora-2-pro-2025-10-06",),
            seconds=(4, 8, 12, 16, 20),
            disputed_seconds=(10, 15, 25),
            sizes=_720P + _1024P + _1080P,
            ended=_ENDED,
            good_for="final clips and large screens; takes longer, and costs three times as much",
            account_limits=_LIMITS.format(10, 150),
        ),
    )
}


EXTENSION_SECONDS: Final = (4, 8, 12, 16, 20)
"""What one extension may add: openapi.yaml (2026-08-21), in the text of `seconds`."""

EXTENDED_SECONDS: Final = 120
EXTENSIONS: Final = 6
"""How long an extended video may be, and how often one is extended: OpenAI's video guide (2026)."""


def find(name: str | None) -> VideoModel | None:
    """Look a model up by its name or by one of its dated snapshots.

    Gateways write its vendor's name before it, as in openai/sora-2: that is the same model.
    """
    name = (name or "").rpartition("/")[2]
    return MODELS.get(name) or next((m for m in MODELS.values() if name in m.snapshots), None)


def check(
    request: VideoRequest,
    service: Service | None = None,
    today: date | None = None,
    *,
    profile: Profile | None = None,
) -> list[str]:
    """Refuse what the model does not offer; return warnings about what is doubtful.

    Args:
        request: What is to be rendered.
        service: `openai` or `azure` where the server is that service; None otherwise.
        today: For tests; the current day otherwise.
        profile: What the server can do: one that has a model of its own, or draws whatever is
            named, is not held to what OpenAI's service offered.

    Raises:
        RetiredModelError: Its own service has ended the model.
        InvalidRequestError: A length or size that the model does not offer; the
            message lists what it does. `allow_unlisted=True` sends it all the same.
    """
    model = find(request.model)
    if model is None or request.kind == "existing":
        return []
    problems: list[str] = []
    ended = model.ended.get(service) if service else None
    if ended and (today or datetime.now(UTC).date()) >= ended:
        if not request.allow_unlisted:
            raise RetiredModelError(
                f"{_NAMES[service]} ended {request.model} on {ended:%Y-%m-%d}.",
                next_step="Name a server that still renders (SGLang, vLLM-Omni, FastVideo, a "
                "gateway) and its model, or use the local renderer. "
                "allow_unlisted sends it all the same.",
            )
        problems.append(f"{_NAMES[service]} ended {request.model} on {ended:%Y-%m-%d}.")
    if profile and (profile.own_model or not profile.keeps_catalogue or profile.catalog_path):
        return problems
    if request.kind in DERIVED:
        return problems  # length and size are the source's
    if request.seconds in model.disputed_seconds:
        problems.append(
            f"{request.seconds} seconds: one provider's documentation lists it for {model.name}, "
            f"and OpenAI's API was reported to refuse it; sure are {_listed(model.seconds)}."
        )
    elif request.seconds not in model.seconds:
        problems.append(
            f"{model.name} renders {_listed(model.seconds)} seconds, not {request.seconds}."
        )
        _refuse_unless_allowed(request, problems[-1])
    if request.size not in model.sizes:
        problems.append(f"{model.name} renders {_listed(model.sizes)}, not {request.size}.")
        _refuse_unless_allowed(request, problems[-1])
    return problems


def check_extensions(
    count: int, seconds: int, source_seconds: float | None, allow_unlisted: bool
) -> None:
    """Refuse extensions past what the protocol's own service allows.

    Args:
        count: How many follow one another.
        seconds: How long each is.
        source_seconds: Length of the video that is extended, where it is known.
        allow_unlisted: Let the server decide.

    Raises:
        InvalidRequestError: Too many, too long, or no step that is allowed; nothing was sent.
    """
    total = (source_seconds or 0.0) + count * seconds
    if allow_unlisted or not count:
        return
    if seconds not in EXTENSION_SECONDS:
        said = f"An extension adds {_listed(EXTENSION_SECONDS)} seconds, not {seconds}."
    elif count > EXTENSIONS:
        said = f"A video is extended {EXTENSIONS} times at most, not {count} times."
    elif total > EXTENDED_SECONDS + 0.5:  # a file's length is not exactly what was asked for
        said = f"The video would be {total:.0f} s long; an extended one has {EXTENDED_SECONDS} s."
    else:
        return
    raise InvalidRequestError(said, next_step=_CHOOSE)


_CHOOSE: Final = "Choose one of these, or set allow_unlisted to send it all the same."
_NAMES: Final = {"openai": "OpenAI", "azure": "Azure OpenAI", None: ""}


def _refuse_unless_allowed(request: VideoRequest, problem: str) -> None:
    if not request.allow_unlisted:
        raise InvalidRequestError(problem, next_step=_CHOOSE)


def _listed(values: tuple[object, ...]) -> str:
    *most, last = [str(value) for value in values]
    return f"{', '.join(most)} or {last}" if most else last
