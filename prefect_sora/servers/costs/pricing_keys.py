"""Pricing keys: what a clip costs by the keys of OpenRouter's catalogue, each with its unit.

The keys differ by provider, and the vendor explains none. Those that are read here were seen in its
answers and in other clients (2026-10): USD or cents a second, cents a picture or a clip, USD a
token. One that is not known means no price, for it may mean anything.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from prefect_sora.limits import limits
from prefect_sora.servers.profiles.sizes import resolution_of

_DOLLAR, _CENT = Decimal(1), Decimal("0.01")
_MOST: Final = Decimal(10**9)
_SHAPE: Final = r"(?:_(?P<shape>\d{3,4}p|[124]k))?"
_SOUND: Final = r"(?:_(?P<sound>with|without)_audio)?"
_RATES: Final = (
    (
        re.compile(rf"(?:(?P<mode>text|image)_to_video_)?duration_seconds{_SOUND}{_SHAPE}"),
        "s",
        _DOLLAR,
    ),
    (re.compile(rf"cents_per_(?:second_output|video_output_second){_SHAPE}{_SOUND}"), "s", _CENT),
    (re.compile(rf"video_tokens{_SOUND}{_SHAPE}"), "token", _DOLLAR),
)
"""How a key is written, of what its amount is the price, and USD of one unit."""

_PICTURE: Final = "cents_per_image_input"
_LEAST: Final = "minimum_cents_per_generation"

_FRAMES_PER_SECOND: Final = 24
"""Of a clip that is paid by tokens, width x height x frames / 1024: what other clients take."""


@dataclass(frozen=True)
class Wanted:
    """What of a request decides its price.

    Attributes:
        size: WIDTHxHEIGHT; None where it is not known.
        seconds: Its length.
        pictures: How many it starts from.
        sound: Whether it has sound; None: as the model has it, so the dearer price counts.
        more_inputs: Whether it starts from something else besides, such as a video.
    """

    size: str | None
    seconds: float | None
    pictures: int = 0
    sound: bool | None = None
    more_inputs: bool = False

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Width and height."""
        width, _, height = (self.size or "").partition("x")
        return (int(width), int(height)) if width.isdecimal() and height.isdecimal() else None


class _Rate(NamedTuple):
    specific: int
    usd: Decimal
    of: str


def usd_of(keys: Mapping[str, object], wanted: Wanted) -> tuple[float | None, str | None]:
    """Price a clip in USD, or say why that is not possible."""
    amounts: dict[str, Decimal] = {}
    for key, value in keys.items():
        scale = _scale(key.lower())
        if scale is None:
            return None, f"the catalogue has the pricing key {key[:60]!r}, which is not known"
        amount = _amount(value)
        if amount is None:
            return None, f"the catalogue's {key} is no amount from 0 up"
        amounts[key.lower()] = amount * scale
    if wanted.more_inputs:
        return None, "what a video or a sound that it starts from costs is not known"
    rates = [*_fitting(amounts, wanted)]
    if not rates:
        return None, f"the catalogue has no price for {wanted.size or 'no size'}"
    if len({rate.of for rate in rates}) > 1:
        return None, "the catalogue prices it both by seconds and by tokens"
    units = _units(rates[0].of, wanted)
    if units is None:
        return None, "its length or its size is not known"
    best = max(rate.specific for rate in rates)
    each = max(rate.usd for rate in rates if rate.specific == best)
    nothing = Decimal(0)
    usd = each * Decimal(str(units)) + amounts.get(_PICTURE, nothing) * wanted.pictures
    usd = max(usd, amounts.get(_LEAST, nothing))
    if usd > Decimal(str(limits().cost_max_usd)):
        return None, f"by the catalogue it would be ${float(usd):g}, more than any clip costs"
    return round(float(usd), 6), None


def _amount(value: object) -> Decimal | None:
    """Read an amount, a text as a rule; None where it is none."""
    is_number = isinstance(value, (int, float, str)) and not isinstance(value, bool)
    try:
        amount = Decimal(str(value) if is_number else "")
    except ArithmeticError:
        return None
    return amount if amount.is_finite() and 0 <= amount < _MOST else None


def _scale(key: str) -> Decimal | None:
    """USD of one unit of a key's amount; None where the key is not known."""
    if key in (_PICTURE, _LEAST):
        return _CENT
    return next((usd for shape, _, usd in _RATES if re.fullmatch(shape, key)), None)


def _fitting(amounts: Mapping[str, Decimal], wanted: Wanted) -> Iterator[_Rate]:
    """The prices that hold for what is wanted; the more is said in a key, the more specific."""
    shape = resolution_of(*wanted.pixels) if wanted.pixels else None
    sound = {True: "with", False: "without", None: None}[wanted.sound]
    for key, usd in amounts.items():
        for written, of, _ in _RATES:
            if said := re.fullmatch(written, key):
                parts = said.groupdict()
                fits = (
                    parts["shape"] in (None, shape)
                    and (sound is None or parts["sound"] in (None, sound))
                    and parts.get("mode") in (None, "image" if wanted.pictures else "text")
                )
                if fits:
                    yield _Rate(sum(part is not None for part in parts.values()), usd, of)


def _units(of: str, wanted: Wanted) -> float | None:
    if wanted.seconds is None:
        return None
    if of == "s":
        return wanted.seconds
    if wanted.pixels is None:
        return None
    width, height = wanted.pixels
    return width * height * wanted.seconds * _FRAMES_PER_SECOND / 1024
