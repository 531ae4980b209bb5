"""Prices: what a second of video costs, as dated and sourced data; a server may have its own.

A price that nobody knows is None, never 0.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Final, cast

from pydantic import BeforeValidator, Field

from prefect_sora.errors import InvalidRequestError
from prefect_sora.requests.video import SIZES_BY_NAME, resolve_size

ANY: Final = "*"
"""Stands for any size, or for any model, in a server's own prices."""

Prices = tuple[tuple[str, str, float], ...]
"""A server's own prices: model, size and USD per second; a model listed here has no others."""

HOW_TO_GIVE_ONE: Final = (
    'Give it in the provider block\'s prices, in USD per second, such as {"my-model": 0.04}, or '
    'by size, such as {"my-model": {"1280x720": 0.05, "*": 0.04}}; what is free costs 0. On the '
    "command line PREFECT_SORA_PRICES holds the same as JSON."
)
"""What to do about a price that is not known."""


@dataclass(frozen=True)
class Tariff:
    """What a model costs at its own service.

    Attributes:
        model: Its name; dated snapshots cost the same.
        sizes: For which sizes.
        usd_per_second: Price of one second, in USD.
        read_on: The day that the source was read.
        source: Where it stands.
    """

    model: str
    sizes: tuple[str, ...]
    usd_per_second: float
    read_on: date
    source: str


_TABLE: Final = "LiteLLM's price table (1.109.1)"
_READ: Final = date(2026, 11, 21)

PUBLISHED: Final = (
    Tariff("sora-2", ("1280x720", "720x1280"), 0.10, _READ, _TABLE),
    Tariff("sora-2-pro", ("1280x720", "720x1280"), 0.30, _READ, _TABLE),
    Tariff("sora-2-pro", ("1792x1024", "1024x1792"), 0.50, _READ, _TABLE),
    Tariff(
        "sora-2-pro",
        ("1920x1080", "1080x1920"),
        0.70,
        _READ,
        "two third-party tables, not confirmed by OpenAI",
    ),
)
"""OpenAI's prices, the last before it ended its service."""

# sora-2-2025-10-06 is sora-2.
_SNAPSHOT: Final = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_SHAPE: Final = 'Prices are USD per second: {"my-model": 0.04} or {"my-model": {"1280x720": 0.05}}.'


def tariff(model: str | None, size: str | None) -> Tariff | None:
    """Look up the published price of a model, or of a dated snapshot of it."""
    for name in _names([model]):
        for found in PUBLISHED:
            if found.model == name and size in found.sizes:
                return found
    return None


def usd_per_second(
    models: Iterable[str | None], size: str | None, own: Prices = (), *, published: bool = True
) -> float | None:
    """Find the price of a second; None where it is not known.

    Args:
        models: The model's names, the one that decides first.
        size: WIDTHxHEIGHT; None where it is not known.
        own: The server's own prices. A model that stands in them has these alone.
        published: Whether those of the models' own services count besides.
    """
    names = _names(models)
    for name in [*names, ANY]:
        by_size = {s: usd for m, s, usd in own if m == name}
        if by_size:
            return by_size.get(size or ANY, by_size.get(ANY))
    for name in names if published else ():
        if any(found.model == name for found in PUBLISHED):
            found_one = tariff(name, size)
            return found_one.usd_per_second if found_one else None
    return None


def dollars(usd: float | None) -> str:
    """Write an amount; neither an unknown amount nor a tiny one is written as 0."""
    if usd is None:
        return "unknown"
    return f"${usd:.2f}" if round(usd, 2) == round(usd, 6) else f"${usd:.6f}".rstrip("0")


def side_by_side(cost_usd: float | None, actual_usd: float | None) -> str:
    """Write an estimate, and beside it what the server says, where it says that."""
    if actual_usd is None:
        return dollars(cost_usd)
    return f"{dollars(cost_usd)} estimated, {dollars(actual_usd)} real"


def total_usd(costs: Iterable[float | None]) -> float | None:
    """Add up costs in USD; None where one of them is not known."""
    known = [*costs]
    return None if None in known else round(sum(usd for usd in known if usd is not None), 6)


def read_prices(given: object) -> Prices:
    """Read a server's own prices, as a provider block holds them.

    Args:
        given: For each model a price, or prices by size; `*` is any. A size's name, such as
            720p, means its sizes of both orientations.

    Raises:
        InvalidRequestError: They have another shape, or a price is no amount of money.
    """
    if given is None:
        return ()
    if not isinstance(given, Mapping):
        raise _wrong(f"Prices are given as {type(given).__name__}, not by model.")
    return tuple(
        (_text(model), size, usd)
        for model, priced in given.items()
        for sizes, usd in _by_size(_text(model), priced)
        for size in sizes
    )


def prices_from_json(text: str | None, name: str) -> Prices:
    """Read a server's own prices from JSON.

    Args:
        text: The JSON; where it is empty, there are no prices.
        name: Where it stands, for the error.

    Raises:
        InvalidRequestError: It is no JSON, or no prices.
    """
    if not text:
        return ()
    try:
        given = json.loads(text)
    except ValueError:
        raise _wrong(f"{name} holds no JSON.") from None
    return read_prices(given)


def by_model(own: Prices) -> dict[str, dict[str, float]] | None:
    """Write a server's own prices as a provider block holds them."""
    written: dict[str, dict[str, float]] = {}
    for model, size, usd in own:
        written.setdefault(model, {})[size] = usd
    return written or None


def _by_size(model: str, priced: object) -> list[tuple[tuple[str, ...], float]]:
    if not isinstance(priced, Mapping):
        return [((ANY,), _amount(model, ANY, priced))]
    if not priced:
        raise _wrong(f"The price of {model} is empty.")
    return [(_sizes(model, size), _amount(model, size, usd)) for size, usd in priced.items()]


def _sizes(model: str, size: object) -> tuple[str, ...]:
    text = str(size).strip().lower()
    if text == ANY:
        return (ANY,)
    if text in SIZES_BY_NAME:
        return tuple(SIZES_BY_NAME[text].values())
    try:
        return (resolve_size(text, None),)
    except ValueError as error:
        raise _wrong(f"The price of {model} is for no size: {error}.") from None


def _amount(model: str, size: object, usd: object) -> float:
    is_number = isinstance(usd, (int, float)) and not isinstance(usd, bool)
    if is_number and math.isfinite(amount := float(cast(float, usd))) and amount >= 0:
        return amount
    of = model if size == ANY else f"{model} at {size}"
    raise _wrong(f"The price of {of} is {usd!r}, which is no amount of USD from 0 up.")


def _text(model: object) -> str:
    name = str(model).strip()
    if not name:
        raise _wrong("A price stands under a model without a name.")
    return name


def _names(models: Iterable[str | None]) -> list[str]:
    """All names, each followed by those of the same model without a vendor's and a date."""
    found: dict[str, None] = {}
    for model in filter(None, models):
        for name in (model, model.rpartition("/")[2]):
            found |= dict.fromkeys((name, _SNAPSHOT.sub("", name)))
    return [*found]


def _wrong(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, next_step=_SHAPE)


def _checked_prices(given: object) -> object:
    read_prices(given)
    return given


PriceList = Annotated[
    dict[str, float | dict[str, float]] | None,
    BeforeValidator(_checked_prices),
    Field(
        description="USD per second by model, or by model and size; * is any. They take the place "
        "of the published ones, and 0 is for what costs nothing.",
        examples=[{"my-model": 0.04}, {"my-model": {"1280x720": 0.05, "*": 0.04}}],
    ),
]
