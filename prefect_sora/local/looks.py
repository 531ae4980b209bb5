"""Looks: what a remix and an edit make of a picture."""

from collections.abc import Iterator
from colorsys import hsv_to_rgb
from dataclasses import dataclass

from prefect_sora.local.lettering import prompt_panel
from prefect_sora.local.overlays import framed
from prefect_sora.local.planes import Planes, colour
from prefect_sora.local.scenery import dice


@dataclass(frozen=True)
class Look:
    """One change of a picture, which follows from its prompt.

    Attributes:
        verb: `remix` turns every hue; `edit` regrades towards one hue and draws a border.
        prompt: What was asked for.
    """

    verb: str
    prompt: str


def worn(
    pictures: Iterator[Planes], look: Look, size: tuple[int, int], *, titled: bool
) -> Iterator[Planes]:
    """The pictures in this look.

    Args:
        pictures: What they were; their own text stays.
        look: The change.
        size: Of the pictures.
        titled: Whether what was asked for stands above.
    """
    chance = dice(look.prompt)
    turn, hue = chance.uniform(50, 310), chance.random()
    tint, border = colour(*hsv_to_rgb(hue, 0.75, 0.6)), colour(*hsv_to_rgb(hue, 0.9, 1.0))
    panel = prompt_panel(f"{look.verb}: {look.prompt}", size, "top", opacity=0.8)
    for before in pictures:
        if look.verb == "edit":
            picture = before.graded(tint, 0.7)
            framed(picture, border)
        else:
            picture = before.turned(turn)
        if titled:
            panel.lay(picture)
        yield picture
