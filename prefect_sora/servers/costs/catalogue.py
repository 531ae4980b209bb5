"""Catalogue: what a server's own list of models says of each: lengths, sizes, pictures, prices.

What it does not say is not judged: the server does that. It is read with suspicion, kept for an
hour, and never needed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from time import monotonic
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, JsonValue

from prefect_sora.errors import InvalidRequestError
from prefect_sora.limits import limits
from prefect_sora.requests.video import VideoRequest
from prefect_sora.servers.costs.pricing_keys import Wanted, usd_of
from prefect_sora.servers.profiles import Profile
from prefect_sora.servers.profiles.sizes import ratio_of, resolution_of

_MOST: Final = 1_000
"""Values of one field that are read; the vendor has some tens. Ours."""

_P: Final = re.compile(r"\d{3,4}p$")

_CHOOSE: Final = "Choose one of these, or set allow_unlisted to send it all the same."


class Offer(BaseModel):
    """What a model offers; None where the catalogue does not say."""

    model_config = ConfigDict(frozen=True)

    name: str
    seconds: tuple[int, ...] | None = None
    sizes: tuple[str, ...] | None = None
    resolutions: tuple[str, ...] | None = None
    aspect_ratios: tuple[str, ...] | None = None
    frames: tuple[str, ...] | None = None
    audio: bool | None = None
    seed: bool | None = None
    pricing: dict[str, JsonValue] | None = None

    @property
    def shapes(self) -> tuple[str, ...]:
        """Sizes to tell its prices by: its own, or of its resolutions in 16:9."""
        if self.sizes:
            return self.sizes
        sides = {"2k": 1440, "4k": 2160}
        named = [one.lower() for one in self.resolutions or ()]
        high = [sides.get(one) or int(one[:-1]) for one in named if one in sides or _P.match(one)]
        return tuple(f"{round(one * 16 / 9 / 2) * 2}x{one}" for one in high) or ("1280x720",)

    def usd(self, wanted: Wanted) -> tuple[float | None, str | None]:
        """Price a clip in USD, or say why that is not possible."""
        if not self.pricing:
            return None, f"the catalogue has no price of {self.name}"
        return usd_of(self.pricing, wanted)

    def says_size(self, size: str) -> bool | None:
        """Whether a size is offered as such; None: where resolution and ratio are, by these."""
        if self.sizes is not None and size in self.sizes:
            return True
        width, height = (int(edge) for edge in size.split("x"))
        if self.resolutions is None or self.aspect_ratios is None:
            return self.sizes is None
        offered = {one.lower() for one in self.resolutions}
        fits = resolution_of(width, height) in offered
        return None if fits and ratio_of(width, height, self.aspect_ratios) else False


@dataclass(frozen=True)
class Catalogue:
    """What a server's models offer.

    Attributes:
        offers: By their names.
        read_at: When it was read, by a clock that never steps.
    """

    offers: Mapping[str, Offer]
    read_at: float = field(default_factory=monotonic, compare=False)

    @property
    def age_seconds(self) -> float:
        """How long ago it was read."""
        return monotonic() - self.read_at


_known: dict[str, Catalogue] = {}
"""By the server's address: what a catalogue says is the same for all accounts."""


def known(base_url: str) -> Catalogue | None:
    """The catalogue of a server, as it was read last; None where none has been."""
    return _known.get(base_url)


def remember(base_url: str, catalogue: Catalogue) -> None:
    """Take a catalogue as the one that holds."""
    _known[base_url] = catalogue


def read_catalogue(body: object) -> Catalogue | None:
    """Read a catalogue; None where it is none, or names no model."""
    data = body.get("data") if isinstance(body, Mapping) else body
    found = (
        [_offer(one) for one in data[: limits().catalogue_models]] if isinstance(data, list) else []
    )
    offers = {offer.name: offer for offer in found if offer}
    return Catalogue(offers) if offers else None


def check(request: VideoRequest, server: str, base_url: str) -> None:
    """Refuse what a server's catalogue says that its model does not offer.

    Args:
        request: What is to be rendered.
        server: Its name, for people.
        base_url: Its address.

    Raises:
        InvalidRequestError: It says what is offered; nothing was sent.
    """
    catalogue = known(base_url)
    if catalogue is None or request.kind == "existing" or request.allow_unlisted:
        return
    if request.model is None:
        return
    offer = catalogue.offers.get(request.model)
    if offer is None:
        alike = _alike(request.model, [*catalogue.offers])
        raise InvalidRequestError(
            f"The catalogue of {server} has no video model {request.model!r}.",
            next_step=f"{f'Did you mean {alike}? ' if alike else ''}`prefect-sora models` with "
            "--provider lists them; allow_unlisted sends it all the same.",
        )
    if problems := _problems(request, offer):
        said = "; ".join(problems)
        raise InvalidRequestError(f"{said} (the catalogue of {server}).", next_step=_CHOOSE)


