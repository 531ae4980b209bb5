"""Recolouring: what a remix and an edit make of the pictures of a video."""

from collections.abc import Iterator
from colorsys import hsv_to_rgb

from prefect_sora.local.drawing.overlays import framed
from prefect_sora.local.drawing.planes import Planes, colour
from prefect_sora.local.drawing.scenery import dice
from prefect_sora.local.drawing.text_panels import prompt_panel


def recoloured(
    pictures: Iterator[Planes], verb: str, prompt: str, size: tuple[int, int], *, titled: bool
) -> Iterator[Planes]:
    """The pictures in other colours, which follow from the prompt.

    Args:
        pictures: What they were; their own text stays.
        verb: `remix` turns every hue; `edit` regrades towards one hue and draws a border.
        prompt: What was asked for.
        size: Of the pictures, in pixels.
        titled: Whether what was asked for stands above.
    """
    chance = dice(prompt)
    turn, hue = chance.uniform(50, 310), chance.random()
    tint, border = colour(*hsv_to_rgb(hue, 0.75, 0.6)), colour(*hsv_to_rgb(hue, 0.9, 1.0))
    panel = prompt_panel(f"{verb}: {prompt}", size, "top", opacity=0.8)
    for before in pictures:
        if verb == "edit":
            picture = before.graded(tint, 0.7)
            framed(picture, border)
        else:
            picture = before.turned(turn)
        if titled:
            panel.lay(picture)
        yield picture
