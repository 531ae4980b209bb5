"""Sizes: pixels in the words of a server."""

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
    resolution, ratio = f"{min(width, height)}p", _ratio_of(width, height, can.aspect_ratios)
    if resolution not in can.resolutions or ratio is None:
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


def _ratio_of(width: int, height: int, ratios: tuple[str, ...]) -> str | None:
    def off(ratio: str) -> float:
        wide, _, high = ratio.partition(":")
        return abs(width / height / (int(wide) / int(high)) - 1)

    return min((r for r in ratios if off(r) <= _RATIO_TOLERANCE), key=off, default=None)