def as_offered(request: VideoRequest, can: Profile, base_url: str) -> Profile:
    """The profile with a size said as this model takes it: as such, or by resolution and ratio."""
    catalogue = known(base_url)
    offer = catalogue.offers.get(request.model or "") if catalogue else None
    if offer is None or request.size is None or offer.says_size(request.size) is not None:
        return can
    words = {"resolutions": offer.resolutions, "aspect_ratios": offer.aspect_ratios}
    return can.model_copy(update={"size_style": "resolution_aspect", **words})


def wanted_of(request: VideoRequest) -> Wanted:
    """What of a request decides its price."""
    sound = request.extra.get("generate_audio")
    given = [request.extra.get(name) for name in ("frame_images", "input_references")]
    more = [one for listed in given if isinstance(listed, list) for one in listed]
    kinds = [one.get("type") if isinstance(one, Mapping) else None for one in more]
    return Wanted(
        request.size,
        request.seconds,
        (request.reference is not None) + kinds.count("image_url"),
        sound if isinstance(sound, bool) else None,
        any(kind != "image_url" for kind in kinds),
    )


def _problems(request: VideoRequest, offer: Offer) -> list[str]:
    """Say what of a request a model does not offer."""
    problems: list[str] = []
    name = offer.name
    if request.kind == "create":
        if offer.seconds is not None and request.seconds not in offer.seconds:
            listed = " or ".join(map(str, offer.seconds)) or "no"
            problems.append(f"{name} renders {listed} seconds, not {request.seconds}")
        if request.size and offer.says_size(request.size) is False:
            listed = " or ".join((*(offer.sizes or ()), *(offer.resolutions or ()))) or "no size"
            ratios = f" in {', '.join(offer.aspect_ratios)}" if offer.aspect_ratios else ""
            problems.append(f"{name} renders {listed}{ratios}, not {request.size}")
    frames = _frames(request)
    lacking = [frame for frame in frames if offer.frames is not None and frame not in offer.frames]
    if lacking:
        takes = " and ".join(offer.frames or ()) or "no picture"
        problems.append(f"{name} takes {takes}, not {lacking[0]}")
    if request.extra.get("generate_audio") is True and offer.audio is False:
        problems.append(f"{name} makes no sound")
    if request.extra.get("seed") is not None and offer.seed is False:
        problems.append(f"{name} takes no seed")
    return problems


def _frames(request: VideoRequest) -> list[str]:
    """Which frames are given as pictures."""
    more = request.extra.get("frame_images")
    given = more if isinstance(more, list) else []
    said = [str(one.get("frame_type")) for one in given if isinstance(one, Mapping)]
    return [*(["first_frame"] if request.reference is not None else []), *said]


def _alike(name: str, names: list[str]) -> str | None:
    """The name that is meant, perhaps: with its vendor, or written otherwise."""
    bare = {one.rpartition("/")[2]: one for one in names}
    if name.rpartition("/")[2] in bare:
        return bare[name.rpartition("/")[2]]
    like = get_close_matches(name, names, n=1) or get_close_matches(name, [*bare], n=1)
    return bare.get(like[0], like[0]) if like else None


def _offer(entry: object) -> Offer | None:
    name = entry.get("id") if isinstance(entry, Mapping) else None
    if not isinstance(entry, Mapping) or not _is_word(name):
        return None
    return Offer(
        name=str(name),
        seconds=_values(entry.get("supported_durations"), int) or None,
        sizes=_values(entry.get("supported_sizes"), str) or None,
        resolutions=_values(entry.get("supported_resolutions"), str) or None,
        aspect_ratios=_values(entry.get("supported_aspect_ratios"), str) or None,
        frames=_values(entry.get("supported_frame_images"), str),  # none of them is an answer, too
        audio=_yes_or_no(entry.get("generate_audio")),
        seed=_yes_or_no(entry.get("seed")),
        pricing=_prices(entry.get("pricing_skus")),
    )


def _values(given: object, of: type[Any]) -> tuple[Any, ...] | None:
    """The values of a list; None where it is none, or holds something else."""
    if not isinstance(given, list) or len(given) > _MOST:
        return None
    fits = all(isinstance(one, of) and not isinstance(one, bool) for one in given)
    return tuple(given) if fits and (of is int or all(map(_is_word, given))) else None


def _is_word(given: object) -> bool:
    """Whether it is a text that a person can be shown."""
    return isinstance(given, str) and 0 < len(given) <= 200 and given.isprintable()


def _yes_or_no(given: object) -> bool | None:
    return given if isinstance(given, bool) else None


def _prices(given: object) -> dict[str, JsonValue] | None:
    """The pricing keys; anything but amounts makes the whole unknown when it is priced."""
    if not isinstance(given, Mapping) or len(given) > _MOST:
        return None
    return {
        str(key): one if isinstance(one, (str, int, float)) else "" for key, one in given.items()
    }
