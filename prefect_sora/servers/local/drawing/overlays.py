"""Overlays: the prompt, the renderer's name, the time and the characters, drawn over pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from prefect_sora.servers.local.drawing.planes import Colour, Planes
from prefect_sora.servers.local.drawing.scenery import FPS
from prefect_sora.servers.local.drawing.text_panels import Panel, label_panel, prompt_panel
from prefect_sora.servers.local.state.jobs import Job


class Lettering:
    """The text in every frame: the prompt, the renderer's name, the time."""

    def __init__(self, job: Job, size: tuple[int, int], total: int, *, bare: bool = False) -> None:
        """Make the panels.

        Args:
            job: Whose they are.
            size: Of the video.
            total: How many frames it has.
            bare: The prompt alone, and above: the picture has text of its own below.
        """
        self.size, self.total, self.bare = size, total, bare
        self.prompt = prompt_panel(job.prompt, size, "top" if bare else "bottom")
        self.label = None if bare else label_panel(f"local renderer · {job.model}", size, "left")

    def lay(self, picture: Planes, number: int, strength: float = 1.0) -> None:
        """Draw it over the frame of this number."""
        if strength == 0:
            return
        text = f"{number + 1:04d} / {self.total:04d}   {number / FPS:05.2f} s"
        clock = None if self.bare else label_panel(text, self.size, "right")
        for panel in (self.prompt, self.label, clock):
            if panel is not None:
                panel.lay(picture, strength)


@dataclass(frozen=True)
class Portrait:
    """A character's face and name, at a place of its own."""

    face: Planes
    name: Panel | None
    at: tuple[int, int]

    def lay(self, picture: Planes) -> None:
        """Draw it over a picture."""
        picture.lay(self.face, self.at)
        if self.name is not None:
            self.name.lay(picture)


def portraits(characters: Sequence[tuple[str, Path]], size: tuple[int, int]) -> list[Portrait]:
    """Those who appear, side by side at the right, each with the name below.

    Args:
        characters: Name and picture of each.
        size: Of the video.
    """
    unit = min(size)
    edge, gap = max(8, round(unit * 0.26) & ~1), round(unit * 0.04) & ~1
    made = []
    for number, (name, path) in enumerate(characters):
        left, top = size[0] - (number + 1) * (edge + gap), round(size[1] * 0.16) & ~1
        if left < 0:
            break
        with Image.open(path) as picture:
            face = Planes.of(ImageOps.fit(picture.convert("RGB"), (edge, edge)))
        label = label_panel(name, size, "right")
        made.append(Portrait(face, label and label.moved((left, top + edge)), (left, top)))
    return made


def framed(picture: Planes, tone: Colour) -> None:
    """Draw a border of one colour along the picture's edges, over it."""
    width, height = picture.size
    band = max(2, round(min(width, height) * 0.03) & ~1)
    for x, y, wide, high in (
        (0, 0, width, band),
        (0, height - band, width, band),
        (0, 0, band, height),
        (width - band, 0, band, height),
    ):
        picture.y.paste(tone.y, (x, y, x + wide, y + high))
        half = (x // 2, y // 2, (x + wide) // 2, (y + high) // 2)
        picture.u.paste(tone.u, half)
        picture.v.paste(tone.v, half)
