"""Sizes: pixels in the words of a server."""

from collections.abc import Iterable
from math import inf
from typing import Any, Final

from prefect_sora.errors import InvalidRequestError
from prefect_sora.servers.profiles.profile import Profile

_RATIO_TOLERANCE: Final = 0.02
"""How far a size may be off a ratio that stands for it: 854x480 is 16:9. Ours."""


def size_fields(size: str | None, can: Profile) -> dict[str, Any]:
    """Write a size, WIDTHxHEIGHT, as a profile says it.

    Raises:
        InvalidRequestError: It has no resolution or no ratio for it.
    """
    if size is None or can.size_style == "wxh":
        return {"size": size}
    width, height = (int(edge) for edge in size.split("x"))
    if can.size_style == "width_height":
        return {"width": width, "height": height}
    named, ratio = resolution_of(width, height), ratio_of(width, height, can.aspect_ratios)
    resolution = next((one for one in can.resolutions if one.lower() == named), None)
    if resolution is None or ratio is None:
        raise InvalidRequestError(
            f"A {can.name} server has no size {size}.",
            next_step=f"Give one whose shorter side is that of {', '.join(can.resolutions)}, and "
            f"whose shape is one of {', '.join(can.aspect_ratios)}.",
        )
    return {"resolution": resolution, "aspect_ratio": ratio}


def written_by_size(can: Profile) -> frozenset[str]:
    """Name the fields that a size and a length are written in."""
    shape = {"width_height": ("width", "height")}.get(can.size_style, ("size",))
    named = ("resolution", "aspect_ratio") if can.resolutions else ()
    return frozenset({*shape, *named, can.length_field})


def resolution_of(width: int, height: int) -> str:
    """Name a resolution by its shorter side: 720p, 2k."""
    side = min(width, height)
    return {1440: "2k", 2160: "4k"}.get(side, f"{side}p")


def ratio_of(width: int, height: int, ratios: Iterable[str]) -> str | None:
    """Name the ratio of a size; None where none of these is near enough."""

    def off(ratio: str) -> float:
        wide, _, high = ratio.partition(":")
        known = wide.isdecimal() and high.isdecimal() and int(wide) and int(high)
        return abs(width / height / (int(wide) / int(high)) - 1) if known else inf

    return min((r for r in ratios if off(r) <= _RATIO_TOLERANCE), key=off, default=None)
